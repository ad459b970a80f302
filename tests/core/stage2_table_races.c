/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Second-stage tables under several threads, one of them a processor that runs a guest: it
 * translates through the table, remembers translations until it is told to forget them, and writes.
 */
#include <gmm_port/lock.h>

#include "table_world.h"

#define R GMM_LEAF_READ
#define W GMM_LEAF_WRITE
#define X GMM_LEAF_EXEC
#define Y GMM_LEAF_YOUNG
#define D GMM_LEAF_DIRTY
#define P GMM_LEAF_PROTECTED
#define ALL (R | W | X | Y | D)

#define GUEST_PAGES 4u

struct machine {
	struct table_world world;
	uint32_t format;
	uint64_t span;
	uint64_t gfns[GUEST_PAGES]; /* that the guest writes */
	uint64_t data[GUEST_PAGES]; /* what it wrote last, in the frames */
	/* The processor is between translating and the end of its access. */
	struct gmm_spinlock running;
	uint32_t stop; /* atomic */
	uint32_t turns;
	/* for tests in which frames are freed */
	uint32_t freed[4]; /* atomic; of frames 500… */
};

static bool wait_for_processor(struct table_world *world, const struct gmm_stage2_flush *flush)
{
	struct machine *machine = gmm_container_of(world, struct machine, world);

	gmm_spin_lock(&machine->running);
	hardware_forget(&world->hardware, flush->gfn << world->facts->page_shift,
			flush->count << world->facts->page_shift);
	gmm_spin_unlock(&machine->running);
	return true;
}

static bool machine_init(struct machine *machine, uint32_t format, uint32_t flags)
{
	struct gmm_stage2_table_config config = { .format = format, .flags = flags };
	uint32_t i;

	gmm_memset(machine, 0, sizeof(*machine));
	if (!table_world_init(&machine->world, config))
		return false;
	machine->format = format;
	machine->world.hardware.remembers = true;
	machine->world.on_flush = wait_for_processor;
	gmm_spin_init(&machine->running, 200);
	machine->span = table_world_span(&machine->world, 1);
	for (i = 0; i < GUEST_PAGES; i++)
		machine->gfns[i] = machine->span + 3 * i;
	machine->turns = gmm_test_turns(3);
	return true;
}

static void machine_fini(struct machine *machine)
{
	gmm_spin_destroy(&machine->running);
	table_world_fini(&machine->world);
}

/* One write of the guest. HARDWARE_DONE: it has been made. */
static enum hardware_answer guest_write(struct machine *machine, uint32_t page, uint64_t value)
{
	struct hardware_result result;
	enum hardware_answer answer;

	gmm_spin_lock(&machine->running);
	answer = table_world_access(&machine->world, machine->gfns[page], W, &result);
	if (answer == HARDWARE_DONE)
		machine->data[page] = value;
	gmm_spin_unlock(&machine->running);
	return answer;
}

static void guest(void *arg)
{
	struct machine *machine = arg;
	struct gmm_stage2_walker *walker;
	struct gmm_stage2_leaf leaf;
	enum hardware_answer answer;
	uint64_t value;
	int error;

	gmm_must(!gmm_stage2_walker_create(machine->world.table, &walker));
	for (value = 1; value <= machine->turns; value++) {
		uint32_t page = value % GUEST_PAGES;

		while ((answer = guest_write(machine, page, value)) != HARDWARE_DONE) {
			if (answer == HARDWARE_RESERVED || answer == HARDWARE_CONFLICT) {
				gmm_ok(false, "the processor says %d", answer);
				break;
			}
			error = gmm_stage2_table_touch(walker, machine->gfns[page], W, 0, &leaf);
			gmm_ok(!error || error == -GMM_EAGAIN, "touch says %d", error);
			gmm_cpu_relax(100);
		}
	}
	gmm_stage2_walker_destroy(walker);
	gmm_store_release(&machine->stop, 1u);
}

