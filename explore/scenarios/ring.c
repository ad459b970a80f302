/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Dirty rings: whatever was pushed is in a harvest of the ring or of the bitmap. */
#include "scene.h"

#define SEEN 0 /* numbers: a bit for each page that some harvest had */
#define RING GMM_DIRTY_RING_MIN

static void make_ring(struct scene *scene)
{
	machine_must(gmm_dirty_ring_create(scene->vcpus[0], RING));
}

static void push(struct scene *scene, uint64_t page)
{
	machine_must(gmm_dirty_ring_push(scene->vcpus[0], 0, page));
}

static void make_pushed(struct scene *scene)
{
	make_ring(scene);
	push(scene, 0);
	push(scene, 1);
}

/* Room for one entry. */
static void make_full(struct scene *scene)
{
	uint32_t i;

	make_ring(scene);
	for (i = 0; i < RING - 1; i++)
		push(scene, 2);
}

static void note(struct scene *scene, uint64_t bits)
{
	gmm_fetch_or(&scene->numbers[SEEN], bits);
}

static void pushes(void *arg)
{
	push(arg, 0);
	push(arg, 1);
}

static void pushes_third(void *arg)
{
	push(arg, 2);
}

static uint32_t harvest(struct scene *scene, uint32_t most)
{
	struct gmm_dirty_entry entries[RING];
	uint32_t count = gmm_dirty_ring_harvest(scene->vcpus[0], entries, most);
	uint64_t bits = 0;
	uint32_t i;

	for (i = 0; i < count; i++) {
		machine_check(entries[i].slot == 0 && entries[i].page < MACHINE_PAGES);
		bits |= (uint64_t)1 << entries[i].page;
	}
	if (bits)
		note(scene, bits);
	return count;
}

static void harvests_and_resets(void *arg)
{
	struct scene *scene = arg;

	harvest(scene, 4);
	machine_check(gmm_dirty_ring_reset(scene->vcpus[0]) >= 0);
}

static void harvests_and_resets_all(void *arg)
{
	struct scene *scene = arg;

	harvest(scene, RING);
	machine_check(gmm_dirty_ring_reset(scene->vcpus[0]) >= 0);
}

/* No more than there was, whatever the flags say meanwhile. */
static void resets_two(void *arg)
{
	struct scene *scene = arg;
	int64_t total = gmm_dirty_ring_reset(scene->vcpus[0]);

	machine_check(total >= 0 && total <= 2);
}

/* A consumer that has lost its place says once more what it has said, and of entries that nobody pushed. */
static void says_it_again(void *arg)
{
	struct scene *scene = arg;
	struct gmm_dirty_entry *entries = gmm_dirty_ring_entries(scene->vcpus[0]);
	uint32_t i;

	for (i = 0; i < 6; i++)
		gmm_store_release(&entries[i % 3].flags, GMM_DIRTY_ENTRY_HARVESTED);
}

/* Writes in each of two stays, and keeps out of the guest while its ring is full. */
static void runs_and_pushes(void *arg)
{
	struct scene *scene = arg;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		int answer;

		while ((answer = machine_again(gmm_vcpu_enter(scene->vcpus[0]))) == -GMM_EAGAIN)
			gmm_cpu_relax(0);
		machine_must(answer);
		push(scene, i);
		gmm_vcpu_exit(scene->vcpus[0]);
	}
}

/* A consumer that has the entries mapped: by the flags alone, without a lock. */
static void looks_at_entries(void *arg)
{
	struct scene *scene = arg;
	struct gmm_dirty_entry *entries = gmm_dirty_ring_entries(scene->vcpus[0]);
	uint32_t i;

	for (i = 0; i < 2; i++) {
		if (!(gmm_load_acquire(&entries[i].flags) & GMM_DIRTY_ENTRY_DIRTY))
			return;
		machine_check(entries[i].slot == 0 && entries[i].page == i);
	}
}

static void harvests_bitmap(void *arg)
{
	struct scene *scene = arg;
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
	note(scene, bitmap);
}

static void seen(struct scene *scene, uint64_t bits)
{
	while (harvest(scene, RING))
		machine_check(gmm_dirty_ring_reset(scene->vcpus[0]) >= 0);
	harvests_bitmap(scene);
	machine_check((scene->numbers[SEEN] & bits) == bits);
}

static void two_are_seen(struct scene *scene)
{
	seen(scene, 3);
}

/* No push was beyond the size: the bitmap was never needed. */
static void the_bitmap_is_empty(struct scene *scene)
{
	struct gmm_guest_counters counters;

	gmm_guest_read_counters(scene->machine.guest, &counters);
	machine_check(counters.dirty_marked == 0);
	seen(scene, 3);
}

/* The ring goes on. */
static void a_push_is_seen(struct scene *scene)
{
	push(scene, 3);
	seen(scene, 8);
}

static void three_are_seen(struct scene *scene)
{
	seen(scene, 7);
}

#define RINGS (MACHINE_VCPUS | MACHINE_LOG)

SCENARIO(push_reset, .traits = RINGS, .prepare = make_ring,
	 .threads = { pushes, harvests_and_resets }, .check = two_are_seen)
SCENARIO(push_drain, .traits = RINGS, .prepare = make_ring, .threads = { pushes, harvests_bitmap },
	 .check = two_are_seen)
SCENARIO(push_look, .traits = RINGS, .prepare = make_ring, .threads = { pushes, looks_at_entries },
	 .check = two_are_seen)
SCENARIO(reset_drain, .traits = RINGS, .prepare = make_pushed,
	 .threads = { harvests_and_resets, harvests_bitmap }, .check = two_are_seen)
SCENARIO(push_reset_drain, .traits = RINGS, .prepare = make_pushed,
	 .threads = { pushes_third, harvests_and_resets, harvests_bitmap }, .check = three_are_seen)
SCENARIO(full, .traits = RINGS, .prepare = make_full, .threads = { pushes, harvests_and_resets },
	 .check = three_are_seen)
SCENARIO(kept_out, .traits = RINGS, .prepare = make_full,
	 .threads = { runs_and_pushes, harvests_and_resets_all }, .check = the_bitmap_is_empty)
SCENARIO(replay, .traits = RINGS, .prepare = make_pushed, .threads = { resets_two, says_it_again },
	 .check = a_push_is_seen)
SCENARIO(two_drain, .traits = RINGS, .prepare = make_pushed,
	 .threads = { harvests_bitmap, harvests_bitmap }, .check = two_are_seen)

const struct explore_scenario explore_ring_scenarios[] = {
	{ "ring-push-reset", "R3 R7", "pushed while the consumer harvests and resets", push_reset,
	  3, false },
	{ "ring-push-drain", "R6", "pushed while the bitmap is harvested", push_drain, 3, false },
	{ "ring-push-look", "R2", "an entry is whole when its flag is seen", push_look, 3, true },
	{ "ring-reset-drain", "R6 R7", "reset while the bitmap is harvested", reset_drain, 3,
	  false },
	{ "ring-push-reset-drain", "R6 R7", "... and pushed", push_reset_drain, 1, false },
	{ "ring-full", "R1", "pushed beyond the size while it is reset", full, 2, false },
	{ "ring-kept-out", "R1",
	  "a vCPU whose ring is full enters when it was reset, and never pushes in vain", kept_out,
	  1, false },
	{ "ring-replay", "R3",
	  "a consumer writes its flags again while they are reset: the reset ends", replay, 3,
	  true },
	{ "ring-two-drain", "R6", "the bitmap is harvested twice at once", two_drain, 3, false },
	{ .name = NULL },
};
