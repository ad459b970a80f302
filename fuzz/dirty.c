/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The dirty log: what was written since a page was last reported is in the next report, whoever
 * wrote it, and nothing is that was never written (nor has been announced as such: a fault for
 * writing marks before it is known whether it comes through, and an owner that can only map
 * writable has every page that it maps marked).
 */
#include <string.h>

#include "model.h"

#define FIRST_GFN 470u
#define LOWER_PAGES 70u
#define RESIDENT_GFN (FIRST_GFN + MODEL_PAGES + 40)
#define RESIDENT_PAGES 80u
#define SLOTS 3u
#define WORDS (MODEL_PAGES / 64 + 1)
#define RING 128u

struct run {
	struct model model;
	struct program *program;
	struct gmm_cache *cache;
	struct gmm_vcpu *vcpu; /* with a ring, or NULL */
	bool had_ring;
	/* Reported by the ring and not reset: its writes are read after the reset. */
	bool pending[MODEL_MEMORIES][MODEL_PAGES];
	bool in_ring[MODEL_MEMORIES][MODEL_PAGES]; /* or was, since the vCPU is there */
};

static const uint32_t most_pages[SLOTS] = { LOWER_PAGES, MODEL_PAGES - LOWER_PAGES,
					    RESIDENT_PAGES };

static bool *pending_of(struct run *run, const struct gmm_slot_config *slot, uint64_t page)
{
	const struct model_memory *memory = slot->memory;

	return &run->pending[memory->id][slot->memory_page + page];
}

static struct model_page *page_at(const struct gmm_slot_config *slot, uint64_t page)
{
	return model_page_of(slot, slot->gfn + page);
}

/* Resident memory is logged by owners that log themselves, or where there is none. */
static bool may_log(const struct run *run, uint32_t id)
{
	return id < 2 || run->model.owner >= MODEL_OWNER_LOGS;
}

static gmm_gfn_t take_gfn(struct run *run)
{
	uint32_t how = program_take(run->program, MODEL_PAGES + RESIDENT_PAGES);

	if (how < LOWER_PAGES)
		return run->model.slots[0].gfn + how;
	return how < MODEL_PAGES ? FIRST_GFN + how : RESIDENT_GFN + how - MODEL_PAGES;
}

static void note_in_ring(struct run *run, const struct gmm_slot_config *slot, uint64_t page)
{
	const struct model_memory *memory = slot->memory;

	run->in_ring[memory->id][slot->memory_page + page] = true;
}

static void vcpu_destroy(struct run *run)
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

static void do_vcpu(struct run *run)
{
	int error;

	if (run->vcpu) {
		vcpu_destroy(run);
		return;
	}
	error = gmm_vcpu_create(run->model.guest, 0, never_kicked, NULL, &run->vcpu);
	if (!error)
		error = gmm_dirty_ring_create(run->vcpu, RING);
	if (error) {
		fuzz_check(model_injected(&run->model), "no vCPU: %d", error);
		if (run->vcpu)
			vcpu_destroy(run);
		return;
	}
	run->had_ring = true;
}

static void do_guest(struct run *run, bool write)
{
	gmm_gfn_t gfn = take_gfn(run);
	const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn);
	struct gmm_vcpu *vcpu = program_byte(run->program) & 1 ? run->vcpu : NULL;
	struct fuzz_errors expected = { 0 };
	int answer = model_guest_access(&run->model, vcpu, gfn, write);

	if (slot && vcpu)
		note_in_ring(run, slot, gfn - slot->gfn);
	if (!slot)
		fuzz_expect(&expected, GMM_EFAULT);
	else if (slot->memory == &run->model.memories[MODEL_LAZY] &&
		 run->model.owner == MODEL_OWNER_NONE)
		fuzz_expect(&expected, GMM_EOPNOTSUPP);
	fuzz_check_answer(&expected, answer, model_injected(&run->model),
			  write ? "guest write" : "guest read");
	fuzz_check(answer <= 0, "a vCPU is held and nothing changes");
}

