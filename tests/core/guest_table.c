/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A guest with a table in a format of hardware, operation by operation; one thread. Rules L5-L7,
 * L12-L14, L23, L24.
 */
#include "walked.h"

#define R GMM_ACCESS_READ
#define W GMM_ACCESS_WRITE
#define X GMM_ACCESS_EXEC
#define GFN 3u /* of slot 0, small */
#define LOGS GMM_SLOT_LOG_DIRTY

/* Small memory, of which slot 0 is all. */
static bool init_small(struct walked *walked, uint32_t format, uint32_t flags)
{
	if (!walked_init(walked, format, 0))
		return false;
	walked_add(walked, 0, GFN, 0, WALKED_SMALL, flags);
	return true;
}

static uint64_t harvest(struct walked *walked)
{
	uint64_t bits = 0;

	gmm_ok(gmm_dirty_harvest(walked->guest, 0, 0, WALKED_SMALL, &bits) >= 0);
	return bits;
}

static struct gmm_guest_counters counters_of(struct walked *walked)
{
	struct gmm_guest_counters counters;

	gmm_guest_read_counters(walked->guest, &counters);
	return counters;
}

static void kick(void *opaque, uint32_t id)
{
}

static int slot_change(void *owner, const struct gmm_slot_info *old,
		       const struct gmm_slot_info *now)
{
	return 0;
}

static int span_operation(void *owner, const struct gmm_span *span)
{
	return 0;
}

static int map_operation(void *owner, const struct gmm_span *span, uint32_t access)
{
	return 0;
}

static void wake_operation(void *owner, const struct gmm_span *span)
{
}

static int fill(void *memory, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	return 0;
}

static int read_page(void *memory, uint64_t page, bool resident, enum gmm_page_origin origin,
		     void *buffer)
{
	return 0;
}

static void a_guest_and_its_table_go_together(void)
{
	static const struct gmm_stage2_ops owner = {
		.version = GMM_STAGE2_OPS_VERSION,
		.map = map_operation,
		.unmap = span_operation,
		.protect = span_operation,
		.unprotect = span_operation,
		.wake = wake_operation,
		.slot_change = slot_change,
	};
	struct gmm_guest_config config = { 0 };
	struct gmm_memory_ops lazy;
	struct gmm_slot_config slot;
	struct gmm_guest *guest;
	struct walked walked;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(walked_init(&walked, format, 0));
		gmm_equal(gmm_guest_page_shift(walked.guest), walked.world.facts->page_shift);
		gmm_equal(gmm_stage2_table_destroy(walked.world.table), -GMM_EBUSY);
		config = (struct gmm_guest_config){ .table = walked.world.table };
		config.stage2_ops = &owner;
		gmm_equal(gmm_guest_create(&config, &guest), -GMM_EINVAL);
		config.stage2_ops = NULL;
		config.page_shift = walked.world.facts->page_shift == 12 ? 14 : 12;
		gmm_equal(gmm_guest_create(&config, &guest), -GMM_EINVAL);
		config.page_shift = 0;
		config.gpa_bits = walked.world.facts->gpa_bits_default + 1;
		gmm_equal(gmm_guest_create(&config, &guest), -GMM_EINVAL);
		slot = walked_slot(&walked, 0, GFN, 0, 4, 0);
		lazy = *slot.memory_ops;
		lazy.flags = GMM_MEMORY_LAZY;
		lazy.fill = fill;
		lazy.read = read_page;
		slot.memory_ops = &lazy;
		gmm_equal(gmm_slot_add(walked.guest, &slot), -GMM_EINVAL);
		/* The last frame that both can address. */
		gmm_equal(gmm_guest_destroy(walked.guest), -GMM_EBUSY);
		walked_fini(&walked);
	}
}