/* Reads pages that are told to be dirty, as a migration does. */
static void harvest(struct machine *machine, struct gmm_stage2_walker *walker, uint64_t *copy,
		    bool protect)
{
	uint64_t dirty[1] = { 0 };
	uint32_t i;

	gmm_ok(gmm_stage2_table_clean(walker, machine->span, 64, NULL, dirty, 0) >= 0);
	if (protect)
		gmm_ok(gmm_stage2_table_write_protect(walker, machine->span, 64, NULL, dirty, 0) >=
		       0);
	for (i = 0; i < GUEST_PAGES; i++) {
		if (!(dirty[0] >> (3 * i) & 1))
			continue;
		gmm_spin_lock(&machine->running);
		copy[i] = machine->data[i];
		gmm_spin_unlock(&machine->running);
	}
}

static void shape(void *arg)
{
	struct machine *machine = arg;
	struct gmm_stage2_walker *walker;
	uint32_t turn = 0;
	int error;

	gmm_must(!gmm_stage2_walker_create(machine->world.table, &walker));
	while (!gmm_load_acquire(&machine->stop) && turn++ < machine->turns) {
		gmm_equal(gmm_stage2_walker_top_up(walker, 0), 0);
		error = gmm_stage2_table_split(walker, machine->span + 1, 1, 0, NULL);
		gmm_ok(!error || error == -GMM_EAGAIN, "split says %d", error);
		gmm_ok(gmm_stage2_table_collapse(walker, machine->span, machine->span, 1) >= 0);
	}
	gmm_stage2_walker_destroy(walker);
}

static void age(void *arg)
{
	struct machine *machine = arg;
	struct gmm_stage2_walker *walker;
	uint32_t turn = 0;

	gmm_must(!gmm_stage2_walker_create(machine->world.table, &walker));
	while (!gmm_load_acquire(&machine->stop) && turn++ < machine->turns)
		gmm_ok(gmm_stage2_table_age(walker, machine->span, 64, NULL,
					    turn & 1 ? GMM_STAGE2_AGE_FLUSH : 0) >= 0);
	gmm_stage2_walker_destroy(walker);
}

