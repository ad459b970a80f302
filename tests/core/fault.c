/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Faults: every state of a page, every access, every kind of slot and owner; one thread. Rules L5, L13, L15. */
#include "model.h"

#define PAGE 5u
#define WRITTEN 0x5555u

enum state {
	ABSENT,
	ZERO,	 /* discarded */
	EVICTED, /* with WRITTEN in the store */
	FILLED,	 /* resident, not mapped, as in the source */
	CHANGED, /* resident, not mapped, may differ from the source */
	MAPPED,	 /* for reading, as in the source */
	WRITABLE,
	STATES
};

static const char *const state_names[] = { "absent",  "zero",	"evicted", "filled",
					   "changed", "mapped", "writable" };

/* What slot 0 is like. */
enum kind {
	PLAIN,
	READ_ONLY,
	LOGGING,
	KINDS
};

static const uint32_t owners[] = { MODEL_OWNER, MODEL_OWNER_LOGS, MODEL_OWNER_UNPROTECTED };

/* Brings the page there while the slot is plain. Returns the word that it then holds. */
static uint64_t bring_to(struct model *model, enum state state)
{
	struct gmm_guest *guest = model->guest;

	switch (state) {
	case ZERO:
		gmm_equal(gmm_discard(guest, PAGE, 1), 0);
		return 0;
	case EVICTED:
		gmm_ok(model_guest_write(model, PAGE, WRITTEN));
		gmm_equal(gmm_evict(guest, PAGE, 1, 0), 1);
		return WRITTEN;
	case FILLED:
		gmm_equal(gmm_fault_populate(guest, PAGE, 1, GMM_ACCESS_READ, 0), 0);
		break;
	case CHANGED:
		gmm_equal(gmm_fault_populate(guest, PAGE, 1, GMM_ACCESS_WRITE, 0), 0);
		break;
	case MAPPED:
		gmm_equal(gmm_fault_serve(guest, PAGE, GMM_ACCESS_READ), 0);
		break;
	case WRITABLE:
		gmm_ok(model_guest_write(model, PAGE, WRITTEN));
		return WRITTEN;
	default:
		break;
	}
	return model_word(PAGE);
}

static bool is_writable(struct model *model)
{
	struct gmm_page_info info;

	gmm_equal(gmm_page_query(model->guest, PAGE, &info), 0);
	return info.writable;
}

/* What must be writable afterwards, where there is a choice. */
static bool writable_after(enum kind kind, uint32_t owner, enum state state, uint32_t access,
			   bool before)
{
	bool engine_logs = kind == LOGGING && owner != MODEL_OWNER_LOGS;
	bool changed = state == CHANGED || state == WRITABLE;

	if (kind == READ_ONLY)
		return false;
	if ((access & GMM_ACCESS_WRITE) || before || owner == MODEL_OWNER_UNPROTECTED)
		return true;
	/* No write that anybody waits for is missed. */
	return changed && !engine_logs;
}

static void serve_one(uint32_t owner, enum kind kind, enum state state, uint32_t access)
{
	static const uint32_t flags[] = { 0, GMM_SLOT_READ_ONLY, GMM_SLOT_LOG_DIRTY };
	struct gmm_page_info info;
	uint64_t word, seen = 0, bits = 0;
	struct model model;
	bool before, writable, marked;
	int answer;

	model_init(&model, MODEL_LAZY | owner);
	word = bring_to(&model, state);
	gmm_equal(gmm_slot_set_flags(model.guest, 0, flags[kind]), 0);
	model.logged[PAGE] = false;
	before = is_writable(&model);
	writable = writable_after(kind, owner, state, access, before);
	answer = gmm_fault_serve(model.guest, PAGE, access);
	if (kind == READ_ONLY && (access & GMM_ACCESS_WRITE)) {
		gmm_equal(answer, -GMM_EROFS);
		model_fini(&model);
		return;
	}
	gmm_ok(answer == 0, "owner %u kind %u %s access %u: %d", owner, kind, state_names[state],
	       access, answer);
	gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
	gmm_ok(info.state == GMM_PAGE_PRESENT && info.mapped && info.young && !info.busy);
	gmm_ok(info.writable == writable, "owner %u kind %u %s access %u", owner, kind,
	       state_names[state], access);
	gmm_ok(model_guest_try(&model, PAGE, false, &seen));
	gmm_equal(seen, word);
	seen = WRITTEN + 1;
	gmm_ok(model_guest_try(&model, PAGE, true, &seen) == writable);
	if (kind == LOGGING) {
		/* The owner's log has what was just written; the engine's what became writable. */
		marked = owner == MODEL_OWNER_LOGS ? writable : writable && !before;
		gmm_ok(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits) >= 0);
		if (!before)
			gmm_equal(bits, marked ? 1u << PAGE : 0);
	}
	if (writable)
		gmm_ok(info.changed, "a page that is written counts as changed");
	model_fini(&model);
}