/* L13: a read fault is the only one where no write has to be seen. */
static void a_fault_maps_what_the_slot_allows(void)
{
	struct walked walked;
	uint32_t format;
	uint64_t pfn;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, 0));
		gmm_ok(!walked_try(&walked, GFN + 5, R, NULL));
		gmm_equal(walked_fault(&walked, GFN + 5, R), 0);
		gmm_ok(walked_try(&walked, GFN + 5, R, &pfn));
		gmm_equal(pfn, walked_frame(&walked, 5));
		gmm_ok(walked_try(&walked, GFN + 5, W, &pfn), "L13: the write faulted, too");
		gmm_ok(walked_try(&walked, GFN + 5, X, &pfn));
		gmm_equal(walked_fault(&walked, GFN + 6, W), 0);
		gmm_ok(walked_try(&walked, GFN + 6, W, &pfn));
		gmm_equal(pfn, walked_frame(&walked, 6));
		gmm_equal(walked_leaf(&walked, GFN + 6).memory, GMM_LEAF_CACHED);
		gmm_equal(walked_fault(&walked, GFN + WALKED_SMALL, R), -GMM_EFAULT);
		gmm_equal(walked_fault(&walked, ~(gmm_gfn_t)0, W), -GMM_EFAULT);
		gmm_equal(walked_leaves(&walked), 2);
		gmm_equal(counters_of(&walked).faults_mapped, 2);
		walked_fini(&walked);
	}
}

static void a_read_only_slot_is_never_written(void)
{
	struct walked walked;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, GMM_SLOT_READ_ONLY));
		gmm_equal(walked_fault(&walked, GFN, W), -GMM_EROFS);
		gmm_equal(walked_leaves(&walked), 0);
		gmm_equal(walked_fault(&walked, GFN, R), 0);
		gmm_equal(walked_fault(&walked, GFN, W), -GMM_EROFS);
		gmm_ok(walked_try(&walked, GFN, R, NULL) && !walked_try(&walked, GFN, W, NULL));
		gmm_equal(gmm_fault_populate(walked.guest, GFN, 2, W, GMM_POPULATE_MAP),
			  -GMM_EROFS);
		/* It may be written from now on, and not any more. */
		gmm_equal(gmm_slot_set_flags(walked.guest, 0, 0), 0);
		gmm_equal(walked_access(&walked, GFN, W, NULL), 0);
		gmm_equal(gmm_slot_set_flags(walked.guest, 0, GMM_SLOT_READ_ONLY), 0);
		gmm_ok(!walked_try(&walked, GFN, W, NULL));
		gmm_equal(walked_access(&walked, GFN, R, NULL), 0);
		gmm_ok(!walked_try(&walked, GFN, W, NULL));
		walked_fini(&walked);
	}
}

/* L6 */
static void who_has_to_flush_is_told(void)
{
	struct walked walked;
	uint32_t format, facts;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, LOGS));
		facts = walked.world.facts->facts;
		gmm_equal(gmm_fault_serve_vcpu(walked.guest, walked.vcpu, GFN, R),
			  facts & GMM_STAGE2_FLUSHES_AFTER_MAP ? GMM_FAULT_FLUSH : 0);
		gmm_equal(gmm_fault_serve_vcpu(walked.guest, walked.vcpu, GFN, W),
			  facts & GMM_STAGE2_FLUSHES_AFTER_PERMIT ? GMM_FAULT_FLUSH : 0);
		/* Also when it is there: the vCPU faulted on what it remembers. */
		gmm_equal(gmm_fault_serve(walked.guest, GFN, W),
			  facts & GMM_STAGE2_FLUSHES_AFTER_PERMIT ? GMM_FAULT_FLUSH : 0);
		gmm_equal(gmm_fault_serve(walked.guest, GFN, R),
			  facts & GMM_STAGE2_FLUSHES_AFTER_PERMIT ? GMM_FAULT_FLUSH : 0);
		walked_fini(&walked);
	}
}