/* Stores of a device into every page of [first, last] bytes of the cache's area. */
static void store(struct run *run, gmm_gpa_t first, gmm_gpa_t last)
{
	gmm_gfn_t gfn;

	for (gfn = first >> 12; gfn <= last >> 12; gfn++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn);
		struct model_page *page = model_page_of(slot, gfn);
		uint64_t *at = model_frame(slot->memory, page->frame);

		at[0] = model_new_word(&run->model);
		model_note_write(slot, page, at[0]);
	}
}

static void do_device(struct run *run)
{
	gmm_gpa_t gpa = take_gfn(run) << 12;
	uint32_t how = program_byte(run->program);
	uint64_t length = 1 + (how & 3) * 4096, offset = program_byte(run->program) % 3 * 4095;
	uint64_t written = program_byte(run->program) % 3 * 4095 + 1;
	uint32_t uses = GMM_CACHE_HOST | GMM_CACHE_WRITE;
	struct fuzz_errors expected = { 0 };
	void *pointer = NULL;
	gmm_gfn_t gfn;
	int answer;

	gpa += how & 8 ? 4095 : 0;
	offset = offset < length ? offset : 0;
	written = written <= length - offset ? written : length - offset;
	for (gfn = gpa >> 12; gfn <= (gpa + length - 1) >> 12; gfn++)
		if (!model_slot_at(&run->model, gfn)) {
			fuzz_expect(&expected, GMM_EFAULT);
			break;
		}
	answer = gmm_cache_activate(run->cache, gpa, length, uses);
	fuzz_say("device %llx + %llu, stores %llu + %llu", (unsigned long long)gpa,
		 (unsigned long long)length, (unsigned long long)offset,
		 (unsigned long long)written);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "device write");
	if (!answer && how & 4) {
		fuzz_check(!gmm_lease_take(run->cache, offset, written, GMM_LEASE_WRITE, &pointer),
			   "no lease of a valid cache");
		store(run, gpa + offset, gpa + offset + written - 1);
		gmm_lease_drop(run->cache, offset, written);
	} else if (!answer) {
		gmm_section_enter(run->model.reader);
		pointer = gmm_cache_pointer(run->cache, offset, written);
		store(run, gpa + offset, gpa + offset + written - 1);
		gmm_cache_mark_dirty(run->cache, offset, written);
		gmm_section_exit(run->model.reader);
	}
	fuzz_check(!answer == !!pointer, "a cache that is made is not valid");
	fuzz_check(!gmm_cache_deactivate(run->cache), "a cache stays active");
}

static void do_mark(struct run *run)
{
	gmm_gfn_t gfn = take_gfn(run);
	uint64_t count = program_byte(run->program), i;

	gmm_dirty_mark(run->model.guest, gfn, count);
	for (i = 0; i < count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn + i);

		if (slot)
			model_note_write(slot, model_page_of(slot, gfn + i),
					 model_page_of(slot, gfn + i)->word);
	}
}

struct part {
	const struct gmm_slot_config *slot;
	uint64_t first;
	uint64_t count;
	uint64_t bitmap[WORDS];
	struct fuzz_errors expected;
};

static void take_part(struct run *run, struct part *part)
{
	uint32_t id = program_take(run->program, SLOTS);
	uint32_t how = program_byte(run->program);

	*part = (struct part){ .slot = &run->model.slots[id] };
	part->first = how & 1 ? 64 : how & 0x40 ? 32 : 0;
	part->count = how & 2 ? 1 + program_take(run->program, MODEL_PAGES) :
				part->slot->count - (part->first ? 64 : 0);
	if (part->first % 64 || !(part->slot->flags & GMM_SLOT_LOG_DIRTY))
		fuzz_expect(&part->expected, GMM_EINVAL);
	if (part->first >= part->slot->count || part->count > part->slot->count - part->first)
		fuzz_expect(&part->expected, GMM_ERANGE);
	if (part->count > MODEL_PAGES)
		part->count = ~(uint64_t)0;
	fuzz_say("part %llu + %llu of slot %u", (unsigned long long)part->first,
		 (unsigned long long)part->count, id);
	memset(part->bitmap, how & 4 ? 0xff : 0, sizeof(part->bitmap));
}

static bool bit_of(const struct part *part, uint64_t i)
{
	return (part->bitmap[i / 64] >> (i % 64)) & 1;
}

