/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The dirty ring: a vCPU that pushes against who harvests, resets, and rewrites. Rules R2, R3, R6. */
#include "vcpu_user.h"

#define SIZE GMM_DIRTY_RING_MIN

struct ring_test {
	struct model model;
	struct vcpu_user user;
	struct race producer;
	uint32_t pushes;   /* of the producer, in all */
	uint32_t finished; /* atomic */
};

static void ring_init(struct ring_test *test)
{
	test->finished = 0;
	model_init(&test->model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	vcpu_user_create(&test->user, &test->model, 0);
	gmm_equal(gmm_dirty_ring_create(test->user.vcpu, SIZE), 0);
	test->model.vcpu = test->user.vcpu;
	test->producer.model = &test->model;
}

static void ring_fini(struct ring_test *test)
{
	vcpu_user_destroy(&test->user);
	model_fini(&test->model);
}

/* Pages with a rule, so that a half-filled entry shows. The vCPU stays out while the ring is full. */
static uint64_t page_of(uint32_t push)
{
	return 0x10000ull * (push + 1) + push;
}

static int push_many(struct race *race)
{
	struct ring_test *test = gmm_container_of(race, struct ring_test, producer);
	uint32_t i, turn = 0;

	for (i = 0; i < test->pushes; i++) {
		while (gmm_dirty_ring_full(test->user.vcpu))
			gmm_cpu_relax(turn++);
		if (gmm_dirty_ring_push(test->user.vcpu, i + 1, page_of(i)))
			return -GMM_EIO;
	}
	gmm_store_release(&test->finished, 1u);
	return 0;
}

/* R2: an entry whose flag is seen is whole, in another program too, which sees entries only. */
static void an_entry_is_whole_when_its_flag_is_seen(void)
{
	struct gmm_dirty_entry *entries;
	struct ring_test test;
	uint32_t next = 0, turn = 0;

	ring_init(&test);
	test.pushes = gmm_test_turns(150);
	entries = gmm_dirty_ring_entries(test.user.vcpu);
	race_start(&test.producer, push_many);
	while (next < test.pushes) {
		struct gmm_dirty_entry *entry = &entries[next % SIZE];

		if (!(gmm_load_acquire(&entry->flags) & GMM_DIRTY_ENTRY_DIRTY)) {
			gmm_ok(gmm_dirty_ring_reset(test.user.vcpu) >= 0);
			gmm_cpu_relax(turn++);
			continue;
		}
		gmm_must(entry->slot == next + 1 && entry->page == page_of(next));
		gmm_store_release(&entry->flags, GMM_DIRTY_ENTRY_HARVESTED);
		next++;
	}
	gmm_equal(race_join(&test.producer), 0);
	ring_fini(&test);
}

/* All of them, in order, once; and the ring is never pushed to beyond its end. */
static void a_harvester_gets_every_entry_once(void)
{
	struct gmm_dirty_entry out[7];
	struct ring_test test;
	uint32_t next = 0, turn = 0;

	ring_init(&test);
	test.pushes = gmm_test_turns(150);
	race_start(&test.producer, push_many);
	while (next < test.pushes) {
		uint32_t got = gmm_dirty_ring_harvest(test.user.vcpu, out, 7), i;

		for (i = 0; i < got; i++, next++)
			gmm_must(out[i].slot == next + 1 && out[i].page == page_of(next));
		if (!got || next % 3)
			gmm_ok(gmm_dirty_ring_reset(test.user.vcpu) >= 0);
		gmm_cpu_relax(turn++);
	}
	gmm_equal(race_join(&test.producer), 0);
	gmm_equal(gmm_dirty_ring_harvest(test.user.vcpu, out, 7), 0);
	ring_fini(&test);
}

/* A consumer that marks everything harvested, over and over. */
struct rewriter {
	struct race race;
	struct gmm_dirty_entry *entries;
	uint32_t stop; /* atomic */
	struct gmm_gate gate;
};

static int rewrite(struct race *race)
{
	struct rewriter *rewriter = gmm_container_of(race, struct rewriter, race);
	uint32_t i, turn = 0;

	while (!gmm_load_acquire(&rewriter->stop)) {
		for (i = 0; i < SIZE; i++)
			gmm_store_release(&rewriter->entries[i].flags,
					  GMM_DIRTY_ENTRY_DIRTY | GMM_DIRTY_ENTRY_HARVESTED);
		gmm_cpu_relax(turn++);
	}
	return 0;
}

/* R3: a reset ends, and takes no more than was pushed when it began. */
static void a_consumer_that_rewrites_flags_cannot_keep_a_reset(void)
{
	struct rewriter rewriter = { 0 };
	struct ring_test test;
	int64_t taken, pushed = 0;
	uint32_t i, round;

	ring_init(&test);
	rewriter.entries = gmm_dirty_ring_entries(test.user.vcpu);
	race_start(&rewriter.race, rewrite);
	for (round = 0; round < gmm_test_turns(2); round++) {
		for (i = 0; i < 20; i++)
			gmm_equal(gmm_dirty_ring_push(test.user.vcpu, 0, i * 40), 0);
		pushed += 20;
		/* What it did not see harvested at once it takes later. */
		do {
			taken = gmm_dirty_ring_reset(test.user.vcpu);
			gmm_must(taken >= 0 && taken <= pushed);
			pushed -= taken;
			gmm_cpu_relax(round);
		} while (gmm_dirty_ring_full(test.user.vcpu));
	}
	gmm_store_release(&rewriter.stop, 1u);
	gmm_equal(race_join(&rewriter.race), 0);
	ring_fini(&test);
}

static int reset(struct race *race)
{
	struct ring_test *test = gmm_container_of(race, struct ring_test, producer);

	return (int)gmm_dirty_ring_reset(test->user.vcpu);
}

/* The same without luck: while a reset protects, its entries are marked again. */
static void an_entry_that_was_taken_back_is_not_looked_at_again(void)
{
	struct gmm_dirty_entry *entries, out[SIZE];
	struct ring_test test;
	struct gmm_gate gate;
	uint32_t i;

	ring_init(&test);
	entries = gmm_dirty_ring_entries(test.user.vcpu);
	gmm_must(model_guest_write(&test.model, 3, 1));
	gmm_equal(gmm_dirty_ring_push(test.user.vcpu, 0, 1000), 0);
	gmm_equal(gmm_dirty_ring_harvest(test.user.vcpu, out, SIZE), 2);
	gmm_gate_init(&gate, 1);
	test.model.memory.gates[MODEL_LIVE_PROTECT] = &gate;
	race_start(&test.producer, reset);
	gmm_gate_wait_held(&gate);
	for (i = 0; i < SIZE; i++)
		gmm_store_release(&entries[i].flags, GMM_DIRTY_ENTRY_HARVESTED);
	gmm_equal(gmm_dirty_ring_push(test.user.vcpu, 0, 5), 0);
	gmm_store_release(&entries[2].flags, GMM_DIRTY_ENTRY_HARVESTED);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&test.producer), 2);
	gmm_equal(gmm_dirty_ring_reset(test.user.vcpu), 1);
	ring_fini(&test);
}

