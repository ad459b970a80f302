/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Pages that somebody else takes away (W9): what was not changed comes again, what was is zero, and
 * is reported; what is written afterwards stays.
 */
#include <guestmm/repair.h>

#include "scene.h"

#define LOSES (MACHINE_LAZY | MACHINE_OWNER | MACHINE_LOSES)
#define COPY 0	  /* numbers: what the last harvest of page 0 read */
#define POINTER 1 /* what the lease gave */

static void read_page_0(struct scene *scene)
{
	machine_check(machine_guest_read(&scene->machine, 0) == machine_word(0));
}

static void written_page_0(struct scene *scene)
{
	machine_guest_write(&scene->machine, 0, 55);
}

static void written_and_active(struct scene *scene)
{
	written_page_0(scene);
	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

static void written_and_leased(struct scene *scene)
{
	void *pointer;

	written_and_active(scene);
	machine_must(gmm_lease_take(scene->cache, 0, 8, GMM_LEASE_WRITE, &pointer));
	scene->numbers[POINTER] = (uintptr_t)pointer;
}

static uint64_t contents(struct scene *scene)
{
	uint64_t found[MACHINE_PAGE_BYTES / sizeof(uint64_t)];

	machine_must(gmm_page_read(scene->machine.guest, 0, found));
	return found[0];
}

static void written_and_logged(struct scene *scene)
{
	uint64_t bitmap = 0;

	written_page_0(scene);
	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) == 1);
	scene->numbers[COPY] = contents(scene);
}

static void add_slot(struct scene *scene)
{
	struct gmm_slot_config slot = machine_slot(&scene->machine, 0, 0, 0, MACHINE_PAGES);

	machine_must(gmm_slot_add(scene->machine.guest, &slot));
	written_page_0(scene);
}

static void loses(void *arg)
{
	struct scene *scene = arg;

	machine_lose(&scene->machine, 0);
}

static void repairs(void *arg)
{
	struct scene *scene = arg;
	struct gmm_repair_result result = { 0 };

	machine_must(gmm_repair(scene->machine.guest, 0, 2, &result));
	machine_check(result.repaired + result.lost <= 1);
}

static void loses_and_repairs(void *arg)
{
	loses(arg);
	repairs(arg);
}

static void guest_reads(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_guest_read(&scene->machine, 0) == machine_word(0));
}

static void guest_reads_or_zero(void *arg)
{
	struct scene *scene = arg;
	uint64_t word = machine_guest_read(&scene->machine, 0);

	machine_check(word == 55 || word == 0);
}

static void loses_and_guest_reads(void *arg)
{
	struct scene *scene = arg;
	uint64_t word;

	loses(arg);
	word = machine_guest_read(&scene->machine, 0);
	machine_check(word == 77 || word == 0);
}

static void guest_writes(void *arg)
{
	struct scene *scene = arg;

	machine_guest_write(&scene->machine, 0, 77);
}

static void device_writes(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_write(&scene->machine, scene->cache, reader, 0, 77);
	gmm_reader_unregister(reader);
}

static void completes_io(void *arg)
{
	struct scene *scene = arg;
	uint64_t *pointer = (uint64_t *)(uintptr_t)scene->numbers[POINTER];

	machine_store(&scene->machine, pointer, 77);
	gmm_lease_drop(scene->cache, 0, 8);
}

static void unmaps(void *arg)
{
	struct scene *scene = arg;

	machine_unmap(&scene->machine, 0);
}

static void evicts(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_again(gmm_evict(scene->machine.guest, 0, 1, 0)) >= 0);
}

static void discards(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_discard(scene->machine.guest, 0, 1));
}

static void reads_page(void *arg)
{
	struct scene *scene = arg;
	uint64_t word = contents(scene);

	machine_check(word == 55 || word == 77 || word == 0);
}

static void harvests(void *arg)
{
	struct scene *scene = arg;
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
	if (bitmap & 1)
		scene->numbers[COPY] = contents(scene);
}

static void moves_slot_and_back(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_move(scene->machine.guest, 0, 1));
	machine_must(gmm_slot_move(scene->machine.guest, 0, 0));
}

static void removes_slot(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_remove(scene->machine.guest, 0));
}