static void serve_all_states(uint32_t owner)
{
	static const uint32_t accesses[] = { GMM_ACCESS_READ, GMM_ACCESS_READ | GMM_ACCESS_WRITE };
	/* Where each case runs under many seeds, a seed does one in eight. */
	uint32_t step = gmm_test_turns(1) == 1 ? 8 : 1;
	uint32_t kind, state, i;

	for (kind = 0; kind < KINDS; kind++)
		for (state = 0; state < STATES; state++)
			for (i = 0; i < 2; i++)
				if ((gmm_test_seed() + kind + 3 * state + i) % step == 0)
					serve_one(owner, kind, state, accesses[i]);
}

static void every_fault_is_served_as_the_owner_that_protects_needs(void)
{
	serve_all_states(owners[0]);
}

static void every_fault_is_served_as_the_owner_that_logs_needs(void)
{
	serve_all_states(owners[1]);
}

static void every_fault_is_served_as_the_owner_that_maps_writable_needs(void)
{
	serve_all_states(owners[2]);
}

static void a_page_is_filled_once(void)
{
	struct gmm_guest_counters counters;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_READ), 0);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_READ), 0);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_fault_populate(model.guest, 0, MODEL_PAGES, GMM_ACCESS_READ, 0), 0);
	gmm_equal(gmm_resident_pages(model.guest), MODEL_PAGES);
	gmm_guest_read_counters(model.guest, &counters);
	gmm_equal(counters.faults_filled, MODEL_PAGES);
	gmm_equal(counters.faults_mapped, 1);
	gmm_equal(counters.faults_protect, 1);
	gmm_equal(counters.faults_fast, 2);
	model_fini(&model);
}

static void resident_memory_is_translated(void)
{
	struct gmm_page_info info;
	struct model model;

	model_init(&model, 0);
	gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
	gmm_ok(!info.mapped);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_READ), 0);
	gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
	gmm_ok(info.state == GMM_PAGE_PRESENT && info.mapped && info.young);
	gmm_equal(info.pfn, PAGE);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_WRITE), 0);
	gmm_equal(model.memory.calls[MODEL_RESOLVE], 1);
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_READ_ONLY), 0);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_WRITE), -GMM_EROFS);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_READ), 0);
	gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
	gmm_ok(!info.writable);
	model_fini(&model);
}

static void a_fault_outside_all_slots_is_refused(void)
{
	struct gmm_page_info info;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_equal(gmm_fault_serve(model.guest, MODEL_PAGES, GMM_ACCESS_READ), -GMM_EFAULT);
	gmm_equal(gmm_fault_serve(model.guest, ~(gmm_gfn_t)0, GMM_ACCESS_READ), -GMM_EFAULT);
	gmm_equal(gmm_fault_serve(model.guest, (gmm_gfn_t)1 << 28, GMM_ACCESS_READ), -GMM_EFAULT);
	gmm_equal(gmm_page_query(model.guest, MODEL_PAGES, &info), -GMM_EFAULT);
	gmm_equal(gmm_page_query(model.guest, ~(gmm_gfn_t)0, &info), -GMM_EFAULT);
	model_fini(&model);
}

/* L15 */
static void a_slot_beyond_the_address_space_never_gets_a_fault(void)
{
	struct gmm_slot_config slot;
	struct model model;

	model_init_config(&model, MODEL_NO_SLOT, (struct gmm_guest_config){ .gpa_bits = 30 });
	slot = model_slot(&model, 0, ((gmm_gfn_t)1 << 18) - 8, 0, 9);
	gmm_equal(gmm_slot_add(model.guest, &slot), -GMM_ERANGE);
	slot.count = 8;
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	gmm_equal(gmm_fault_serve(model.guest, ((gmm_gfn_t)1 << 18) - 1, GMM_ACCESS_READ), 0);
	gmm_equal(gmm_fault_serve(model.guest, (gmm_gfn_t)1 << 18, GMM_ACCESS_READ), -GMM_EFAULT);
	model_fini(&model);
}

/* After a failure the page is nobody's, and a second try is as good as the first. */
static void fails_and_then_succeeds(uint32_t traits, enum model_op op, int error, bool filled,
				    enum gmm_page_state state)
{
	uint64_t live = 0, word = 0;
	struct gmm_page_info info;
	struct model model;

