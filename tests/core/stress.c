/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Everything at once: slots, caches, vCPUs, eviction, aging, the log and changes of the user, each
 * on a thread of its own, in random order. What is checked is only what must hold whatever happens:
 * a word that is read through a cache, a frame or as a guest is the last one that
 * was written to its page (each page has one writer); harvests and the first contents make up the
 * memory; the ledgers are clean at the end; and there is an end.
 *
 * Slot 0 has pages 0 to 7 at frame 0 and logs throughout; slot 1 has the rest, and changes.
 */
#include <guestmm/lease.h>

#include "model.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define SLOT_PAGES (MODEL_PAGES / 2)
#define HVA(page) ((page)*PAGE) /* so that memory in no slot is the same there */
#define CACHES 3u
#define THREADS 8u
#define CACHE_PAGES 4u

struct page {
	/* atomic: the number that is being written, and the last one that has been */
	uint32_t begun;
	uint32_t done;
};

struct stress {
	struct model model;
	struct page pages[MODEL_PAGES];
	struct gmm_cache *caches[CACHES]; /* the vCPU is in their sets at times */
	struct gmm_cache *writing;	  /* of the one host thread that does */
	struct gmm_vcpu *vcpu;
	bool lazy;
	bool breaks;	  /* operations of memory and owner fail now and then */
	bool nonblocking; /* changes do not wait for vCPUs, which then use no frames */
	uint64_t shadow[SLOT_PAGES];
	uint32_t threads; /* atomic: numbers handed out */
};

static void no_kick(void *opaque, uint32_t id)
{
}

static uint64_t below(uint64_t *random, uint64_t limit)
{
	return gmm_test_random(random) % limit;
}

static uint64_t own_random(struct stress *stress)
{
	return gmm_test_seed() * 1000 + gmm_fetch_add(&stress->threads, 1u);
}

/* A word names its page and number. */
static uint64_t word_of(uint32_t page, uint32_t number)
{
	return ((uint64_t)(page + 1) << 32) | number;
}

static void note_done(struct stress *stress, uint32_t *done)
{
	uint32_t page;

	for (page = 0; page < MODEL_PAGES; page++)
		done[page] = gmm_load_acquire(&stress->pages[page].done);
}

/* `done` is from before the word was read. 0 is what a page holds between discard and write. */
static void check_word(struct stress *stress, uint64_t word, const uint32_t *done, uint32_t first,
		       uint32_t count)
{
	uint32_t page = (uint32_t)(word >> 32) - 1, number = (uint32_t)word, begun;

	if (!word && stress->lazy)
		return;
	if (!gmm_ok(page >= first && page < first + count, "saw %llx", (unsigned long long)word))
		return;
	begun = gmm_load_acquire(&stress->pages[page].begun);
	gmm_ok(number >= done[page] && number <= begun, "page %u: saw %u, not %u to %u", page,
	       number, done[page], begun);
}

/* What may come of a call on slot 0, and of one on slot 1. */
static bool may_fail(const struct stress *stress, int64_t error, bool moves)
{
	return error >= 0 || error == -GMM_EXDEV || (stress->breaks && error == -GMM_EIO) ||
	       (moves && (error == -GMM_EFAULT || error == -GMM_ERANGE || error == -GMM_ENOENT));
}

/* Frames at which slot 1 is at times; their ranges overlap. */
static gmm_gfn_t random_base(uint64_t *random)
{
	static const gmm_gfn_t bases[] = { 8, 12, 100 };

	return bases[below(random, 3)];
}

/* Host threads */

static void read_cache(struct stress *stress, struct gmm_cache *cache, struct gmm_reader *reader)
{
	uint32_t done[MODEL_PAGES];
	uint64_t offset, *pointer;

	note_done(stress, done);
	gmm_section_enter_inline(reader);
	for (offset = 0; offset < CACHE_PAGES * PAGE; offset += PAGE) {
		pointer = gmm_cache_pointer_inline(cache, offset, sizeof(*pointer));
		if (pointer)
			check_word(stress, gmm_load_acquire(pointer), done, 0, MODEL_PAGES);
	}
	gmm_section_exit_inline(reader);
}

/* *moves: what it is over may not be there. */
static int activate(struct stress *stress, struct gmm_cache *cache, uint64_t *random, bool *moves)
{
	uint64_t first = below(random, SLOT_PAGES), count = 1 + below(random, CACHE_PAGES);
	uint32_t uses = GMM_CACHE_HOST | (below(random, 2) ? GMM_CACHE_GUEST : 0);

	*moves = below(random, 2);
	if (below(random, 3) == 0) {
		if (*moves)
			first += SLOT_PAGES;
		*moves = first + count > MODEL_PAGES;
		return gmm_cache_activate_hva(cache, HVA(first), count * PAGE, uses);
	}
	if (*moves)
		first += random_base(random);
	*moves |= first + count > SLOT_PAGES;
	return gmm_cache_activate(cache, first * PAGE, count * PAGE, uses);
}