static uint64_t lost_pages(struct scene *scene)
{
	struct gmm_guest_counters counters;

	gmm_guest_read_counters(scene->machine.guest, &counters);
	return counters.pages_lost;
}

/*
 * What there is stays when it is evicted. Whoever asks for a page that has gone hears it here at the
 * latest.
 */
static uint64_t final_contents(struct scene *scene)
{
	uint64_t word = contents(scene);

	evicts(scene);
	machine_check(contents(scene) == word);
	return word;
}

static void comes_again(struct scene *scene)
{
	machine_check(final_contents(scene) == machine_word(0));
	machine_check(lost_pages(scene) == 0);
}

/* Zero is no contents of anybody's: it is there only for what was reported. */
static void is_kept_or_reported(struct scene *scene)
{
	uint64_t word = final_contents(scene);

	machine_check(word == 55 || (word == 0 && lost_pages(scene)));
}

static void is_written_or_reported(struct scene *scene)
{
	uint64_t word = final_contents(scene);

	machine_check(word == 77 || (word == 0 && lost_pages(scene)));
}

static void is_zero(struct scene *scene)
{
	machine_check(final_contents(scene) == 0);
}

static void copy_is_right(struct scene *scene)
{
	harvests(scene);
	machine_check(scene->numbers[COPY] == contents(scene));
	is_kept_or_reported(scene);
}

static void counts_are_right(struct scene *scene)
{
	struct gmm_page_survey survey;

	is_kept_or_reported(scene);
	machine_must(gmm_page_take_survey(scene->machine.guest, 0, MACHINE_PAGES, &survey));
	machine_check(survey.present == gmm_resident_pages(scene->machine.guest));
	machine_must(gmm_slot_remove(scene->machine.guest, 0));
}

static void nothing_is_resident(struct scene *scene)
{
	machine_check(gmm_resident_pages(scene->machine.guest) == 0);
}

static void was_written(struct scene *scene)
{
	machine_check(contents(scene) == 77);
}

#define OWN (LOSES | MACHINE_NO_SLOT)
#define UNMAPS (MACHINE_LAZY | MACHINE_OWNER)

SCENARIO(read_repair, .traits = LOSES, .prepare = read_page_0,
	 .threads = { guest_reads, loses_and_repairs }, .check = comes_again)
SCENARIO(changed_repair, .traits = LOSES, .prepare = written_page_0,
	 .threads = { guest_reads_or_zero, loses_and_repairs }, .check = is_kept_or_reported)
SCENARIO(evict_repair, .traits = LOSES, .prepare = read_page_0,
	 .threads = { evicts, loses_and_repairs }, .check = comes_again)
SCENARIO(evict_changed_repair, .traits = LOSES, .prepare = written_page_0,
	 .threads = { evicts, loses_and_repairs }, .check = is_kept_or_reported)
SCENARIO(evict_loss, .traits = LOSES, .prepare = written_page_0, .threads = { evicts, loses },
	 .check = is_kept_or_reported)
SCENARIO(discard_repair, .traits = LOSES, .prepare = written_page_0,
	 .threads = { discards, loses_and_repairs }, .check = is_zero)
SCENARIO(read_evict_repair, .traits = LOSES, .prepare = read_page_0,
	 .threads = { guest_reads, evicts, loses_and_repairs }, .check = comes_again)
SCENARIO(two_repair, .traits = LOSES, .prepare = read_page_0,
	 .threads = { repairs, loses_and_repairs }, .check = comes_again)
SCENARIO(write_repair, .traits = LOSES, .prepare = read_page_0,
	 .threads = { guest_writes, loses_and_repairs }, .check = is_written_or_reported)
SCENARIO(write_loss, .traits = LOSES, .prepare = written_page_0, .threads = { guest_writes, loses },
	 .check = is_written_or_reported)
SCENARIO(write_evict_repair, .traits = LOSES, .prepare = read_page_0,
	 .threads = { guest_writes, evicts, loses_and_repairs }, .check = is_written_or_reported)
SCENARIO(device_repair, .traits = LOSES, .prepare = written_and_active,
	 .threads = { device_writes, loses_and_repairs }, .check = is_written_or_reported)