	model_init(&model, traits);
	if (filled)
		gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_READ), 0);
	else
		gmm_equal(gmm_fault_serve(model.guest, PAGE + 1, GMM_ACCESS_READ), 0);
	live = gmm_port_alloc_live();
	model.memory.fail_at[op] = model.memory.calls[op] + 1;
	model.memory.fail_with = error;
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_WRITE),
		  error == -GMM_EAGAIN ? GMM_FAULT_HELD : error);
	gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
	gmm_ok(!info.busy && info.state == state);
	/* What a mapping that failed lets the guest write is not known, so it counts as written. */
	gmm_ok(op == MODEL_FILL || op == MODEL_RESOLVE ? !info.writable : info.changed);
	gmm_ok(!model_guest_try(&model, PAGE, true, &word));
	gmm_equal(gmm_port_alloc_live(), live);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_WRITE), 0);
	if (traits & MODEL_LAZY) {
		gmm_ok(model_guest_try(&model, PAGE, false, &word));
		gmm_equal(word, model_word(PAGE));
	}
	model_fini(&model);
}

static void a_failed_fill_gives_everything_back(void)
{
	fails_and_then_succeeds(MODEL_LAZY | MODEL_OWNER, MODEL_FILL, -GMM_EIO, false,
				GMM_PAGE_ABSENT);
	fails_and_then_succeeds(MODEL_LAZY | MODEL_OWNER, MODEL_FILL, -GMM_ENOMEM, false,
				GMM_PAGE_ABSENT);
}

static void a_failed_map_gives_everything_back(void)
{
	fails_and_then_succeeds(MODEL_LAZY | MODEL_OWNER, MODEL_LIVE_MAP, -GMM_EIO, false,
				GMM_PAGE_PRESENT);
	fails_and_then_succeeds(MODEL_LAZY | MODEL_OWNER, MODEL_LIVE_UNPROTECT, -GMM_EIO, true,
				GMM_PAGE_PRESENT);
}

static void a_map_that_the_host_puts_off_is_tried_again(void)
{
	fails_and_then_succeeds(MODEL_LAZY | MODEL_OWNER, MODEL_LIVE_MAP, -GMM_EAGAIN, false,
				GMM_PAGE_PRESENT);
}

/* L5, P17: no reference is left, which model_fini() checks. */
static void a_failed_resolve_gives_everything_back(void)
{
	fails_and_then_succeeds(0, MODEL_RESOLVE, -GMM_EIO, false, GMM_PAGE_ABSENT);
	fails_and_then_succeeds(0, MODEL_RESOLVE, -GMM_EFAULT, false, GMM_PAGE_ABSENT);
}

static void a_page_is_read_wherever_it_is(void)
{
	static const enum gmm_page_state states[STATES] = { GMM_PAGE_ABSENT,  GMM_PAGE_ZERO,
							    GMM_PAGE_EVICTED, GMM_PAGE_PRESENT,
							    GMM_PAGE_PRESENT, GMM_PAGE_PRESENT,
							    GMM_PAGE_PRESENT };
	uint64_t page[MODEL_PAGE_BYTES / 8], word;
	struct gmm_page_info info;
	struct gmm_reader *reader;
	struct model model;
	uint32_t state;

	for (state = 0; state < STATES; state++) {
		model_init(&model, MODEL_LAZY | MODEL_OWNER);
		word = bring_to(&model, state);
		gmm_equal(gmm_page_read(model.guest, PAGE, page), 0);
		gmm_equal(page[0], word);
		gmm_equal(page[MODEL_PAGE_BYTES / 8 - 1], word);
		gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
		gmm_ok(info.state == states[state] && !info.busy);
		model.memory.fail_at[MODEL_READ] = model.memory.calls[MODEL_READ] + 1;
		gmm_equal(gmm_page_read(model.guest, PAGE, page), -GMM_EIO);
		gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
		gmm_ok(info.state == states[state] && !info.busy);
		model_fini(&model);
	}
	model_init(&model, 0);
	gmm_equal(gmm_page_read(model.guest, PAGE, page), 0);
	gmm_equal(page[0], model_word(PAGE));
	gmm_equal(gmm_page_read(model.guest, MODEL_PAGES, page), -GMM_EFAULT);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_section_enter(reader);
	gmm_equal(gmm_page_read(model.guest, PAGE, page), -GMM_EDEADLK);
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(every_fault_is_served_as_the_owner_that_protects_needs),
	CASE(every_fault_is_served_as_the_owner_that_logs_needs),
	CASE(every_fault_is_served_as_the_owner_that_maps_writable_needs),
	CASE(a_page_is_filled_once),
	CASE(resident_memory_is_translated),
	CASE(a_fault_outside_all_slots_is_refused),
	CASE(a_slot_beyond_the_address_space_never_gets_a_fault),
	CASE(a_failed_fill_gives_everything_back),
	CASE(a_failed_map_gives_everything_back),
	CASE(a_map_that_the_host_puts_off_is_tried_again),
	CASE(a_failed_resolve_gives_everything_back),
	CASE(a_page_is_read_wherever_it_is),
	{ NULL, NULL },
};