/* All that must be there is, and nothing that may not. */
static void check_report(struct run *run, const struct part *part, int64_t answer)
{
	int64_t count = 0;
	uint64_t i;

	for (i = 0; i < part->count; i++) {
		const struct model_page *page = page_at(part->slot, part->first + i);
		bool bit = bit_of(part, i);

		count += bit;
		fuzz_check(bit || !page->must_log || *pending_of(run, part->slot, part->first + i),
			   "slot %u: a write to page %llu is not reported", part->slot->id,
			   (unsigned long long)(part->first + i));
		fuzz_check(!bit || page->may_log, "slot %u: page %llu was not written",
			   part->slot->id, (unsigned long long)(part->first + i));
	}
	for (; i < (part->count + 63) / 64 * 64; i++)
		fuzz_check(!bit_of(part, i), "a bit behind the part is set");
	fuzz_check(answer == count, "%lld bits are said to be set, %lld are", (long long)answer,
		   (long long)count);
}

static void harvest_part(struct run *run, struct part *part)
{
	int64_t answer = gmm_dirty_harvest(run->model.guest, part->slot->id, part->first,
					   part->count, part->bitmap);
	uint64_t i;

	fuzz_check_answer(&part->expected, answer, model_injected(&run->model), "harvest");
	if (answer < 0)
		return;
	check_report(run, part, answer);
	for (i = 0; i < part->count; i++) {
		struct model_page *page = page_at(part->slot, part->first + i);
		bool pending = *pending_of(run, part->slot, part->first + i);

		page->must_log &= pending && !bit_of(part, i);
		page->may_log &= pending;
	}
}

static void do_harvest(struct run *run)
{
	struct part part;

	take_part(run, &part);
	harvest_part(run, &part);
}

static void do_peek(struct run *run)
{
	struct part part;
	int64_t answer;

	take_part(run, &part);
	answer = gmm_dirty_peek(run->model.guest, part.slot->id, part.first, part.count,
				part.bitmap);
	fuzz_check_answer(&part.expected, answer, model_injected(&run->model), "peek");
	if (answer >= 0)
		check_report(run, &part, answer);
}

/* What the mask names and was set is reported; what it does not name stays. */
static void do_clear(struct run *run)
{
	uint64_t mask[WORDS], i;
	struct part part;
	int64_t answer, count = 0;

	take_part(run, &part);
	for (i = 0; i < WORDS; i++)
		part.bitmap[i] ^= program_byte(run->program) * 0x0102040810204081ull;
	memcpy(mask, part.bitmap, sizeof(mask));
	answer = gmm_dirty_clear(run->model.guest, part.slot->id, part.first, part.count,
				 part.bitmap);
	fuzz_check_answer(&part.expected, answer, model_injected(&run->model), "clear");
	for (i = 0; answer >= 0 && i < part.count; i++) {
		struct model_page *page = page_at(part.slot, part.first + i);

		if (!bit_of(&part, i))
			continue;
		count++;
		fuzz_check((mask[i / 64] >> (i % 64)) & 1, "page %llu is cleared unasked",
			   (unsigned long long)i);
		fuzz_check(page->may_log, "page %llu was not written", (unsigned long long)i);
		/* The owner's log and the rings may have more of it; so may what peek moved. */
		page->must_log = false;
	}
	fuzz_check(answer < 0 || answer == count, "%lld bits are said to be cleared, %lld are",
		   (long long)answer, (long long)count);
}

static void note_zero(struct run *run, gmm_gfn_t gfn, uint64_t count, int answer)
{
	uint64_t i;

	for (i = 0; i < count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn + i);
		struct gmm_page_info info;

		if (!slot || slot->memory == &run->model.memories[MODEL_RESIDENT])
			continue;
		fuzz_check(!gmm_page_query(run->model.guest, gfn + i, &info), "there is a slot");
		/* It is in the log before it is tried. */
		model_page_of(slot, gfn + i)->may_log = true;
		if (info.state == GMM_PAGE_ZERO && (!answer || model_page_of(slot, gfn + i)->word))
			model_note_write(slot, model_page_of(slot, gfn + i), 0);
	}
}