/* A page does not go while it is leased; changes that may not wait take the frame away, though. */
static int lease(struct stress *stress, struct gmm_cache *cache, uint64_t *random)
{
	uint32_t done[MODEL_PAGES], i;
	void *pointer;
	int error;

	note_done(stress, done);
	error = gmm_lease_take(cache, 0, 8, below(random, 2) ? GMM_LEASE_NO_WAIT : 0, &pointer);
	if (error)
		return error == -GMM_EAGAIN ? 0 : error;
	for (i = 0; i < 4; i++) {
		if (!stress->nonblocking)
			check_word(stress, gmm_load_acquire((uint64_t *)pointer), done, 0,
				   MODEL_PAGES);
		gmm_cpu_relax(i);
	}
	gmm_lease_drop(cache, 0, below(random, 2) ? 8 : 0);
	return 0;
}

/* Uses, re-targets, drops and ends caches that others use too. */
static void cache_turn(struct stress *stress, uint64_t *random, struct gmm_reader *reader)
{
	uint32_t which = (uint32_t)below(random, CACHES);
	struct gmm_cache *cache = stress->caches[which];
	bool moves = true;
	int error = 0;

	switch (below(random, 8)) {
	case 0:
		error = gmm_cache_drop(cache);
		break;
	case 1:
		error = gmm_cache_deactivate(cache);
		break;
	case 2:
		error = activate(stress, cache, random, &moves);
		moves = true; /* by another thread meanwhile */
		break;
	case 3:
	case 4:
		error = lease(stress, cache, random);
		break;
	default:
		error = gmm_cache_refresh(cache);
		break;
	}
	gmm_ok(error == -GMM_EINVAL || error == -GMM_EBUSY || error == -GMM_ERANGE ||
		       may_fail(stress, error, moves),
	       "error %d", error);
	read_cache(stress, cache, reader);
	error = below(random, 4) ? gmm_cache_vcpu_add(cache, stress->vcpu) :
				   gmm_cache_vcpu_remove(cache, stress->vcpu);
	gmm_ok(!error || error == -GMM_EBUSY || error == -GMM_EEXIST || error == -GMM_ENOENT);
	if (below(random, 4))
		return;
	if (gmm_cache_create(stress->model.guest, &cache))
		gmm_bail("no cache");
	error = gmm_cache_vcpu_add(cache, stress->vcpu);
	gmm_ok(!error || error == -GMM_EBUSY);
	error = activate(stress, cache, random, &moves);
	gmm_ok(may_fail(stress, error, moves), "error %d", error);
	read_cache(stress, cache, reader);
	gmm_equal(gmm_cache_destroy(cache), 0);
}

/* Writes the next word to a page of slot 0 through a cache, at times after discarding it. */
static void host_write(struct stress *stress, uint32_t page, bool discard)
{
	struct page *state = &stress->pages[page];
	uint32_t number = gmm_load_relaxed(&state->begun) + 1;
	struct gmm_cache *cache = stress->writing;
	struct gmm_reader *reader;
	int error;

	gmm_store_release(&state->begun, number);
	gmm_fence();
	if (discard) {
		error = gmm_discard(stress->model.guest, page, 1);
		gmm_ok(may_fail(stress, error, false), "error %d", error);
	}
	error = gmm_cache_activate(cache, page * PAGE, 8, GMM_CACHE_HOST | GMM_CACHE_WRITE);
	gmm_ok(may_fail(stress, error, false), "error %d", error);
	gmm_must(!gmm_reader_register(stress->model.guest, &reader));
	error = model_cache_write(cache, reader, 0, word_of(page, number));
	gmm_ok(may_fail(stress, error, false), "error %d", error);
	gmm_reader_unregister(reader);
	if (!error)
		gmm_store_release(&state->done, number);
}

/*
 * A guest's access to a page, whose frame is only where it may be; gives up after some faults, as
 * the slot may be elsewhere.
 */