static int guest_writes(struct race *race)
{
	struct ring_test *test = gmm_container_of(race, struct ring_test, producer);
	uint32_t i, turn = 0;

	for (i = 0; i < test->pushes; i++) {
		while (gmm_dirty_ring_full(test->user.vcpu))
			gmm_cpu_relax(turn++);
		if (!model_guest_write(race->model, i % MODEL_PAGES, 0x1000000 + i))
			return -GMM_EIO;
	}
	gmm_store_release(&test->finished, 1u);
	return 0;
}

static void copy_of_page(struct model *model, uint64_t *copy, uint64_t page)
{
	uint64_t words[MODEL_PAGE_BYTES / 8];

	gmm_equal(gmm_page_read(model->guest, page, words), 0);
	copy[page] = words[0];
}

/* The consumer harvests, resets, and only then reads: what is written meanwhile comes again. */
static void apply_ring(struct ring_test *test, uint64_t *copy)
{
	struct gmm_dirty_entry out[SIZE];
	uint32_t got = gmm_dirty_ring_harvest(test->user.vcpu, out, SIZE), i;

	gmm_ok(gmm_dirty_ring_reset(test->user.vcpu) >= 0);
	for (i = 0; i < got; i++)
		copy_of_page(&test->model, copy, out[i].page);
}