/* What changes pages and not what they hold, or what they hold and says so. */
static void do_pages(struct run *run)
{
	uint32_t how = program_take(run->program, 8);
	gmm_gfn_t gfn = take_gfn(run);
	uint64_t count = 1 + program_byte(run->program) % 90;
	struct gmm_guest *guest = run->model.guest;
	int64_t answer;

	fuzz_say("pages %llu + %llu: %u", (unsigned long long)gfn, (unsigned long long)count, how);
	switch (how) {
	case 0:
	case 1:
		answer = gmm_evict(guest, gfn, count, how ? GMM_EVICT_COLD : 0);
		break;
	case 2:
		answer = gmm_discard(guest, gfn, count);
		note_zero(run, gfn, count, (int)answer);
		break;
	case 3:
		answer = gmm_age(guest, gfn, count, 0, NULL);
		break;
	case 4:
		answer = gmm_resident_trim(guest, count);
		break;
	default:
		answer = gmm_fault_populate(guest, gfn, count,
					    how & 1 ? GMM_ACCESS_READ | GMM_ACCESS_WRITE :
						      GMM_ACCESS_READ,
					    how == 7 ? 0 : GMM_POPULATE_MAP);
		break;
	}
	fuzz_say("  %lld", (long long)answer);
	fuzz_check(answer >= 0 || model_injected(&run->model) || answer == -GMM_ERANGE ||
			   answer == -GMM_EOPNOTSUPP || answer == -GMM_EFAULT,
		   "pages answer %lld", (long long)answer);
}

static void do_ring_harvest(struct run *run)
{
	struct gmm_dirty_entry entries[RING];
	uint32_t most = 1 + program_byte(run->program) % RING, count, i;

	if (!run->vcpu)
		return;
	count = gmm_dirty_ring_harvest(run->vcpu, entries, most);
	fuzz_say("%u entries of the ring", count);
	for (i = 0; i < count; i++) {
		const struct gmm_slot_config *slot =
			entries[i].slot < SLOTS ? &run->model.slots[entries[i].slot] : NULL;

		if (!slot || entries[i].page >= slot->count)
			continue;
		fuzz_say("  slot %u page %llu", slot->id, (unsigned long long)entries[i].page);
		fuzz_check(page_at(slot, entries[i].page)->may_log ||
				   *pending_of(run, slot, entries[i].page),
			   "slot %u: page %llu was not written", slot->id,
			   (unsigned long long)entries[i].page);
		*pending_of(run, slot, entries[i].page) = true;
	}
}

static void do_ring_reset(struct run *run)
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

static void do_ring_push(struct run *run)
{
	uint32_t id = program_take(run->program, SLOTS + 1);
	uint64_t page = program_take(run->program, MODEL_PAGES + 2);

	if (!run->vcpu)
		return;
	fuzz_check(!gmm_dirty_ring_push(run->vcpu, id, page), "a push fails");
	if (id < SLOTS && page < run->model.slots[id].count) {
		note_in_ring(run, &run->model.slots[id], page);
		page_at(&run->model.slots[id], page)->may_log = true;
		page_at(&run->model.slots[id], page)->must_log |=
			(run->model.slots[id].flags & GMM_SLOT_LOG_DIRTY) != 0;
	}
}

static void do_flags(struct run *run)
{
	uint32_t id = program_take(run->program, SLOTS);
	uint32_t how = program_take(run->program, 3), i;
	uint32_t flags = how == 2		 ? GMM_SLOT_LOG_DIRTY | GMM_SLOT_LOG_ALL_SET :
			 how && may_log(run, id) ? GMM_SLOT_LOG_DIRTY :
						   0;
	struct gmm_slot_config *slot = &run->model.slots[id];
	bool before = slot->flags & GMM_SLOT_LOG_DIRTY;
	struct fuzz_errors expected = { 0 };
	int answer;

	if (!may_log(run, id))
		return;
	answer = gmm_slot_set_flags(run->model.guest, id, flags);
	fuzz_say("slot %u: flags %u", id, flags);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "flags");
	if (answer)
		return;
	slot->flags = flags;
	for (i = 0; i < slot->count; i++) {
		struct model_page *page = page_at(slot, i);

		if (!flags || !before)
			page->must_log = page->may_log = how == 2;
		/* Entries of an earlier log are still in the ring, or were harvested from it. */
		page->may_log |= run->had_ring;
	}
}