static const struct {
	uint32_t format, flags;
} kinds[] = {
	{ GMM_STAGE2_NPT, 0 },
	{ GMM_STAGE2_ARM64_4K, GMM_STAGE2_HARDWARE_DIRTY },
	{ GMM_STAGE2_ARM64_4K, 0 },
	{ GMM_STAGE2_SV39X4, GMM_STAGE2_HARDWARE_DIRTY },
	{ GMM_STAGE2_EPT, GMM_STAGE2_HARDWARE_DIRTY },
	{ GMM_STAGE2_LOONGARCH_4K, 0 },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/*
 * A guest writes, its memory is split and collapsed and aged under it, and its dirty pages are
 * read: no write is missing from what was read, and no processor finds two translations that do
 * not go together.
 */
static void no_write_is_lost_while_leaves_change(void)
{
	struct gmm_test_thread guest_thread, shape_thread, age_thread;
	uint32_t kind = (uint32_t)gmm_test_seed() % KINDS, i;
	uint64_t copy[GUEST_PAGES] = { 0 };
	struct machine *machine = gmm_zalloc(sizeof(*machine));

	gmm_must(machine);
	gmm_must(machine_init(machine, kinds[kind].format, kinds[kind].flags));
	table_world_map(&machine->world, machine->span, machine->span, 4 * machine->span,
			R | W | X | Y, 1);
	gmm_test_thread_start(&guest_thread, guest, machine);
	gmm_test_thread_start(&shape_thread, shape, machine);
	gmm_test_thread_start(&age_thread, age, machine);
	for (i = 0; i < 2 || !gmm_load_acquire(&machine->stop); i++) {
		harvest(machine, machine->world.walker, copy, i & 1);
		gmm_cpu_relax(100);
	}
	gmm_test_thread_join(&guest_thread);
	gmm_test_thread_join(&shape_thread);
	gmm_test_thread_join(&age_thread);
	/* One leaf may stay dirty as a whole; small ones are told one by one. */
	harvest(machine, machine->world.walker, copy, false);
	for (i = 0; i < GUEST_PAGES; i++)
		gmm_equal(copy[i], machine->data[i]);
	machine_fini(machine);
	gmm_free(machine, sizeof(*machine));
}

#define SHARED_GFN 7u
#define SHARED_PFN 500u

/*
 * A frame that goes away: whoever faults looks up which frame it is now, and maps it; whoever takes
 * it away changes that, unmaps, and frees. Nobody may reach a frame that was freed (L1).
 */
struct lookup {
	struct machine *machine;
	uint32_t current; /* index of the frame; atomic */
};

static void fault(void *arg)
{
	struct lookup *lookup = arg;
	struct machine *machine = lookup->machine;
	struct gmm_stage2_mapping mapping = { .gfn = SHARED_GFN, .count = 1, .leaf = ALL };
	struct gmm_stage2_walker *walker;
	struct hardware_result result;
	struct gmm_stage2_leaf leaf;
	uint32_t turn;

	gmm_must(!gmm_stage2_walker_create(machine->world.table, &walker));
	for (turn = 0; turn < machine->turns; turn++) {
		int error;

		gmm_equal(gmm_stage2_walker_top_up(walker, 0), 0);
		if (!gmm_stage2_watch_begin(walker, SHARED_GFN, 1)) {
			mapping.pfn = SHARED_PFN + gmm_load_acquire(&lookup->current);
			error = gmm_stage2_table_map_leaf(walker, &mapping, SHARED_GFN, &leaf);
			gmm_ok(!error || error == -GMM_EAGAIN, "map says %d", error);
			gmm_stage2_watch_end(walker);
		}
		gmm_spin_lock(&machine->running);
		if (table_world_access(&machine->world, SHARED_GFN, R, &result) == HARDWARE_DONE) {
			uint64_t pfn = table_world_pfn(&machine->world, &result);

			gmm_ok(!gmm_load_acquire(&machine->freed[pfn - SHARED_PFN]),
			       "frame %llu is reached after it was freed", (unsigned long long)pfn);
		}
		gmm_spin_unlock(&machine->running);
	}
	gmm_stage2_walker_destroy(walker);
}

static void nothing_is_mapped_that_a_change_has_overtaken(void)
{
	struct gmm_test_thread threads[2];
	uint32_t kind = (uint32_t)gmm_test_seed() % KINDS, i;
	struct lookup lookup = { .machine = gmm_zalloc(sizeof(struct machine)) };
	struct machine *machine = lookup.machine;

	gmm_must(machine);
	gmm_must(machine_init(machine, kinds[kind].format, kinds[kind].flags));
	gmm_test_thread_start(&threads[0], fault, &lookup);
	gmm_test_thread_start(&threads[1], fault, &lookup);
	for (i = 0; i < 3; i++) {
		gmm_equal(gmm_stage2_change_begin(machine->world.walker, SHARED_GFN, 1), 0);
		gmm_store_release(&lookup.current, i + 1);
		gmm_ok(gmm_stage2_table_unmap(machine->world.walker, 0, 64, NULL) == -GMM_EBUSY);
		gmm_ok(gmm_stage2_table_unmap(machine->world.walker, SHARED_GFN, 1, NULL) >= 0);
		gmm_stage2_change_end(machine->world.walker);
		gmm_store_release(&machine->freed[i], 1u);
		gmm_cpu_relax(100);
	}
	gmm_test_thread_join(&threads[0]);
	gmm_test_thread_join(&threads[1]);
	machine_fini(machine);
	gmm_free(machine, sizeof(*machine));
}

/* L11: a change elsewhere overtakes nobody; one that begins and ends in between does. */
static void a_watch_sees_its_own_frames_only(void)
{
	struct gmm_stage2_mapping mapping = { .gfn = 5, .count = 1, .pfn = 9, .leaf = ALL };
	struct gmm_stage2_walker *other;
	struct table_world world;
	struct gmm_stage2_leaf leaf;

	gmm_must(table_world_init(&world,
				  (struct gmm_stage2_table_config){ .format = GMM_STAGE2_SV39X4 }));
	gmm_must(!gmm_stage2_walker_create(world.table, &other));
	gmm_equal(gmm_stage2_walker_top_up(world.walker, 0), 0);
	gmm_equal(gmm_stage2_watch_begin(world.walker, 5, 1), 0);
	gmm_equal(gmm_stage2_change_begin(other, 6, 100), 0);
	gmm_equal(gmm_stage2_table_map_leaf(world.walker, &mapping, 5, &leaf), 0);
	gmm_stage2_change_end(other);
	gmm_equal(gmm_stage2_table_unmap(other, 5, 1, NULL), 1);
	gmm_equal(gmm_stage2_table_map_leaf(world.walker, &mapping, 5, &leaf), -GMM_EAGAIN);
	gmm_equal(gmm_stage2_table_map(world.walker, &mapping, NULL), -GMM_EAGAIN);
	gmm_stage2_watch_end(world.walker);
	gmm_equal(gmm_stage2_change_begin(other, 0, 6), 0);
	gmm_equal(gmm_stage2_change_begin(other, 0, 6), -GMM_EBUSY);
	gmm_equal(gmm_stage2_watch_begin(world.walker, 5, 1), -GMM_EAGAIN);
	gmm_equal(gmm_stage2_table_map(world.walker, &mapping, NULL), -GMM_EAGAIN);
	/* Who has the change maps, and looking is free. */
	gmm_equal(gmm_stage2_walker_top_up(other, 0), 0);
	gmm_equal(gmm_stage2_table_map(other, &mapping, NULL), 0);
	gmm_equal(gmm_stage2_table_look_up(world.walker, 5, &leaf), 0);
	gmm_stage2_change_end(other);
	gmm_equal(gmm_stage2_table_map(world.walker, &mapping, NULL), 0);
	gmm_stage2_walker_destroy(other);
	table_world_fini(&world);
}

#define BUILDERS 3u

static void build(void *arg)
{
	struct machine *machine = arg;
	struct gmm_stage2_mapping mapping = {
		.gfn = machine->span - 2, .count = 4, .pfn = 40, .leaf = ALL
	};
	struct gmm_stage2_walker *walker;
	uint64_t done;

	gmm_must(!gmm_stage2_walker_create(machine->world.table, &walker));
	gmm_equal(gmm_stage2_table_populate(walker, &mapping, &done), 0);
	gmm_equal(done, 4);
	gmm_stage2_walker_destroy(walker);
}

/* Who builds at once builds one table (L9), and what loses is given back. */
static void who_maps_at_once_makes_one_table(void)
{
	struct gmm_test_thread threads[BUILDERS];
	struct gmm_stage2_statistics statistics;
	uint32_t kind = (uint32_t)gmm_test_seed() % KINDS, i;
	struct machine *machine = gmm_zalloc(sizeof(*machine));
	struct hardware_result result;

	gmm_must(machine);
	gmm_must(machine_init(machine, kinds[kind].format, kinds[kind].flags));
	for (i = 0; i < BUILDERS; i++)
		gmm_test_thread_start(&threads[i], build, machine);
	for (i = 0; i < BUILDERS; i++)
		gmm_test_thread_join(&threads[i]);
	gmm_stage2_table_read_statistics(machine->world.table, &statistics);
	gmm_equal(statistics.tables[0], 2);
	gmm_equal(statistics.leaves[0], 4);
	for (i = 0; i < 4; i++) {
		gmm_equal(table_world_access(&machine->world, machine->span - 2 + i, W, &result),
			  HARDWARE_DONE);
		gmm_equal(table_world_pfn(&machine->world, &result), 40 + i);
	}
	machine_fini(machine);
	gmm_free(machine, sizeof(*machine));
}

static void look(void *arg)
{
	struct machine *machine = arg;
	struct gmm_stage2_walker *walker;
	struct gmm_stage2_leaf leaf;
	int error;

	gmm_must(!gmm_stage2_walker_create(machine->world.table, &walker));
	while (!gmm_load_acquire(&machine->stop)) {
		error = gmm_stage2_table_look_up(walker, 3, &leaf);
		gmm_ok(error == -GMM_ENOENT || (!error && leaf.pfn == 100),
		       "a walk came into a table that was freed");
		gmm_cpu_relax(0);
	}
	gmm_stage2_walker_destroy(walker);
}

/* Tables that go are not read by who found them before (L3). */
static void who_walks_never_reads_a_freed_table(void)
{
	struct gmm_test_thread threads[2];
	uint32_t kind = (uint32_t)gmm_test_seed() % KINDS, i;
	struct machine *machine = gmm_zalloc(sizeof(*machine));

	gmm_must(machine);
	gmm_must(machine_init(machine, kinds[kind].format, kinds[kind].flags));
	gmm_test_thread_start(&threads[0], look, machine);
	gmm_test_thread_start(&threads[1], look, machine);
	for (i = 0; i < 2; i++) {
		table_world_map(&machine->world, 3, 2, 100, ALL, 0);
		table_world_map(&machine->world, machine->span + 3, 2, 102, ALL, 0);
		gmm_equal(gmm_stage2_table_unmap(machine->world.walker, 0, 2 * machine->span, NULL),
			  4);
	}
	gmm_store_release(&machine->stop, 1u);
	gmm_test_thread_join(&threads[0]);
	gmm_test_thread_join(&threads[1]);
	machine_fini(machine);
	gmm_free(machine, sizeof(*machine));
}

static void split_one(void *arg)
{
	struct machine *machine = arg;
	struct gmm_stage2_walker *walker;
	int error;

	gmm_must(!gmm_stage2_walker_create(machine->world.table, &walker));
	gmm_equal(gmm_stage2_walker_top_up(walker, 0), 0);
	error = gmm_stage2_table_split(walker, machine->span + 1, 1, 0, NULL);
	gmm_ok(!error || error == -GMM_EAGAIN, "split says %d", error);
	gmm_stage2_walker_destroy(walker);
}

/* A change of some frames keeps nobody out of the rest of a leaf: one is split or taken away. */
static void a_leaf_that_is_split_and_unmapped_is_one_or_the_other(void)
{
	uint32_t kind = (uint32_t)gmm_test_seed() % KINDS;
	struct machine *machine = gmm_zalloc(sizeof(*machine));
	struct gmm_stage2_statistics statistics;
	struct gmm_test_thread thread;
	struct gmm_stage2_leaf leaf;
	uint64_t gone;

	gmm_must(machine);
	gmm_must(machine_init(machine, kinds[kind].format, kinds[kind].flags));
	table_world_map(&machine->world, machine->span, machine->span, 4 * machine->span, ALL, 1);
	gmm_test_thread_start(&thread, split_one, machine);
	gone = (uint64_t)gmm_stage2_table_unmap(machine->world.walker, machine->span + 5, 1, NULL);
	gmm_test_thread_join(&thread);
	gmm_ok(gone == 1 || gone == machine->span);
	gmm_equal(gmm_stage2_table_look_up(machine->world.walker, machine->span + 5, &leaf),
		  -GMM_ENOENT);
	gmm_equal(gmm_stage2_table_look_up(machine->world.walker, machine->span + 1, &leaf),
		  gone == 1 ? 0 : -GMM_ENOENT);
	gmm_stage2_table_read_statistics(machine->world.table, &statistics);
	gmm_equal(statistics.leaves[0], gone == 1 ? machine->span - 1 : 0);
	gmm_equal(statistics.leaves[1], 0);
	machine_fini(machine);
	gmm_free(machine, sizeof(*machine));
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "no_write_is_lost_while_leaves_change", no_write_is_lost_while_leaves_change },
	{ "nothing_is_mapped_that_a_change_has_overtaken",
	  nothing_is_mapped_that_a_change_has_overtaken },
	{ "a_watch_sees_its_own_frames_only", a_watch_sees_its_own_frames_only },
	{ "who_maps_at_once_makes_one_table", who_maps_at_once_makes_one_table },
	{ "a_leaf_that_is_split_and_unmapped_is_one_or_the_other",
	  a_leaf_that_is_split_and_unmapped_is_one_or_the_other },
	{ "who_walks_never_reads_a_freed_table", who_walks_never_reads_a_freed_table },
	{ NULL, NULL },
};