/* L5, L12, L23: the fast path looks at no frame, and leaves nothing where nothing is. */
static void what_is_old_becomes_young_without_a_look_at_its_frame(void)
{
	struct walked walked;
	uint64_t young;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, 0));
		gmm_equal(walked_access(&walked, GFN + 2, R, NULL), 0);
		gmm_equal(walked_access(&walked, GFN + 9, W, NULL), 0);
		gmm_equal(gmm_age(walked.guest, 0, 64, GMM_AGE_TEST_ONLY, &young), 2);
		gmm_equal(young, (1ull << (GFN + 2)) | (1ull << (GFN + 9)));
		gmm_equal(gmm_age(walked.guest, GFN + 1, 8, 0, &young), 1);
		gmm_equal(young, 2);
		gmm_equal(gmm_age(walked.guest, 0, 64, GMM_AGE_TEST_ONLY, &young), 1);
		gmm_equal(gmm_age(walked.guest, 0, 64, 0, NULL), 1);
		gmm_equal(gmm_age(walked.guest, 0, 64, 0, NULL), 0);
		gmm_ok(!(walked_leaf(&walked, GFN + 2).leaf & GMM_LEAF_YOUNG));
		hardware_forget(&walked.world.hardware, 0, ~(uint64_t)0 >> 1);
		gmm_equal(walked.resolves, 2);
		gmm_equal(walked_fault(&walked, GFN + 2, R), 0);
		gmm_equal(walked_fault(&walked, GFN + 9, W), 0);
		gmm_equal(walked.resolves, 2);
		gmm_equal(counters_of(&walked).faults_fast, 2);
		gmm_ok(walked_try(&walked, GFN + 2, R, NULL) &&
		       walked_try(&walked, GFN + 9, W, NULL));
		gmm_equal(gmm_age(walked.guest, GFN, WALKED_SMALL, 0, &young), 2);
		gmm_equal(young, (1u << 2) | (1u << 9));
		walked_fini(&walked);
	}
}

static void a_log_has_every_first_write(void)
{
	struct walked walked;
	uint64_t flushes, bits;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, LOGS));
		gmm_equal(walked_access(&walked, GFN + 1, R, NULL), 0);
		gmm_equal(walked_access(&walked, GFN + 2, R, NULL), 0);
		gmm_ok(!walked_try(&walked, GFN + 1, W, NULL));
		gmm_equal(harvest(&walked), 0);
		gmm_equal(walked_access(&walked, GFN + 1, W, NULL), 0);
		gmm_equal(walked_access(&walked, GFN + 3, W, NULL), 0);
		gmm_equal(counters_of(&walked).faults_protect, 1);
		/* Through what is remembered, too. */
		gmm_ok(walked_try(&walked, GFN + 1, W, NULL));
		flushes = walked.world.flushes;
		gmm_equal(harvest(&walked), (1u << 1) | (1u << 3));
		gmm_equal(walked.world.flushes, flushes + 1);
		gmm_ok(!walked_try(&walked, GFN + 1, W, NULL) &&
		       !walked_try(&walked, GFN + 3, W, NULL));
		gmm_ok(walked_try(&walked, GFN + 1, R, NULL), "reading need not fault again");
		/* Nothing to be harvested: nobody is disturbed. */
		flushes = walked.world.flushes;
		gmm_equal(harvest(&walked), 0);
		gmm_equal(walked.world.flushes, flushes);
		/* By a mask (L7): the neighbour may go on. */
		gmm_equal(walked_access(&walked, GFN + 4, W, NULL), 0);
		gmm_equal(walked_access(&walked, GFN + 5, W, NULL), 0);
		bits = 1u << 5;
		gmm_equal(gmm_dirty_clear(walked.guest, 0, 0, WALKED_SMALL, &bits), 1);
		gmm_ok(walked_try(&walked, GFN + 4, W, NULL) &&
		       !walked_try(&walked, GFN + 5, W, NULL));
		gmm_equal(harvest(&walked), 1u << 4);
		walked_fini(&walked);
	}
}

