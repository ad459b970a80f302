/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Pages that come and go: faults against evicting, discarding, moving and devices. */
#include "scene.h"

#define LAZY (MACHINE_LAZY | MACHINE_OWNER)

static void resident_page_0(struct scene *scene)
{
	machine_must(
		gmm_fault_populate(scene->machine.guest, 0, 1, GMM_ACCESS_READ, GMM_POPULATE_MAP));
}

static void unmapped_page_0(struct scene *scene)
{
	machine_must(gmm_fault_populate(scene->machine.guest, 0, 1, GMM_ACCESS_READ, 0));
}

static void written_page_0(struct scene *scene)
{
	machine_guest_write(&scene->machine, 0, 55);
}

static void activate_page_0(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

static void guest_reads(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_guest_read(&scene->machine, 0) == machine_word(0));
}

static void guest_writes(void *arg)
{
	struct scene *scene = arg;

	machine_guest_write(&scene->machine, 0, 77);
}

static void guest_reads_or_77(void *arg)
{
	struct scene *scene = arg;
	uint64_t word = machine_guest_read(&scene->machine, 0);

	machine_check(word == machine_word(0) || word == 77);
}

static void guest_writes_and_reads(void *arg)
{
	struct scene *scene = arg;

	machine_guest_write(&scene->machine, 0, 77);
	machine_check(machine_guest_read(&scene->machine, 0) == 77);
}

static void guest_reads_55(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_guest_read(&scene->machine, 0) == 55);
}

static void guest_reads_or_zero(void *arg)
{
	struct scene *scene = arg;
	uint64_t word = machine_guest_read(&scene->machine, 0);

	machine_check(word == 55 || word == 0);
}

static void device_writes_page_0(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_write(&scene->machine, scene->cache, reader, 0, 77);
	gmm_reader_unregister(reader);
}

static void device_reads_page_0(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

static void evicts(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_again(gmm_evict(scene->machine.guest, 0, 1, 0)) >= 0);
}

static void evicts_twice(void *arg)
{
	evicts(arg);
	evicts(arg);
}

static void discards(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_discard(scene->machine.guest, 0, 1));
}

static void two_resident_pages(struct scene *scene)
{
	machine_must(
		gmm_fault_populate(scene->machine.guest, 0, 2, GMM_ACCESS_READ, GMM_POPULATE_MAP));
}

static void evicts_both(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_again(gmm_evict(scene->machine.guest, 0, 2, 0)) >= 0);
}

static void discards_both(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_discard(scene->machine.guest, 0, 2));
}

/* Nor fewer than nothing (L20). What one of them owned the other has passed over. */
static void nothing_is_resident(struct scene *scene)
{
	machine_check(gmm_resident_pages(scene->machine.guest) <= 2);
	evicts_both(scene);
	machine_check(gmm_resident_pages(scene->machine.guest) == 0);
}

static void ages(void *arg)
{
	struct scene *scene = arg;

	machine_check(gmm_age(scene->machine.guest, 0, 1, 0, NULL) >= 0);
}

static void moves(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
}

static void page_0_is(struct scene *scene, uint64_t word)
{
	uint64_t found[MACHINE_PAGE_BYTES / sizeof(uint64_t)];

	machine_must(gmm_page_read(scene->machine.guest, 0, found));
	machine_check(found[0] == word);
}

static void is_77(struct scene *scene)
{
	page_0_is(scene, 77);
}

static void is_55(struct scene *scene)
{
	page_0_is(scene, 55);
}

static void is_untouched(struct scene *scene)
{
	page_0_is(scene, machine_word(0));
}

static void is_zero(struct scene *scene)
{
	page_0_is(scene, 0);
}

static void is_77_or_zero(struct scene *scene)
{
	uint64_t found[MACHINE_PAGE_BYTES / sizeof(uint64_t)];

	machine_must(gmm_page_read(scene->machine.guest, 0, found));
	machine_check(found[0] == 77 || found[0] == 0);
}

SCENARIO(two_faults, .traits = LAZY, .threads = { guest_reads, guest_reads }, .check = is_untouched)
SCENARIO(read_and_write_fault, .traits = LAZY, .threads = { guest_reads_or_77, guest_writes },
	 .check = is_77)
SCENARIO(fault_move, .traits = LAZY, .prepare = resident_page_0, .threads = { guest_reads, moves },
	 .check = is_untouched)
SCENARIO(fault_move_unmapped, .traits = LAZY, .prepare = unmapped_page_0,
	 .threads = { guest_reads, moves }, .check = is_untouched)