static bool guest_access(struct stress *stress, uint32_t page, gmm_gfn_t gfn, bool write,
			 uint64_t *word)
{
	struct model *model = &stress->model;
	uint32_t access = GMM_ACCESS_READ | (write ? GMM_ACCESS_WRITE : 0), turn;

	for (turn = 0; turn < 8; turn++) {
		uint64_t wakes;
		int answer;

		if (model_guest_try(model, page, write, word))
			return true;
		gmm_spin_lock(&model->lock);
		wakes = model->wakes;
		gmm_spin_unlock(&model->lock);
		answer = gmm_fault_serve_vcpu(model->guest, stress->vcpu, gfn, access);
		gmm_ok(may_fail(stress, answer, page >= SLOT_PAGES), "error %d", answer);
		gmm_spin_lock(&model->lock);
		while (answer == GMM_FAULT_HELD && model->wakes == wakes)
			gmm_waitqueue_wait(&model->woken, &model->lock);
		gmm_spin_unlock(&model->lock);
	}
	return false;
}

static void guest_write(struct stress *stress, uint32_t page, gmm_gfn_t gfn)
{
	struct page *state = &stress->pages[page];
	uint32_t number = gmm_load_relaxed(&state->begun) + 1;
	uint64_t word = word_of(page, number);

	gmm_store_release(&state->begun, number);
	gmm_fence();
	if (guest_access(stress, page, gfn, true, &word))
		gmm_store_release(&state->done, number);
}

/* The vCPU: what it reads by frame, and with a second stage what it reads and writes itself. */
static void vcpu_turn(struct stress *stress, uint64_t *random)
{
	uint32_t page = (uint32_t)below(random, MODEL_PAGES), done[MODEL_PAGES], i;
	gmm_gfn_t gfn = page < SLOT_PAGES ? page : page - SLOT_PAGES + random_base(random);
	uint64_t word;
	int error;

	gmm_vcpu_take_requests(stress->vcpu);
	error = gmm_vcpu_enter(stress->vcpu);
	gmm_ok(error == -GMM_EAGAIN || may_fail(stress, error, true), "error %d", error);
	if (error)
		return;
	note_done(stress, done);
	for (i = 0; i < 3 * CACHES && !stress->nonblocking; i++) {
		gmm_pfn_t pfn = gmm_vcpu_pfn(stress->vcpu, stress->caches[i % CACHES],
					     (uint32_t)below(random, CACHE_PAGES));

		if (pfn != GMM_PFN_NONE)
			check_word(stress,
				   gmm_load_acquire(
					   (uint64_t *)(stress->model.memory.frames + pfn * PAGE)),
				   done, 0, MODEL_PAGES);
	}
	if (stress->lazy && page % 2)
		guest_write(stress, page, gfn);
	note_done(stress, done);
	if (stress->lazy && guest_access(stress, page, gfn, false, &word))
		check_word(stress, word, done, page, 1);
	gmm_vcpu_exit(stress->vcpu);
}

/* Moves pages to other frames, one range or two at a time, by frame or by address. */
static void move_turn(struct stress *stress, uint64_t *random)
{
	struct model *model = &stress->model;
	uint32_t first[2] = { (uint32_t)below(random, SLOT_PAGES), 0 }, count = 1, i;
	enum gmm_range_kind kind = below(random, 2) ? GMM_RANGE_HVA : GMM_RANGE_GFN;
	struct gmm_range ranges[2];

	/* The frames of slot 1 are not known, its addresses are. */
	if (kind == GMM_RANGE_HVA && below(random, 2))
		first[count++] = SLOT_PAGES + (uint32_t)below(random, SLOT_PAGES);
	for (i = 0; i < count; i++)
		ranges[i] = kind == GMM_RANGE_HVA ?
				    (struct gmm_range){ HVA(first[i]), HVA(first[i] + 1) } :
				    model_frames(first[i], 1);
	gmm_equal(gmm_invalidate_begin(model->guest, kind, ranges, count,
				       stress->nonblocking ? GMM_INVALIDATE_NONBLOCKING : 0, NULL),
		  0);
	gmm_spin_lock(&model->lock);
	for (i = 0; i < count; i++)
		model_move_page(model, first[i]);
	gmm_spin_unlock(&model->lock);
	gmm_invalidate_end(model->guest, kind, ranges, count);
}