static void a_ring_has_what_its_vcpu_writes(void)
{
	struct gmm_dirty_entry entries[4];
	struct walked walked;
	uint64_t flushes;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, LOGS));
		gmm_equal(gmm_dirty_ring_create(walked.vcpu, GMM_DIRTY_RING_MIN), 0);
		gmm_equal(walked_access(&walked, GFN + 1, R, NULL), 0);
		gmm_equal(walked_access(&walked, GFN + 1, W, NULL), 0);
		gmm_equal(walked_access(&walked, GFN + 7, W, NULL), 0);
		/* What may be written already is in it. */
		gmm_equal(walked_fault(&walked, GFN + 7, W), 0);
		gmm_equal(gmm_dirty_ring_harvest(walked.vcpu, entries, 4), 2);
		gmm_equal(entries[0].page, 1);
		gmm_equal(entries[1].page, 7);
		gmm_ok(walked_try(&walked, GFN + 7, W, NULL));
		gmm_ok(gmm_fault_serve(walked.guest, GFN + 2, W) >= 0);
		flushes = walked.world.flushes;
		gmm_equal(gmm_dirty_ring_reset(walked.vcpu), 2);
		gmm_equal(walked.world.flushes, flushes + 1);
		gmm_ok(!walked_try(&walked, GFN + 1, W, NULL) &&
		       !walked_try(&walked, GFN + 7, W, NULL));
		gmm_ok(walked_try(&walked, GFN + 2, W, NULL), "L7: no entry of the ring's");
		gmm_equal(harvest(&walked), 1u << 2);
		/* An entry that is none takes no other with it. */
		gmm_equal(walked_access(&walked, GFN + 3, W, NULL), 0);
		gmm_equal(gmm_dirty_ring_push(walked.vcpu, 0, WALKED_SMALL), 0);
		gmm_equal(gmm_dirty_ring_harvest(walked.vcpu, entries, 4), 2);
		gmm_equal(gmm_dirty_ring_reset(walked.vcpu), 2);
		gmm_ok(!walked_try(&walked, GFN + 3, W, NULL));
		gmm_equal(walked_access(&walked, GFN + 7, W, NULL), 0);
		gmm_equal(gmm_dirty_ring_harvest(walked.vcpu, entries, 4), 1);
		/* Who is no vCPU marks the bitmap. */
		gmm_ok(gmm_fault_serve(walked.guest, GFN + 8, W) >= 0);
		gmm_equal(gmm_dirty_ring_harvest(walked.vcpu, entries, 4), 0);
		gmm_equal(harvest(&walked), 1u << 8);
		walked_fini(&walked);
	}
}

/* Begin takes everything of the range away, by frames and by addresses, and keeps it away. */
static void a_change_takes_translations_away(void)
{
	struct gmm_range frames = { GFN + 2, GFN + 5 }, addresses;
	struct walked walked;
	uint32_t format, i;

	walked_each_format(format)
	{
		uint32_t shift;

		gmm_must(init_small(&walked, format, 0));
		shift = walked.world.facts->page_shift;
		/* Not whole pages: pages 2 to 4. */
		addresses = (struct gmm_range){ WALKED_HVA + (2ull << shift) + 100,
						WALKED_HVA + (4ull << shift) + 1 };
		for (i = 0; i < 4; i++) {
			enum gmm_range_kind kind = i & 1 ? GMM_RANGE_HVA : GMM_RANGE_GFN;
			const struct gmm_range *range = i & 1 ? &addresses : &frames;
			uint32_t flags = i & 2 ? GMM_INVALIDATE_NONBLOCKING : 0, page;

			gmm_equal(gmm_fault_populate(walked.guest, GFN, 8, R, GMM_POPULATE_MAP), 0);
			for (page = 0; page < 8; page++)
				gmm_ok(walked_try(&walked, GFN + page, W, NULL));
			gmm_equal(gmm_invalidate_begin(walked.guest, kind, range, 1, flags, NULL),
				  0);
			for (page = 0; page < 8; page++)
				gmm_equal(walked_try(&walked, GFN + page, R, NULL),
					  page < 2 || page > 4);
			gmm_equal(walked_fault(&walked, GFN + 3, R), GMM_FAULT_HELD);
			gmm_equal(walked_fault(&walked, GFN + 3, W), GMM_FAULT_HELD);
			gmm_equal(walked_fault(&walked, GFN + 8, W), 0);
			gmm_equal(walked_leaf(&walked, GFN + 3).count, 0);
			gmm_invalidate_end(walked.guest, kind, range, 1);
			gmm_equal(walked_access(&walked, GFN + 3, R, NULL), 0);
		}
		walked_fini(&walked);
	}
}