SCENARIO(two_fault_move, .traits = LAZY, .prepare = unmapped_page_0,
	 .threads = { guest_reads, guest_reads, moves }, .check = is_untouched)
SCENARIO(write_evict, .traits = LAZY, .threads = { guest_writes_and_reads, evicts }, .check = is_77)
SCENARIO(write_evict_resident, .traits = LAZY, .prepare = resident_page_0,
	 .threads = { guest_writes_and_reads, evicts }, .check = is_77)
SCENARIO(read_evict_changed, .traits = LAZY, .prepare = written_page_0,
	 .threads = { guest_reads_55, evicts_twice }, .check = is_55)
SCENARIO(write_two_evict, .traits = LAZY, .prepare = resident_page_0,
	 .threads = { guest_writes_and_reads, evicts, evicts }, .check = is_77)
SCENARIO(device_write_evict, .traits = LAZY, .prepare = activate_page_0,
	 .threads = { device_writes_page_0, evicts }, .check = is_77)
SCENARIO(device_fault_evict, .traits = LAZY, .prepare = activate_page_0,
	 .threads = { device_reads_page_0, guest_reads, evicts }, .check = is_untouched)
SCENARIO(two_evict, .traits = LAZY, .prepare = two_resident_pages,
	 .threads = { evicts_both, evicts_both }, .check = nothing_is_resident)
SCENARIO(two_discard, .traits = LAZY, .prepare = two_resident_pages,
	 .threads = { discards_both, discards_both }, .check = nothing_is_resident)
SCENARIO(evict_discard_both, .traits = LAZY, .prepare = two_resident_pages,
	 .threads = { evicts_both, discards_both }, .check = nothing_is_resident)
SCENARIO(read_discard, .traits = LAZY, .prepare = written_page_0,
	 .threads = { guest_reads_or_zero, discards }, .check = is_zero)
SCENARIO(write_discard, .traits = LAZY, .prepare = written_page_0,
	 .threads = { guest_writes, discards }, .check = is_77_or_zero)
SCENARIO(evict_discard, .traits = LAZY, .prepare = written_page_0, .threads = { evicts, discards },
	 .check = is_zero)
SCENARIO(write_age, .traits = LAZY, .prepare = resident_page_0,
	 .threads = { guest_writes_and_reads, ages }, .check = is_77)
SCENARIO(write_age_evict, .traits = LAZY, .prepare = resident_page_0,
	 .threads = { guest_writes_and_reads, ages, evicts }, .check = is_77)

const struct explore_scenario explore_fault_scenarios[] = {
	{ "fault-fault", "L1 L5", "two vCPUs touch an absent page: it is filled once", two_faults,
	  3, true },
	{ "fault-read-write", "L5 L12", "one reads and one writes it", read_and_write_fault, 2,
	  true },
	{ "fault-move", "L1 L11", "a page is mapped again while its frame changes", fault_move, 3,
	  false },
	{ "fault-move-unmapped", "L1", "... for the first time", fault_move_unmapped, 3, false },
	{ "fault-two-move", "L1", "... and another vCPU reads through what the first one maps",
	  two_fault_move, 2, false },
	{ "fault-write-evict", "W10", "a page is written while it is evicted, absent at first",
	  write_evict, 2, true },
	{ "fault-write-evict-resident", "W10", "... resident at first", write_evict_resident, 2,
	  true },
	{ "fault-read-evict-changed", "W10", "what was changed comes back from the store",
	  read_evict_changed, 2, false },
	{ "fault-write-two-evict", "W10", "two evict the page that one writes", write_two_evict, 1,
	  false },
	{ "fault-device-write-evict", "W2 W10", "a device writes while the page is evicted",
	  device_write_evict, 2, true },
	{ "fault-device-fault-evict", "W2 W10", "a device, a vCPU and the evictor",
	  device_fault_evict, 1, false },
	{ "fault-two-evict", "L20 W10", "two evict all there is: each page goes once", two_evict, 2,
	  false },
	{ "fault-two-discard", "L20 W9", "... discard it", two_discard, 2, false },
	{ "fault-evict-discard-all", "L20 W9 W10", "... one each", evict_discard_both, 2, false },
	{ "fault-read-discard", "W9", "a page is read while it is discarded", read_discard, 2,
	  false },
	{ "fault-write-discard", "W9", "... written", write_discard, 2, false },
	{ "fault-evict-discard", "W9 W10", "evicted and discarded at once", evict_discard, 3,
	  false },
	{ "fault-write-age", "L7 L23", "a page ages while it is written", write_age, 2, true },
	{ "fault-write-age-evict", "W10", "... and is evicted", write_age_evict, 1, false },
	{ .name = NULL },
};