static void do_resize(struct run *run)
{
	uint32_t id = program_take(run->program, SLOTS);
	struct gmm_slot_config *slot = &run->model.slots[id];
	uint64_t count = 1 + program_take(run->program, most_pages[id]), i;
	struct fuzz_errors expected = { 0 };
	int answer = gmm_slot_resize(run->model.guest, id, count);

	fuzz_say("slot %u: %llu pages", id, (unsigned long long)count);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "resize");
	if (answer)
		return;
	if (count < slot->count)
		model_forget_pages(slot, count, slot->count - count);
	for (i = count; i < slot->count; i++) {
		page_at(slot, i)->may_log = run->had_ring;
		*pending_of(run, slot, i) = false;
	}
	slot->count = count;
}

/* Down a few frames and back. */
static void do_move(struct run *run)
{
	struct gmm_slot_config *slot = &run->model.slots[0];
	gmm_gfn_t gfn = FIRST_GFN - program_take(run->program, 100);
	struct fuzz_errors expected = { 0 };
	int answer = gmm_slot_move(run->model.guest, 0, gfn);

	fuzz_check_answer(&expected, answer, model_injected(&run->model), "move");
	if (!answer)
		slot->gfn = gfn;
}

static void step(struct run *run)
{
	uint32_t operation = program_byte(run->program);

	fuzz_say("operation %u", (operation & 0x7f) % 14);
	if (operation & 0x80)
		model_inject(&run->model, run->program);
	switch ((operation & 0x7f) % 14) {
	case 0:
		do_guest(run, false);
		break;
	case 1:
		do_guest(run, true);
		break;
	case 2:
		do_device(run);
		break;
	case 3:
		do_mark(run);
		break;
	case 4:
		do_harvest(run);
		break;
	case 5:
		do_peek(run);
		break;
	case 6:
		do_clear(run);
		break;
	case 7:
		do_pages(run);
		break;
	case 8:
		do_ring_harvest(run);
		break;
	case 9:
		do_ring_reset(run);
		break;
	case 10:
		do_ring_push(run);
		break;
	case 11:
		do_flags(run);
		break;
	case 12:
		do_resize(run);
		break;
	case 13:
		if (program_byte(run->program) & 1)
			do_move(run);
		else
			do_vcpu(run);
		break;
	}
	model_injected(&run->model);
	model_check(&run->model);
}

static void add_slot(struct run *run, uint32_t id, uint32_t memory, gmm_gfn_t gfn, uint32_t page)
{
	run->model.slots[id] = model_slot(&run->model, id, memory, gfn, page, most_pages[id],
					  may_log(run, id) ? GMM_SLOT_LOG_DIRTY : 0);
	fuzz_check(!gmm_slot_add(run->model.guest, &run->model.slots[id]), "a slot is refused");
}

/* The last harvest of all finds everything that is left. */
static void finish(struct run *run)
{
	uint32_t id;

	if (run->vcpu)
		vcpu_destroy(run);
	for (id = 0; id < SLOTS; id++) {
		struct part part = { .slot = &run->model.slots[id] };

		part.count = part.slot->count;
		if (!(part.slot->flags & GMM_SLOT_LOG_DIRTY))
			continue;
		harvest_part(run, &part);
	}
	fuzz_check(!gmm_cache_destroy(run->cache), "a cache stays");
	model_fini(&run->model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct program program = { data, data + size };
	static struct run run;

	run = (struct run){ .program = &program };
	model_init(&run.model, program_take(&program, MODEL_OWNERS));
	add_slot(&run, 0, MODEL_LAZY, FIRST_GFN, 0);
	add_slot(&run, 1, MODEL_LAZY, FIRST_GFN + LOWER_PAGES, LOWER_PAGES);
	add_slot(&run, 2, MODEL_RESIDENT, RESIDENT_GFN, 0);
	fuzz_check(!gmm_cache_create(run.model.guest, &run.cache), "no memory for a cache");
	if (program_byte(&program) & 1)
		do_vcpu(&run);
	while (program_more(&program))
		step(&run);
	finish(&run);
	return 0;
}
