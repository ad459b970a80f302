/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The end: nobody writes any more. Every page is read by the engine, wherever it is, and must be
 * what the source and the harvests say, and what the guest's own record of the page says.
 */
#include <string.h>

#include "../command.h"
#include "device.h"
#include "run.h"
#include "shadow.h"

#include "guest/page.h"

static uint32_t first_difference(const uint64_t *left, const uint64_t *right)
{
	uint32_t i = 0;

	while (i < GUEST_PAGE_WORDS - 1 && left[i] == right[i])
		i++;
	return i;
}

static void compare_shadow(struct run *run, uint64_t page, const uint64_t *found)
{
	uint64_t expected[GUEST_PAGE_WORDS];
	uint32_t word;

	if (!run_has_log(&run->options))
		return;
	if (run_shadow_read(run->shadow, page, expected)) {
		run_memory_failed(run, "harvested pages cannot be read back", -GMM_EIO);
		return;
	}
	if (!memcmp(expected, found, sizeof(expected)))
		return;
	word = first_difference(expected, found);
	run_lost(
		run,
		"page %llu (GPA 0x%llx), vCPU %u: snapshot and harvests are not the memory: from byte %u on "
		"expected %016llx, found %016llx",
		(unsigned long long)page,
		(unsigned long long)(run->snapshot.gpa + page * RUN_PAGE_BYTES),
		run_page_owner(run, page), word * 8, (unsigned long long)expected[word],
		(unsigned long long)found[word]);
}

static void compare_record(struct run *run, uint64_t page, const uint64_t *found)
{
	const struct guest_page *meta = &run->program.pages[page];
	struct guest_page_expect expect = {
		.seed = run->options.seed,
		.page = page,
		.version = meta->version,
		.full_version = meta->detail,
	};
	uint64_t expected[GUEST_PAGE_WORDS];
	uint32_t wrong = 0;

	if (run_device_owns_page(run, page)) {
		if (!run_device_verify_page(run, page, found, &expect, &wrong))
			run_lost(
				run,
				"page %llu (GPA 0x%llx), device: at the end expected version %llu, found "
				"version %llu, wrong from byte %u on",
				(unsigned long long)page,
				(unsigned long long)(run->snapshot.gpa + page * RUN_PAGE_BYTES),
				(unsigned long long)expect.version, (unsigned long long)found[2],
				wrong * 8);
		return;
	}
	if (meta->state == GUEST_PAGE_OWNED || meta->state == GUEST_PAGE_IO) {
		if (!guest_page_verify(found, &expect, &wrong))
			run_lost(
				run,
				"page %llu (GPA 0x%llx), vCPU %u: at the end expected version %u, found "
				"version %llu, wrong from byte %u on",
				(unsigned long long)page,
				(unsigned long long)(run->snapshot.gpa + page * RUN_PAGE_BYTES),
				run_page_owner(run, page), meta->version,
				(unsigned long long)found[2], wrong * 8);
		return;
	}
	if (run->source.ops->read(run->source.source, page, 1, expected)) {
		run_source_failed(run);
		return;
	}
	if (memcmp(expected, found, sizeof(expected)))
		run_lost(
			run,
			"page %llu (GPA 0x%llx), vCPU %u: nobody wrote it, and it is not as in the snapshot",
			(unsigned long long)page,
			(unsigned long long)(run->snapshot.gpa + page * RUN_PAGE_BYTES),
			run_page_owner(run, page));
}

/* Still in the source, as everybody says: there is nothing to compare. */
static bool never_touched(struct run *run, uint64_t page)
{
	struct gmm_page_info info;

	return !run_is_resident(run) && run->program.pages[page].state == GUEST_PAGE_UNSEEN &&
	       !run_shadow_has(run->shadow, page) &&
	       !gmm_page_query(run->guest, (run->snapshot.gpa >> RUN_PAGE_SHIFT) + page, &info) &&
	       info.state == GMM_PAGE_ABSENT;
}

void run_final_compare(struct run *run)
{
	uint64_t found[GUEST_PAGE_WORDS];
	uint64_t page;
	int error;

	for (page = 0; page < run->page_count && !run_abandoned(run); page++) {
		if (never_touched(run, page))
			continue;
		error = gmm_page_read(run->guest, (run->snapshot.gpa >> RUN_PAGE_SHIFT) + page,
				      found);
		if (error) {
			run_memory_failed(run, "a page cannot be read at the end", error);
			return;
		}
		compare_shadow(run, page, found);
		compare_record(run, page, found);
		run->final_pages++;
	}
}
