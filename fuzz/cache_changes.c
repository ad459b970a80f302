/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What changes under caches: frames, pages, slots. */
#include "cache_reference.h"

/* All pages of the range that the engine has let go of. */
static void move_pages(struct run *run)
{
	bool by_hva = run->changing_kind == GMM_RANGE_HVA;
	uint32_t memory, i;

	for (memory = 0; memory < MODEL_MEMORIES; memory++)
		for (i = 0; i < MODEL_PAGES; i++) {
			gmm_hva_t hva = model_hva(&run->model.memories[memory], i);
			const struct gmm_slot_config *slot = reference_slot_at_hva(run, hva);
			bool known = slot || (by_hva && run->model.adopts);
			uint64_t at = by_hva ? hva :
				      slot   ? slot->gfn + ((hva - slot->hva) >> 12) :
					       0;

			if (known && at >= run->changing.start && at < run->changing.end)
				model_move_page(&run->model.memories[memory], i);
		}
}

/* The range, or its first byte or frame and its rest. Returns how many there are. */
static uint32_t ranges_of(const struct run *run, struct gmm_range *ranges)
{
	ranges[0] = ranges[1] = run->changing;
	if (!run->in_two)
		return 1;
	ranges[0].end = ranges[1].start = run->changing.start + 1;
	if (run->changing_kind == GMM_RANGE_HVA)
		ranges[0].end = ranges[1].start = run->changing.start + MODEL_PAGE_BYTES;
	return ranges[1].start < ranges[1].end ? 2 : 1;
}

void end_change(struct run *run)
{
	struct gmm_range ranges[2];
	uint32_t count = ranges_of(run, ranges);

	gmm_invalidate_end(run->model.guest, run->changing_kind, ranges, count);
	run->changing.end = 0;
}

/* What a change meets: the valid caches that are over it, and the vCPUs that use one of those. */
static void meet(struct run *run, uint32_t *caches, uint32_t *users)
{
	bool met[VCPUS] = { 0 };
	uint32_t i, user;

	for (i = 0; i < CACHES; i++) {
		struct reference *cache = &run->caches[i];

		cache->touched = cache->active && reference_is_changing(run, cache);
		*caches += cache->touched && cache->valid;
		for (user = 0; user < VCPUS; user++)
			met[user] |= cache->touched && run->users[user].uses[i] &&
				     run->users[user].inside;
	}
	for (user = 0; user < VCPUS; user++)
		*users += met[user];
}

/* Leases on what changes. */
static uint32_t leases_met(const struct run *run)
{
	uint32_t leases = 0, i;

	for (i = 0; i < CACHES; i++)
		leases += run->caches[i].touched ? run->caches[i].leases : 0;
	return leases;
}

/* Whoever would wait for the change is told that it is this thread's own. */
static void check_wait(const struct run *run)
{
	struct gmm_range other = { run->changing.end + MODEL_PAGE_BYTES,
				   run->changing.end + MODEL_PAGE_BYTES + 1 };

	fuzz_check(gmm_invalidate_wait(run->model.guest, run->changing_kind, run->changing) ==
			   -GMM_EDEADLK,
		   "a change does not stand in the way");
	fuzz_check(!gmm_invalidate_wait(run->model.guest, run->changing_kind, other),
		   "a change elsewhere stands in the way");
}

void do_change(struct run *run)
{
	uint32_t how = program_byte(run->program), frame = program_take(run->program, SPACE);
	uint32_t count = 1 + program_byte(run->program) % 60;
	struct gmm_range range = { FIRST_GFN - 2 + frame, FIRST_GFN - 2 + frame + count };
	struct gmm_invalidate_result result;
	struct gmm_range ranges[2];
	uint32_t caches = 0, users = 0;

	if (run->changing.end) {
		end_change(run);
		return;
	}
	run->changing_kind = how & 1 ? GMM_RANGE_HVA : GMM_RANGE_GFN;
	if (how & 1) {
		range.start = model_hva(&run->model.memories[frame & 1], frame / 2);
		range.end = range.start + (count << 12);
	}
	run->changing = range;
	run->in_two = how & 8;
	fuzz_say("change %llx to %llx, flags %u", (unsigned long long)range.start,
		 (unsigned long long)range.end, how & 2);
	meet(run, &caches, &users);
	count = ranges_of(run, ranges);
	fuzz_check(!gmm_invalidate_begin(run->model.guest, run->changing_kind, ranges, count,
					 how & 2 ? GMM_INVALIDATE_NONBLOCKING : 0, &result),
		   "a change cannot begin");
	fuzz_check(result.caches == caches, "%u caches are hit, not %u", result.caches, caches);
	fuzz_check(result.kicked == users, "%u vCPUs are kicked, not %u", result.kicked, users);
	fuzz_check((how & 2) || !leases_met(run), "a change goes on over a lease");
	if (how & 4)
		move_pages(run);
	check_wait(run);
}