/* More slots of one memory than are remembered at once, one of another between. */
static void a_change_by_address_finds_all_slots_of_it(void)
{
	struct gmm_range range = { WALKED_HVA, WALKED_HVA + 1 };
	struct walked walked;
	uint32_t format, i;

	walked_each_format(format)
	{
		gmm_must(walked_init(&walked, format, 0));
		for (i = 0; i < 20; i++) {
			walked_add(&walked, i, 2 * i, 0, 1, 0);
			gmm_equal(walked_access(&walked, 2 * i, W, NULL), 0);
		}
		walked_add(&walked, 20, 100, 1, 1, 0);
		gmm_equal(walked_access(&walked, 100, W, NULL), 0);
		gmm_equal(gmm_invalidate_begin(walked.guest, GMM_RANGE_HVA, &range, 1, 0, NULL), 0);
		for (i = 0; i < 20; i++)
			gmm_ok(!walked_try(&walked, 2 * i, R, NULL));
		gmm_ok(walked_try(&walked, 100, R, NULL));
		gmm_invalidate_end(walked.guest, GMM_RANGE_HVA, &range, 1);
		for (i = 1; i <= 20; i++)
			gmm_equal(gmm_slot_remove(walked.guest, i), 0);
		walked_fini(&walked);
	}
}

static void slots_take_their_translations_along(void)
{
	struct walked walked;
	uint64_t pfn;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, 0));
		gmm_equal(walked_access(&walked, GFN + 1, W, NULL), 0);
		gmm_equal(gmm_slot_move(walked.guest, 0, GFN + 40), 0);
		gmm_ok(!walked_try(&walked, GFN + 1, R, NULL));
		gmm_equal(walked_fault(&walked, GFN + 1, R), -GMM_EFAULT);
		gmm_equal(walked_access(&walked, GFN + 41, W, &pfn), 0);
		gmm_equal(pfn, walked_frame(&walked, 1));
		gmm_equal(walked_access(&walked, GFN + 50, W, &pfn), 0);
		gmm_equal(gmm_slot_resize(walked.guest, 0, 8), 0);
		gmm_ok(!walked_try(&walked, GFN + 50, R, NULL));
		gmm_equal(walked_access(&walked, GFN + 41, W, &pfn), 0);
		gmm_equal(gmm_slot_resize(walked.guest, 0, 12), 0);
		gmm_equal(walked_access(&walked, GFN + 50, W, &pfn), 0);
		gmm_equal(gmm_slot_remove(walked.guest, 0), 0);
		gmm_ok(!walked_try(&walked, GFN + 50, R, NULL));
		gmm_equal(walked_leaves(&walked), 0);
		/* What comes to the same place has nothing of it. */
		walked_add(&walked, 0, GFN + 40, 4, 12, 0);
		gmm_ok(!walked_try(&walked, GFN + 50, R, NULL));
		gmm_equal(walked_access(&walked, GFN + 50, R, &pfn), 0);
		gmm_equal(pfn, walked_frame(&walked, 14));
		walked_fini(&walked);
	}
}

