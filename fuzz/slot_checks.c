/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What must hold of slots between two operations. */
#include "slot_reference.h"

void slot_check_found(const struct reference *slot, uint64_t page, uint32_t pages, uint64_t within)
{
	uint64_t first = slot->config.memory_page + page;
	uint8_t *pointer;
	uint32_t i;

	gmm_section_enter(run.reader);
	pointer = gmm_cache_pointer(run.cache, 0, 1);
	fuzz_check(pointer == (uint8_t *)(uintptr_t)(MAPPINGS +
						     (first % (FRAMES_MAX * 4) << run.shift)) +
				      within,
		   "a cache points elsewhere");
	fuzz_check(gmm_cache_writable(run.cache) == !(slot->config.flags & GMM_SLOT_READ_ONLY),
		   "a cache has other rights than its slot");
	for (i = 0; i < pages; i++)
		fuzz_check(gmm_cache_pfn(run.cache, i) == first + i, "a cache has another frame");
	gmm_section_exit(run.reader);
}

void slot_check_pointer(uint64_t gpa, uint64_t length, uint32_t access)
{
	uint64_t last = gpa + length - 1;
	uint64_t first_gfn = gpa >> run.shift, last_gfn = last >> run.shift;
	const struct reference *slot = reference_at(first_gfn), *end;
	uintptr_t pointer = (uintptr_t)gmm_slot_pointer(run.guest, gpa, length, access), expected;
	bool may_miss, good;
	uint64_t gfn;

	if (!length || last < gpa || !reference_is_direct(slot)) {
		fuzz_check(!pointer, "a pointer to %llx, where none is", (unsigned long long)gpa);
		return;
	}
	expected = (uintptr_t)slot->config.pointer + (gpa - (slot->config.gfn << run.shift));
	good = last_gfn < run.frames;
	may_miss = false;
	for (gfn = first_gfn; good && gfn <= last_gfn; gfn = end->config.gfn + end->config.count) {
		end = reference_at(gfn);
		good = reference_is_direct(end) &&
		       (uintptr_t)end->config.pointer - (end->config.gfn << run.shift) ==
			       (uintptr_t)slot->config.pointer - (slot->config.gfn << run.shift) &&
		       !((access & GMM_ACCESS_WRITE) && (end->config.flags & GMM_SLOT_READ_ONLY));
		if (!good)
			break;
		may_miss |= (end->config.flags ^ slot->config.flags) & GMM_SLOT_READ_ONLY;
	}
	if (good && run.changing.end) {
		good = !reference_is_changing(first_gfn, last_gfn - first_gfn + 1, 1);
		may_miss |= reference_is_changing(first_gfn, last_gfn - first_gfn + 1, 512);
	}
	fuzz_check(good || !pointer, "a pointer to %llx + %llx, where none is",
		   (unsigned long long)gpa, (unsigned long long)length);
	fuzz_check(!pointer || pointer == expected, "a pointer to %llx leads elsewhere",
		   (unsigned long long)gpa);
	fuzz_check(!good || pointer || may_miss, "no pointer to %llx + %llx",
		   (unsigned long long)gpa, (unsigned long long)length);
}

static void check_pointers(const struct gmm_slot_config *config)
{
	uint64_t start = config->gfn << run.shift, bytes = config->count << run.shift;

	gmm_section_enter(run.reader);
	slot_check_pointer(start, 1, GMM_ACCESS_READ);
	slot_check_pointer(start, bytes, GMM_ACCESS_READ);
	slot_check_pointer(start, bytes, GMM_ACCESS_WRITE);
	slot_check_pointer(start, bytes + 1, GMM_ACCESS_READ);
	slot_check_pointer(start + bytes - 1, 1, GMM_ACCESS_WRITE);
	slot_check_pointer(start + bytes - 1, 2, GMM_ACCESS_READ);
	slot_check_pointer(start + bytes, 1, GMM_ACCESS_READ);
	slot_check_pointer(start + bytes / 2, ~(uint64_t)0, GMM_ACCESS_READ);
	slot_check_pointer(start, 0, GMM_ACCESS_READ);
	if (start) {
		slot_check_pointer(start - 1, 1, GMM_ACCESS_READ);
		slot_check_pointer(start - 1, 2, GMM_ACCESS_READ);
	}
	gmm_section_exit(run.reader);
}