static void state_turn(struct stress *stress, uint64_t *random)
{
	struct model_memory *memory = &stress->model.memory;
	struct gmm_guest *guest = stress->model.guest;
	gmm_gfn_t gfn = below(random, SLOT_PAGES);
	uint64_t count = 1 + below(random, SLOT_PAGES - gfn);
	uint32_t op = (uint32_t)below(random, MODEL_OPS);
	int64_t answer = 0;

	if (stress->breaks) {
		gmm_spin_lock(&memory->lock);
		memory->fail_at[op] = memory->calls[op] + 1;
		gmm_spin_unlock(&memory->lock);
	}
	if (!stress->lazy)
		gfn += 2;
	else if (below(random, 3) == 0)
		gfn += random_base(random);
	switch (below(random, stress->lazy ? 4 : 1)) {
	case 0:
		answer = gmm_age(guest, gfn, count, below(random, 2), NULL);
		break;
	case 1:
		answer = gmm_resident_trim(guest, below(random, MODEL_PAGES));
		break;
	case 2:
		answer = gmm_fault_populate(guest, gfn, count, GMM_ACCESS_READ,
					    below(random, 2) ? GMM_POPULATE_MAP : 0);
		break;
	default:
		answer = gmm_evict(guest, gfn, count, below(random, 2) ? GMM_EVICT_COLD : 0);
		break;
	}
	gmm_ok(may_fail(stress, answer, true), "error %lld", (long long)answer);
}

/* Slot 1 moves; where nothing is forgotten with it, it also goes and comes, long or short. */
static void slot_turn(struct stress *stress, uint64_t *random)
{
	struct gmm_guest *guest = stress->model.guest;
	struct gmm_slot_config config =
		model_slot(&stress->model, 1, random_base(random), SLOT_PAGES, SLOT_PAGES);
	int error = 0;

	config.hva = HVA(SLOT_PAGES);
	stress->model.slot_change_fails = stress->breaks && below(random, 2) ? -GMM_EIO : 0;
	switch (below(random, stress->lazy ? 2 : 5)) {
	case 0:
		error = gmm_slot_move(guest, 1, config.gfn);
		break;
	case 1:
		error = gmm_slot_set_flags(guest, 1, below(random, 2) ? GMM_SLOT_LOG_DIRTY : 0);
		break;
	case 2:
		error = gmm_slot_resize(guest, 1, 1 + below(random, SLOT_PAGES));
		break;
	case 3:
		error = gmm_slot_remove(guest, 1);
		break;
	default:
		error = gmm_slot_add(guest, &config);
		break;
	}
	gmm_ok(error == -GMM_EEXIST || may_fail(stress, error, true), "error %d", error);
}

/* Copies pages that were taken from the log: with the copies before they make up the memory. */
static void copy_pages(struct stress *stress, uint64_t bits)
{
	uint64_t words[MODEL_PAGE_BYTES / sizeof(uint64_t)];
	uint32_t page;

	for (page = 0; page < SLOT_PAGES; page++) {
		if (!((bits >> page) & 1))
			continue;
		while (gmm_page_read(stress->model.guest, page, words))
			gmm_must(stress->breaks);
		stress->shadow[page] = words[0];
	}
}

static void harvest(struct stress *stress)
{
	uint64_t bits = 0;
	int64_t answer = gmm_dirty_harvest(stress->model.guest, 0, 0, SLOT_PAGES, &bits);

	gmm_ok(may_fail(stress, answer, false), "error %lld", (long long)answer);
	if (answer > 0)
		copy_pages(stress, bits);
}

static void log_turn(struct stress *stress, uint64_t *random)
{
	struct gmm_guest *guest = stress->model.guest;
	struct gmm_dirty_entry entries[4];
	uint64_t bits = 0;
	uint32_t count, i;

	switch (below(random, 3)) {
	case 0:
		harvest(stress);
		break;
	case 1:
		if (gmm_dirty_peek(guest, 0, 0, SLOT_PAGES, &bits) > 0 &&
		    gmm_dirty_clear(guest, 0, 0, SLOT_PAGES, &bits) > 0)
			copy_pages(stress, bits);
		break;
	default:
		count = gmm_dirty_ring_harvest(stress->vcpu, entries, 4);
		gmm_ok(gmm_dirty_ring_reset(stress->vcpu) >= 0);
		for (i = 0; i < count; i++)
			if (!entries[i].slot)
				copy_pages(stress, (uint64_t)1 << entries[i].page);
		break;
	}
}

static void thread_main(void *arg)
{
	struct stress *stress = arg;
	uint64_t random = own_random(stress);
	uint32_t number = (uint32_t)(random % 1000), turns = gmm_test_turns(10), i;
	struct gmm_reader *reader;

	gmm_must(!gmm_reader_register(stress->model.guest, &reader));
	gmm_test_random(&random);
	for (i = 0; i < turns; i++) {
		uint32_t page = 2 * (uint32_t)below(&random, SLOT_PAGES / 2);

		if (number == 0)
			host_write(stress, page, stress->lazy && below(&random, 3) == 0);
		else if (number == 1)
			vcpu_turn(stress, &random);
		else if (number == 2)
			move_turn(stress, &random);
		else if (number == 3)
			state_turn(stress, &random);
		else if (number == 4)
			slot_turn(stress, &random);
		else if (number == 5)
			log_turn(stress, &random);
		else
			cache_turn(stress, &random, reader);
	}
	gmm_reader_unregister(reader);
}