SCENARIO(device_fault, .traits = LOSES, .prepare = written_and_active,
	 .threads = { device_writes, loses_and_guest_reads }, .check = is_written_or_reported)
SCENARIO(device_evict_loss, .traits = LOSES, .prepare = written_and_active,
	 .threads = { device_writes, evicts, loses }, .check = is_written_or_reported)
SCENARIO(device_read_loss, .traits = LOSES, .prepare = written_and_active,
	 .threads = { device_writes, reads_page, loses }, .check = is_written_or_reported)
SCENARIO(io_repair, .traits = LOSES, .prepare = written_and_leased,
	 .threads = { completes_io, loses_and_repairs }, .check = is_written_or_reported)
SCENARIO(repair_harvest, .traits = LOSES | MACHINE_LOG, .prepare = written_and_logged,
	 .threads = { harvests, loses_and_repairs }, .check = copy_is_right)
SCENARIO(repair_slot_moves, .traits = OWN, .prepare = add_slot,
	 .threads = { loses_and_repairs, moves_slot_and_back }, .check = counts_are_right)
SCENARIO(repair_slot_goes, .traits = OWN, .prepare = add_slot,
	 .threads = { loses_and_repairs, removes_slot }, .check = nothing_is_resident)
SCENARIO(evict_unmap, .traits = UNMAPS, .prepare = written_page_0,
	 .threads = { guest_writes, evicts, unmaps }, .check = was_written)

const struct explore_scenario explore_repair_scenarios[] = {
	{ "repair-read", "W9", "a vCPU touches a page that somebody else frees", read_repair, 3,
	  true },
	{ "repair-read-changed", "W9", "... a page that was changed", changed_repair, 2, false },
	{ "repair-write", "W9", "... writes it", write_repair, 2, false },
	{ "repair-write-loss", "W9", "... and nobody else looks for it", write_loss, 3, false },
	{ "repair-evict", "W9 W10", "it is evicted meanwhile", evict_repair, 2, false },
	{ "repair-evict-changed", "W9 W10", "... a page that was changed", evict_changed_repair, 2,
	  false },
	{ "repair-evict-loss", "W9 W10", "... which nobody but the evictor looks for", evict_loss,
	  3, false },
	{ "repair-discard", "W9", "it is discarded meanwhile", discard_repair, 2, false },
	{ "repair-read-evict", "W9 W10", "a vCPU, the evictor and the repair", read_evict_repair, 1,
	  false },
	{ "repair-write-evict", "W9 W10", "... a vCPU that writes", write_evict_repair, 1, false },
	{ "repair-evict-unmap", "W9 W10",
	  "it is evicted while somebody unmaps it and a vCPU still writes to it", evict_unmap, 2,
	  false },
	{ "repair-twice", "W9", "repaired twice at once", two_repair, 3, false },
	{ "repair-device-write", "W2 W9", "a device writes to it in a section", device_repair, 2,
	  false },
	{ "repair-device-fault", "W2 W9", "... and a vCPU touches it", device_fault, 2, false },
	{ "repair-device-evict", "W9 W10", "... while it is evicted", device_evict_loss, 1, false },
	{ "repair-device-read", "W9", "... while somebody reads the page: what it writes stays",
	  device_read_loss, 1, false },
	{ "repair-lease", "W7 W9", "it is written through a lease", io_repair, 3, false },
	{ "repair-harvest", "W6 W9", "a loss is in the log", repair_harvest, 2, false },
	{ "repair-slot-moves", "W9", "its slot moves meanwhile", repair_slot_moves, 1, false },
	{ "repair-slot-goes", "W9", "... is removed", repair_slot_goes, 2, false },
	{ .name = NULL },
};

/* Not in the table: the machine does not wait, which the scenario has to find. */
SCENARIO(evict_unmap_unwaited, .traits = UNMAPS | MACHINE_UNMAP_UNWAITED, .prepare = written_page_0,
	 .threads = { guest_writes, evicts, unmaps }, .check = was_written)

const struct explore_scenario explore_repair_defects[] = {
	{ "repair-evict-unmap-unwaited", "", "", evict_unmap_unwaited, 2, false },
	{ .name = NULL },
};