static void check_log(const struct reference *slot)
{
	static uint64_t bitmap[FRAMES_MAX / 64];
	const struct gmm_slot_config *config = &slot->config;
	int64_t answer = gmm_dirty_peek(run.guest, config->id, 0, config->count, bitmap);
	int64_t count = 0;
	uint64_t i;

	if (!(config->flags & GMM_SLOT_LOG_DIRTY)) {
		fuzz_check(answer == -GMM_EINVAL, "a slot without a log has one");
		return;
	}
	for (i = 0; i < config->count; i++) {
		fuzz_check(((bitmap[i / 64] >> (i % 64)) & 1) == slot->dirty[i],
			   "slot %u: page %llu is wrong in the log", config->id,
			   (unsigned long long)i);
		count += slot->dirty[i];
	}
	fuzz_check(answer == count, "%lld bits are said to be set, %lld are", (long long)answer,
		   (long long)count);
}

static bool is_known(const struct gmm_slot_info *info, const struct gmm_slot_config *config)
{
	return info->count == config->count &&
	       (!info->count ||
		(info->id == config->id && info->flags == config->flags &&
		 info->gfn == config->gfn && info->hva == config->hva &&
		 info->memory == config->memory && info->memory_page == config->memory_page &&
		 info->memory_ops == config->memory_ops));
}

static void check_slot(uint32_t index)
{
	const struct reference *slot = &run.slots[index];
	const struct gmm_slot_config *config = &slot->config;
	uint32_t id = index == SLOTS - 1 ? GMM_SLOTS_MAX - 1 : index;
	struct gmm_page_survey survey;
	struct gmm_slot_config now;
	int answer = gmm_slot_get(run.guest, id, &now);

	fuzz_check(!run.has_owner || is_known(&run.told[index], config),
		   "slot %u: the owner knows another", id);
	if (!config->count) {
		fuzz_check(answer == -GMM_ENOENT, "slot %u is still there", id);
		return;
	}
	fuzz_check(!answer && now.id == id && now.flags == config->flags &&
			   now.gfn == config->gfn && now.count == config->count &&
			   now.hva == config->hva && now.memory == config->memory &&
			   now.memory_ops == config->memory_ops &&
			   now.memory_page == config->memory_page && now.pointer == config->pointer,
		   "slot %u is another", id);
	check_pointers(config);
	check_log(slot);
	fuzz_check(!gmm_page_take_survey(run.guest, config->gfn, config->count, &survey),
		   "a survey fails");
	fuzz_check(survey.pages == config->count &&
			   survey.present == (config->memory_ops->flags & GMM_MEMORY_LAZY ?
						      slot->memory.filled :
						      config->count),
		   "slot %u: %llu pages are present, not %llu", id,
		   (unsigned long long)survey.present, (unsigned long long)slot->memory.filled);
}

void slot_check_all(void)
{
	struct gmm_slot_config config;
	uint64_t resident = 0;
	uint32_t i, count = 0;

	for (i = 0; i < SLOTS; i++) {
		check_slot(i);
		count += run.slots[i].config.count != 0;
		resident += run.slots[i].config.count ? run.slots[i].memory.filled : 0;
		fuzz_check(!run.slots[i].memory.references && !run.slots[i].memory.mappings,
			   "memory is used by nobody");
	}
	fuzz_check(gmm_slot_count(run.guest) == count, "slots are counted wrongly");
	fuzz_check(gmm_resident_pages(run.guest) == resident, "%llu pages count, not %llu",
		   (unsigned long long)gmm_resident_pages(run.guest), (unsigned long long)resident);
	fuzz_check(gmm_slot_get(run.guest, GMM_SLOTS_MAX, &config) == -GMM_ENOENT,
		   "there is a slot too many");
}