static void begin(struct stress *stress)
{
	struct model *model = &stress->model;
	struct gmm_guest_config guest_config = { 0 };
	struct gmm_slot_config config;
	uint32_t i;

	if (!stress->lazy) {
		guest_config.hva_ops = model_ops(model);
		guest_config.hva_memory = &model->memory;
	}
	model_init_config(model, MODEL_NO_SLOT | (stress->lazy ? MODEL_LAZY | MODEL_OWNER : 0),
			  guest_config);
	for (i = 0; i < MODEL_PAGES; i++) {
		model->memory.source[i] = word_of(i, 0);
		if (!stress->lazy)
			*model_page(model, i) = word_of(i, 0);
	}
	for (i = 0; i < SLOT_PAGES; i++)
		stress->shadow[i] = word_of(i, 0);
	config = model_slot(model, 0, 0, 0, SLOT_PAGES);
	config.hva = HVA(0);
	config.flags = GMM_SLOT_LOG_DIRTY;
	gmm_equal(gmm_slot_add(model->guest, &config), 0);
	config = model_slot(model, 1, 8, SLOT_PAGES, SLOT_PAGES);
	config.hva = HVA(SLOT_PAGES);
	gmm_equal(gmm_slot_add(model->guest, &config), 0);
	gmm_equal(gmm_vcpu_create(model->guest, 0, no_kick, NULL, &stress->vcpu), 0);
	gmm_equal(gmm_dirty_ring_create(stress->vcpu, GMM_DIRTY_RING_MIN), 0);
	for (i = 0; i < CACHES; i++)
		if (gmm_cache_create(model->guest, &stress->caches[i]) ||
		    gmm_cache_vcpu_add(stress->caches[i], stress->vcpu))
			gmm_bail("no cache");
	gmm_equal(gmm_cache_create(model->guest, &stress->writing), 0);
	model->memory.strict = true;
}

/* Nobody is at it any more, and nothing fails. */
static void end(struct stress *stress)
{
	uint64_t words[MODEL_PAGE_BYTES / sizeof(uint64_t)];
	struct model *model = &stress->model;
	uint32_t i;

	stress->breaks = false;
	model->slot_change_fails = 0;
	for (i = 0; i < MODEL_OPS; i++)
		model->memory.fail_at[i] = 0;
	harvest(stress);
	for (i = 0; i < SLOT_PAGES; i++) {
		gmm_equal(gmm_page_read(model->guest, i, words), 0);
		gmm_equal(stress->shadow[i], words[0]);
	}
	for (i = 0; i < CACHES; i++)
		gmm_equal(gmm_cache_destroy(stress->caches[i]), 0);
	gmm_equal(gmm_cache_destroy(stress->writing), 0);
	gmm_equal(gmm_vcpu_destroy(stress->vcpu), 0);
	(void)gmm_slot_remove(model->guest, 1);
	model_fini(model);
}

static void run(bool lazy, bool breaks, bool nonblocking)
{
	struct stress stress = { .lazy = lazy, .breaks = breaks, .nonblocking = nonblocking };
	struct gmm_test_thread threads[THREADS];
	uint32_t i;

	begin(&stress);
	for (i = 0; i < THREADS; i++)
		gmm_test_thread_start(&threads[i], thread_main, &stress);
	for (i = 0; i < THREADS; i++)
		gmm_test_thread_join(&threads[i]);
	end(&stress);
}

static void resident_memory_under_everything(void)
{
	run(false, false, false);
}

static void lazy_memory_under_everything(void)
{
	run(true, false, false);
}

static void lazy_memory_under_everything_and_changes_that_may_not_wait(void)
{
	run(true, false, true);
}

static void resident_memory_that_fails_under_everything(void)
{
	run(false, true, false);
}

static void lazy_memory_that_fails_under_everything(void)
{
	run(true, true, false);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "resident_memory_under_everything", resident_memory_under_everything },
	{ "lazy_memory_under_everything", lazy_memory_under_everything },
	{ "lazy_memory_under_everything_and_changes_that_may_not_wait",
	  lazy_memory_under_everything_and_changes_that_may_not_wait },
	{ "resident_memory_that_fails_under_everything",
	  resident_memory_that_fails_under_everything },
	{ "lazy_memory_that_fails_under_everything", lazy_memory_that_fails_under_everything },
	{ NULL, NULL },
};