static void apply_bitmap(struct ring_test *test, uint64_t *copy)
{
	uint64_t bits, page;

	gmm_ok(gmm_dirty_harvest(test->model.guest, 0, 0, MODEL_PAGES, &bits) >= 0);
	for (page = 0; page < MODEL_PAGES; page++)
		if ((bits >> page) & 1)
			copy_of_page(&test->model, copy, page);
}

/* R6: base plus both kinds of harvest, in any turn, is the memory. */
static void ring_and_bitmap_together_lose_nothing(void)
{
	uint64_t copy[MODEL_PAGES], random = gmm_test_seed();
	uint32_t p, turn = 0;
	struct ring_test test;

	for (p = 0; p < MODEL_PAGES; p++)
		copy[p] = model_word(p);
	ring_init(&test);
	test.pushes = gmm_test_turns(30);
	race_start(&test.producer, guest_writes);
	do {
		if (gmm_test_random(&random) % 2)
			apply_ring(&test, copy);
		else
			apply_bitmap(&test, copy);
		gmm_cpu_relax(turn++);
	} while (!gmm_load_acquire(&test.finished));
	gmm_equal(race_join(&test.producer), 0);
	apply_ring(&test, copy);
	apply_bitmap(&test, copy);
	for (p = 0; p < MODEL_PAGES; p++) {
		uint64_t seen = copy[p];

		copy_of_page(&test.model, copy, p);
		gmm_ok(seen == copy[p], "page %u: the copy has 0x%llx, the memory 0x%llx", p,
		       (unsigned long long)seen, (unsigned long long)copy[p]);
	}
	ring_fini(&test);
}

struct harvester {
	struct race race;
	uint32_t slot;
	uint64_t bits; /* of all its harvests */
	uint32_t turns;
};

static int harvest_slot(struct race *race)
{
	struct harvester *harvester = gmm_container_of(race, struct harvester, race);
	uint64_t bits;
	uint32_t i;

	for (i = 0; i < harvester->turns; i++) {
		if (gmm_dirty_harvest(race->model->guest, harvester->slot, 0, 8, &bits) < 0)
			return -GMM_EIO;
		harvester->bits |= bits;
	}
	return 0;
}

/* Every harvest looks into all rings; two at once must not lose an entry between them. */
static void two_harvests_at_once_share_a_ring_without_loss(void)
{
	struct harvester harvesters[2];
	struct gmm_slot_config slot;
	struct ring_test test;
	uint64_t bits;
	uint32_t i, round;

	ring_init(&test);
	gmm_equal(gmm_slot_remove(test.model.guest, 0), 0);
	for (i = 0; i < 2; i++) {
		slot = model_slot(&test.model, i, i * 8, i * 8, 8);
		slot.flags = GMM_SLOT_LOG_DIRTY;
		gmm_equal(gmm_slot_add(test.model.guest, &slot), 0);
	}
	for (round = 0; round < gmm_test_turns(1); round++) {
		for (i = 0; i < 16; i++)
			gmm_equal(gmm_dirty_ring_push(test.user.vcpu, i % 2, i / 2), 0);
		for (i = 0; i < 2; i++) {
			harvesters[i] = (struct harvester){ .slot = i, .turns = 2 };
			harvesters[i].race.model = &test.model;
			race_start(&harvesters[i].race, harvest_slot);
		}
		for (i = 0; i < 2; i++)
			gmm_equal(race_join(&harvesters[i].race), 0);
		for (i = 0; i < 2; i++) {
			gmm_ok(gmm_dirty_harvest(test.model.guest, i, 0, 8, &bits) >= 0);
			gmm_equal(harvesters[i].bits | bits, 0xff);
		}
		gmm_ok(!gmm_dirty_ring_full(test.user.vcpu));
	}
	gmm_equal(gmm_slot_remove(test.model.guest, 1), 0);
	ring_fini(&test);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(an_entry_is_whole_when_its_flag_is_seen),
	CASE(a_harvester_gets_every_entry_once),
	CASE(a_consumer_that_rewrites_flags_cannot_keep_a_reset),
	CASE(an_entry_that_was_taken_back_is_not_looked_at_again),
	CASE(ring_and_bitmap_together_lose_nothing),
	CASE(two_harvests_at_once_share_a_ring_without_loss),
	{ NULL, NULL },
};
