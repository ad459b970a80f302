/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A vCPU and its ring. */
#include "dirty_reference.h"

bool *dirty_pending(struct run *run, const struct gmm_slot_config *slot, uint64_t page)
{
	const struct model_memory *memory = slot->memory;

	return &run->pending[memory->id][slot->memory_page + page];
}

struct model_page *dirty_page(const struct gmm_slot_config *slot, uint64_t page)
{
	return model_page_of(slot, slot->gfn + page);
}

void dirty_note_in_ring(struct run *run, const struct gmm_slot_config *slot, uint64_t page)
{
	const struct model_memory *memory = slot->memory;

	run->in_ring[memory->id][slot->memory_page + page] = true;
}

void dirty_vcpu_destroy(struct run *run)
{
	uint32_t id, i;

	fuzz_check(!gmm_vcpu_destroy(run->vcpu), "a vCPU stays");
	run->vcpu = NULL;
	/*
	 * What is left in the ring goes to the bitmap: what it had reported and not reset, and what
	 * lies behind that, also when a harvest has had it already.
	 */
	for (id = 0; id < MODEL_MEMORIES; id++)
		for (i = 0; i < MODEL_PAGES; i++)
			run->model.memories[id].pages[i].may_log |= run->in_ring[id][i];
	memset(run->pending, 0, sizeof(run->pending));
	memset(run->in_ring, 0, sizeof(run->in_ring));
}

static void never_kicked(void *opaque, uint32_t id)
{
	fuzz_failed(__FILE__, __LINE__, "a vCPU outside is kicked");
}

void do_vcpu(struct run *run)
{
	int error;

	if (run->vcpu) {
		dirty_vcpu_destroy(run);
		return;
	}
	error = gmm_vcpu_create(run->model.guest, 0, never_kicked, NULL, &run->vcpu);
	if (!error)
		error = gmm_dirty_ring_create(run->vcpu, RING);
	if (error) {
		fuzz_check(model_injected(&run->model), "no vCPU: %d", error);
		if (run->vcpu)
			dirty_vcpu_destroy(run);
		return;
	}
	run->had_ring = true;
}

/* An entry has been handed out: its page may be in it, and need be in no report until the reset. */
static void note_reported(struct run *run, const struct gmm_dirty_entry *entry)
{
	const struct gmm_slot_config *slot = entry->slot < SLOTS ? &run->model.slots[entry->slot] :
								   NULL;

	if (!slot || entry->page >= slot->count)
		return;
	fuzz_say("  slot %u page %llu", slot->id, (unsigned long long)entry->page);
	fuzz_check(dirty_page(slot, entry->page)->may_log || *dirty_pending(run, slot, entry->page),
		   "slot %u: page %llu was not written", slot->id, (unsigned long long)entry->page);
	*dirty_pending(run, slot, entry->page) = true;
}

void do_ring_harvest(struct run *run)
{
	struct gmm_dirty_entry entries[RING];
	uint32_t most = 1 + program_byte(run->program) % RING, count, i;

	if (!run->vcpu)
		return;
	count = gmm_dirty_ring_harvest(run->vcpu, entries, most);
	fuzz_say("%u entries of the ring", count);
	for (i = 0; i < count; i++)
		note_reported(run, &entries[i]);
}

static bool is_waiting(const struct gmm_dirty_entry *entry)
{
	return (entry->flags & GMM_DIRTY_ENTRY_DIRTY) &&
	       !(entry->flags & GMM_DIRTY_ENTRY_HARVESTED);
}

/* Another program harvests, by the flags alone, and may leave some in them that mean nothing. */
void do_ring_outside(struct run *run)
{
	uint32_t how = program_byte(run->program), most = 1 + how % 64, at = 0, i;
	struct gmm_dirty_entry *entries;

	if (!run->vcpu)
		return;
	entries = gmm_dirty_ring_entries(run->vcpu);
	/* The first that waits: behind one that does not. */
	while (at < RING &&
	       (!is_waiting(&entries[at]) || is_waiting(&entries[(at + RING - 1) % RING])))
		at++;
	for (i = 0; at < RING && i < most && is_waiting(&entries[(at + i) % RING]); i++) {
		struct gmm_dirty_entry *entry = &entries[(at + i) % RING];

		entry->flags |= how & 0x80 ? 0x7ffffffcu : 0;
		if (how & 0x40)
			continue;
		entry->flags |= GMM_DIRTY_ENTRY_HARVESTED;
		note_reported(run, entry);
	}
	fuzz_say("%u entries by somebody else", i);
}