void do_pages(struct run *run)
{
	uint32_t how = program_take(run->program, 6);
	gmm_gfn_t gfn = FIRST_GFN - 2 + program_take(run->program, SPACE);
	uint64_t count = 1 + program_byte(run->program) % 60, i;
	struct gmm_guest *guest = run->model.guest;
	int64_t answer;

	if (how == 3)
		reference_touch(run, 0, 2048);
	else if (how < 3)
		reference_touch(run, gfn, count);
	fuzz_say("pages %llu + %llu: %u", (unsigned long long)gfn, (unsigned long long)count, how);
	switch (how) {
	case 0:
	case 1:
		answer = gmm_evict(guest, gfn, count, how ? GMM_EVICT_COLD : 0);
		break;
	case 2:
		answer = gmm_discard(guest, gfn, count);
		break;
	case 3:
		answer = gmm_resident_trim(guest, count);
		break;
	case 4:
		answer = gmm_age(guest, gfn, count, 0, NULL);
		break;
	default:
		answer = gmm_fault_populate(guest, gfn, count, GMM_ACCESS_READ, 0);
		break;
	}
	fuzz_say("  %lld", (long long)answer);
	fuzz_check(answer >= 0 || model_injected(&run->model) || answer == -GMM_ERANGE ||
			   answer == -GMM_EOPNOTSUPP || answer == -GMM_EFAULT ||
			   (run->changing.end && answer == -GMM_EDEADLK),
		   "pages answer %lld", (long long)answer);
	for (i = 0; how == 2 && i < count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn + i);
		struct gmm_page_info info;

		if (slot && !gmm_page_query(guest, gfn + i, &info) && info.state == GMM_PAGE_ZERO)
			model_note_write(slot, model_page_of(slot, gfn + i), 0);
	}
}

/* A slot is removed, or added as it was at the start. */
static int change_presence(struct run *run, uint32_t id, struct fuzz_errors *expected)
{
	struct gmm_slot_config *slot = &run->model.slots[id], now = reference_first_slot(run, id);
	int answer;

	if (slot->count) {
		answer = gmm_slot_remove(run->model.guest, id);
		if (!answer) {
			model_forget_pages(slot, 0, slot->count);
			slot->count = 0;
		}
		return answer;
	}
	if (reference_is_taken(run, id, now.gfn, now.count))
		fuzz_expect(expected, GMM_EEXIST);
	reference_touch(run, now.gfn, now.count);
	reference_touch_addresses(run, now.hva, now.count);
	answer = gmm_slot_add(run->model.guest, &now);
	if (!answer)
		*slot = now;
	return answer;
}

static int resize(struct run *run, uint32_t id, uint64_t count, struct fuzz_errors *expected)
{
	struct gmm_slot_config *slot = &run->model.slots[id];
	int answer;

	if (!count)
		fuzz_expect(expected, GMM_EINVAL);
	if (reference_is_taken(run, id, slot->gfn, count))
		fuzz_expect(expected, GMM_EEXIST);
	reference_touch(run, slot->gfn, count);
	reference_touch_addresses(run, slot->hva, count);
	answer = gmm_slot_resize(run->model.guest, id, count);
	if (answer)
		return answer;
	if (count < slot->count)
		model_forget_pages(slot, count, slot->count - count);
	slot->count = count;
	return 0;
}

void do_slot(struct run *run)
{
	uint32_t id = program_take(run->program, MODEL_SLOTS), how = program_byte(run->program);
	uint32_t number = program_byte(run->program), flags;
	struct gmm_slot_config *slot = &run->model.slots[id];
	struct fuzz_errors expected = { 0 };
	gmm_gfn_t gfn = FIRST_GFN + number % SPACE;
	uint64_t count = slot->count;
	int answer;

	reference_touch(run, slot->gfn, slot->count);
	fuzz_say("slot %u: %u, %u", id, how % 4, number);
	if (how % 4 && !count)
		return;
	switch (how % 4) {
	case 0:
		answer = change_presence(run, id, &expected);
		break;
	case 1:
		answer = resize(run, id, number % (reference_first_slot(run, id).count + 1),
				&expected);
		break;
	case 2:
		if (reference_is_taken(run, id, gfn, count))
			fuzz_expect(&expected, GMM_EEXIST);
		reference_touch(run, gfn, count);
		answer = gmm_slot_move(run->model.guest, id, gfn);
		if (!answer)
			slot->gfn = gfn;
		break;
	default:
		flags = number & 1 ? GMM_SLOT_READ_ONLY : 0;
		answer = gmm_slot_set_flags(run->model.guest, id, flags);
		if (!answer)
			slot->flags = flags;
		break;
	}
	if (run->changing.end)
		fuzz_expect(&expected, GMM_EDEADLK);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "slot");
	reference_touch(run, slot->gfn, slot->count);
}
