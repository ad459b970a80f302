/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "event_pages.h"

#include <stdlib.h>
#include <string.h>

#include "../command.h"
#include "run.h"

#include "guest/page.h"

#define AWAY_NS 200000u
/* A change of a slot is followed by so many times its length without one. */
#define PAUSE_TIMES 10u

enum gmm_memory_kind run_event_memory_kind(const struct run *run)
{
	return run->options.memory_kind == GMM_MEMORY_KIND_ANONYMOUS ? GMM_MEMORY_KIND_ANONYMOUS :
								       GMM_MEMORY_KIND_MEMFD;
}

const char *run_event_memory_unavailable(const struct run *run)
{
	uint32_t need = run_event_memory_kind(run) == GMM_MEMORY_KIND_ANONYMOUS ?
				GMM_USERFAULT_PRIVATE_WP :
				GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP;

	if (run->options.hold)
		return "--hold and --leave-out are for the guest's own memory";
	return (gmm_userfault_abilities(run->userfault) & need) == need ?
		       NULL :
		       "the userfaultfd has no write-protection of shared memory (Linux 5.19)";
}

static int move(struct run_event *event, uint32_t slot, gmm_gfn_t gfn)
{
	int error;

	do
		error = gmm_slot_move(event->run->guest, slot, gfn);
	while (error && run_failing_try_again(event->run, error));
	return error;
}

static int set_flags(struct run_event *event, uint32_t slot, uint32_t flags)
{
	int error;

	do
		error = gmm_slot_set_flags(event->run->guest, slot, flags);
	while (error && run_failing_try_again(event->run, error));
	return error;
}

static int change(struct run_event *event, struct run_event_slot *slot, uint64_t distance)
{
	int error = move(event, slot->id, slot->home + distance);

	if (error == -GMM_EOPNOTSUPP) {
		slot->is_set = !slot->is_set;
		return set_flags(event, slot->id,
				 GMM_SLOT_LOG_DIRTY | (slot->is_set ? GMM_SLOT_LOG_ALL_SET : 0));
	}
	if (error)
		return error;
	run_count(&slot->moves, 1);
	run_pause(event->run, RUN_GOING, AWAY_NS);
	return move(event, slot->id, slot->home);
}

int run_event_slot_change(struct run_event *event, struct run_event_slot *slot, uint64_t distance)
{
	uint64_t start = run_now();
	int error;

	if (start < slot->next_at)
		return 0;
	error = change(event, slot, distance);
	run_count(&slot->changes, 1);
	slot->next_at = run_now() + PAUSE_TIMES * (run_now() - start);
	return error;
}

int run_event_pages_create(struct run_event *event, uint32_t count, struct run_event_pages *pages)
{
	*pages = (struct run_event_pages){
		.event = event,
		.count = count,
		.version = calloc(count, sizeof(*pages->version)),
		.copy = calloc(count, RUN_PAGE_BYTES),
		.seed = event->run->options.seed ^ event->gpa,
	};
	return pages->version && pages->copy ? 0 : -GMM_ENOMEM;
}

void run_event_pages_destroy(struct run_event_pages *pages)
{
	free(pages->version);
	free(pages->copy);
	*pages = (struct run_event_pages){ 0 };
}

static struct guest_page_expect expected(const struct run_event_pages *pages, uint32_t page,
					 uint32_t version)
{
	return (struct guest_page_expect){
		.seed = pages->seed,
		.page = page,
		.version = version,
		.full_version = version,
	};
}

void run_event_page_fill(const struct run_event_pages *pages, uint32_t page, uint32_t version,
			 void *buffer)
{
	struct guest_page_expect expect = expected(pages, page, version);

	guest_page_write_full(buffer, &expect);
}

bool run_event_page_check(const struct run_event_pages *pages, uint32_t page, uint32_t version,
			  const void *buffer, uint32_t *wrong)
{
	struct guest_page_expect expect = expected(pages, page, version);
	const uint64_t *words = buffer;
	uint32_t word = 0;
	bool good;

	if (version) {
		good = guest_page_verify(buffer, &expect, &word);
	} else {
		while (word < GUEST_PAGE_WORDS && !words[word])
			word++;
		good = word == GUEST_PAGE_WORDS;
	}
	*wrong = word * 8;
	return good;
}

void run_event_page_lost(const struct run_event_pages *pages, uint32_t page, uint32_t version,
			 const char *where, uint32_t wrong)
{
	const struct run_event *event = pages->event;

	run_lost(event->run, "%s, page %u: expected version %u %s, wrong from byte %u on",
		 event->ops->name, page, version, where, wrong);
}

static int read_page(struct run *run, gmm_gfn_t gfn, void *contents)
{
	int error;

	do
		error = gmm_page_read(run->guest, gfn, contents);
	while (error && run_failing_try_again(run, error));
	if (error)
		run_memory_failed(run, "an event's page cannot be read", error);
	return error;
}

bool run_event_pages_harvest(struct run_event_pages *pages, uint32_t slot, gmm_gfn_t gfn,
			     uint32_t first, uint32_t count)
{
	struct run *run = pages->event->run;
	_Alignas(8) uint8_t contents[RUN_PAGE_BYTES];
	uint64_t bits = 0;
	int64_t taken;
	uint32_t page;
	int error;

	do
		taken = gmm_dirty_harvest(run->guest, slot, 0, count, &bits);
	while (taken < 0 && run_failing_try_again(run, taken));
	if (taken < 0) {
		run_memory_failed(run, "an event's dirty log cannot be harvested", (int)taken);
		return false;
	}
	for (; bits; bits &= bits - 1) {
		page = (uint32_t)__builtin_ctzll(bits);
		error = read_page(run, gfn + page, contents);
		if (error)
			return false;
		memcpy(pages->copy + (first + page) * RUN_PAGE_BYTES, contents, RUN_PAGE_BYTES);
		run_count(&pages->harvested, 1);
	}
	return true;
}

void run_event_pages_verify(struct run_event_pages *pages, uint32_t slot, gmm_gfn_t gfn,
			    uint32_t first, uint32_t count)
{
	struct run *run = pages->event->run;
	_Alignas(8) uint8_t contents[RUN_PAGE_BYTES];
	uint32_t page, wrong;
	int error;

	if (!run_event_pages_harvest(pages, slot, gfn, first, count))
		return;
	for (page = first; page < first + count; page++) {
		uint32_t version = pages->version[page];

		error = read_page(run, gfn + page - first, contents);
		if (error)
			return;
		if (!run_event_page_check(pages, page, version, contents, &wrong))
			run_event_page_lost(pages, page, version, "in memory at the end", wrong);
		if (!run_event_page_check(pages, page, version, pages->copy + page * RUN_PAGE_BYTES,
					  &wrong))
			run_event_page_lost(pages, page, version, "in what was harvested", wrong);
	}
}