void do_ring_reset(struct run *run)
{
	bool injected;
	int64_t answer;
	uint32_t id, i;

	if (!run->vcpu)
		return;
	answer = gmm_dirty_ring_reset(run->vcpu);
	injected = model_injected(&run->model);
	fuzz_check(answer >= 0 || injected, "a reset answers %lld", (long long)answer);
	for (id = 0; id < MODEL_MEMORIES; id++)
		for (i = 0; i < MODEL_PAGES; i++)
			if (run->pending[id][i]) {
				run->model.memories[id].pages[i].must_log = false;
				run->pending[id][i] = false;
			}
}

/* One, or more than the ring has room for: then the bitmap has the rest. */
void do_ring_push(struct run *run)
{
	uint32_t how = program_byte(run->program), id = how % (SLOTS + 1);
	uint64_t page = program_take(run->program, MODEL_PAGES + 2);
	uint64_t end = page + (how & 0x80 ? 1 + (how >> 2) % 32 * 5 : 1);
	int answer;

	if (!run->vcpu)
		return;
	for (; page < end; page++) {
		fuzz_check(!gmm_dirty_ring_push(run->vcpu, id, page), "a push fails");
		if (id == SLOTS || page >= run->model.slots[id].count)
			continue;
		dirty_note_in_ring(run, &run->model.slots[id], page);
		dirty_page(&run->model.slots[id], page)->may_log = true;
		dirty_page(&run->model.slots[id], page)->must_log |=
			(run->model.slots[id].flags & GMM_SLOT_LOG_DIRTY) != 0;
	}
	answer = gmm_vcpu_enter(run->vcpu);
	fuzz_check(answer == (gmm_dirty_ring_full(run->vcpu) ? -GMM_EAGAIN : 0),
		   "a vCPU enters with a full ring, or not with room in it");
	if (!answer)
		gmm_vcpu_exit(run->vcpu);
}

/* What needs a ring, of a vCPU that has none. */
static void check_no_ring(struct gmm_vcpu *vcpu)
{
	struct gmm_dirty_entry entry;

	fuzz_check(gmm_dirty_ring_push(vcpu, 0, 0) == -GMM_ENOENT &&
			   gmm_dirty_ring_reset(vcpu) == -GMM_ENOENT &&
			   !gmm_dirty_ring_harvest(vcpu, &entry, 1) &&
			   !gmm_dirty_ring_entries(vcpu) && !gmm_dirty_ring_full(vcpu),
		   "there is a ring that nobody made");
	fuzz_check(gmm_dirty_ring_create(vcpu, RING - 28) == -GMM_EINVAL &&
			   gmm_dirty_ring_create(vcpu, RING / 2) == -GMM_EINVAL &&
			   gmm_dirty_ring_create(vcpu, 2 * GMM_DIRTY_RING_MAX) == -GMM_EINVAL,
		   "a ring of that size");
}

/* Refused before anything is done. */
void do_misuse(struct run *run)
{
	struct gmm_guest *guest = run->model.guest;
	struct gmm_vcpu *vcpu;
	uint64_t bitmap = 0;

	fuzz_check(gmm_dirty_harvest(guest, SLOTS, 0, 1, &bitmap) == -GMM_ENOENT &&
			   gmm_dirty_peek(guest, GMM_SLOTS_MAX, 0, 1, &bitmap) == -GMM_ENOENT &&
			   gmm_dirty_clear(guest, 0, 0, 0, &bitmap) == -GMM_ERANGE &&
			   gmm_slot_set_flags(guest, 0, GMM_SLOT_LOG_ALL_SET) == -GMM_EINVAL,
		   "there is a log of nothing");
	gmm_section_enter(run->model.reader);
	fuzz_check(gmm_dirty_harvest(guest, 0, 0, 1, &bitmap) == -GMM_EDEADLK &&
			   (!run->vcpu || gmm_dirty_ring_reset(run->vcpu) == -GMM_EDEADLK),
		   "a log is read in a section");
	gmm_section_exit(run->model.reader);
	if (run->vcpu) {
		int answer = gmm_dirty_ring_create(run->vcpu, RING);

		fuzz_check(answer == -GMM_EEXIST || model_injected(&run->model), "two rings");
	}
	if (gmm_vcpu_create(guest, 1, never_kicked, NULL, &vcpu))
		return;
	check_no_ring(vcpu);
	fuzz_check(!gmm_vcpu_destroy(vcpu), "a vCPU stays");
}