/* L24: what memory is short for says so, and has changed nothing; again, it is done. */
static void a_lack_of_memory_changes_nothing(void)
{
	struct walked walked;
	uint32_t format, at, failures = 0;
	int answer;

	walked_each_format(format)
	{
		for (at = 1; at < 8; at++) {
			gmm_must(init_small(&walked, format, LOGS));
			walked.world.fail_at = at;
			answer = walked_fault(&walked, GFN, W);
			gmm_ok(answer == 0 || answer == -GMM_ENOMEM);
			if (answer) {
				failures++;
				gmm_equal(walked_leaves(&walked), 0);
				gmm_equal(harvest(&walked), 0);
				gmm_equal(walked_access(&walked, GFN, W, NULL), 0);
			}
			gmm_equal(harvest(&walked), 1);
			gmm_equal(gmm_slot_move(walked.guest, 0, GFN + walked.span), 0);
			walked.world.fail_at = at;
			answer = gmm_fault_populate(walked.guest, GFN + walked.span, 3, R,
						    GMM_POPULATE_MAP);
			gmm_ok(answer == 0 || answer == -GMM_ENOMEM);
			failures += answer != 0;
			walked.world.fail_at = 0;
			gmm_equal(gmm_fault_populate(walked.guest, GFN + walked.span, 3, R,
						     GMM_POPULATE_MAP),
				  0);
			gmm_equal(walked_leaves(&walked), 3);
			walked.fail_resolve = walked.resolves + 1;
			gmm_equal(walked_fault(&walked, GFN + walked.span + 8, R), -GMM_EIO);
			gmm_equal(walked_leaves(&walked), 3);
			walked_fini(&walked);
		}
	}
	gmm_ok(failures >= 2);
}

static void guests_and_vcpus_are_made_again(void)
{
	struct gmm_guest_config config = { .max_vcpus = 4 };
	struct gmm_guest *guest;
	struct gmm_vcpu *vcpu;
	struct walked walked;
	uint64_t live;
	uint32_t at;

	gmm_must(init_small(&walked, GMM_STAGE2_NPT, 0));
	config.table = walked.world.table;
	/* The table keeps what it needs to know of so many walkers. */
	gmm_equal(gmm_guest_create(&config, &guest), 0);
	gmm_equal(gmm_guest_destroy(guest), 0);
	live = gmm_port_alloc_live();
	for (at = 1;; at++) {
		gmm_port_alloc_fail_at(at);
		if (!gmm_guest_create(&config, &guest))
			break;
		gmm_equal(gmm_port_alloc_live(), live);
	}
	gmm_port_alloc_fail_at(0);
	gmm_ok(at > 8);
	gmm_equal(gmm_guest_destroy(guest), 0);
	live = gmm_port_alloc_live();
	for (at = 1;; at++) {
		gmm_port_alloc_fail_at(at);
		if (!gmm_vcpu_create(walked.guest, 1, kick, NULL, &vcpu))
			break;
		gmm_equal(gmm_port_alloc_live(), live);
	}
	gmm_ok(at > 2);
	gmm_equal(gmm_vcpu_destroy(vcpu), 0);
	gmm_port_alloc_fail_at(0);
	walked_fini(&walked);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_guest_and_its_table_go_together),
	CASE(a_fault_maps_what_the_slot_allows),
	CASE(a_read_only_slot_is_never_written),
	CASE(who_has_to_flush_is_told),
	CASE(what_is_old_becomes_young_without_a_look_at_its_frame),
	CASE(a_log_has_every_first_write),
	CASE(a_ring_has_what_its_vcpu_writes),
	CASE(a_change_takes_translations_away),
	CASE(a_change_by_address_finds_all_slots_of_it),
	CASE(slots_take_their_translations_along),
	CASE(a_lack_of_memory_changes_nothing),
	CASE(guests_and_vcpus_are_made_again),
	{ NULL, NULL },
};
