/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Pages that somebody else takes away (W9): what was not changed comes again, what was is zero. */
#include <guestmm/repair.h>

#include "scene.h"

#define LOSES (MACHINE_LAZY | MACHINE_OWNER | MACHINE_LOSES)
#define REPAIRED 0 /* numbers */
#define LOST 1

static void read_page_0(struct scene *scene)
{
	machine_check(machine_guest_read(&scene->machine, 0) == machine_word(0));
}

static void written_page_0(struct scene *scene)
{
	machine_guest_write(&scene->machine, 0, 55);
}

static void loses_and_repairs(void *arg)
{
	struct scene *scene = arg;
	struct gmm_repair_result result = { 0 };

	machine_lose(&scene->machine, 0);
	machine_must(gmm_repair(scene->machine.guest, 0, 1, &result));
	machine_check(result.repaired + result.lost <= 1);
	scene->numbers[REPAIRED] = result.repaired;
	scene->numbers[LOST] = result.lost;
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

static void evicts(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_again(gmm_evict(scene->machine.guest, 0, 1, 0)) >= 0);
}

static void repairs(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_repair(scene->machine.guest, 0, 1, NULL));
}

static uint64_t contents(struct scene *scene)
{
	uint64_t found[MACHINE_PAGE_BYTES / sizeof(uint64_t)];

	machine_must(gmm_page_read(scene->machine.guest, 0, found));
	return found[0];
}

static void comes_again(struct scene *scene)
{
	machine_check(contents(scene) == machine_word(0));
	machine_check(scene->numbers[LOST] == 0);
}

/* Written out before, or reported lost and zero. */
static void is_kept_or_zero(struct scene *scene)
{
	uint64_t word = contents(scene);

	machine_check(word == 55 || word == 0);
	machine_check(word == 55 || !scene->numbers[REPAIRED]);
}

SCENARIO(read_repair, .traits = LOSES, .prepare = read_page_0,
	 .threads = { guest_reads, loses_and_repairs }, .check = comes_again)
SCENARIO(changed_repair, .traits = LOSES, .prepare = written_page_0,
	 .threads = { guest_reads_or_zero, loses_and_repairs }, .check = is_kept_or_zero)
SCENARIO(evict_repair, .traits = LOSES, .prepare = read_page_0,
	 .threads = { evicts, loses_and_repairs }, .check = comes_again)
SCENARIO(evict_changed_repair, .traits = LOSES, .prepare = written_page_0,
	 .threads = { evicts, loses_and_repairs }, .check = is_kept_or_zero)
SCENARIO(read_evict_repair, .traits = LOSES, .prepare = read_page_0,
	 .threads = { guest_reads, evicts, loses_and_repairs }, .check = comes_again)
SCENARIO(two_repair, .traits = LOSES, .prepare = read_page_0,
	 .threads = { repairs, loses_and_repairs }, .check = comes_again)

const struct explore_scenario explore_repair_scenarios[] = {
	{ "repair-read", "W9", "a vCPU touches a page that somebody else frees", read_repair, 3,
	  true },
	{ "repair-read-changed", "W9", "... a page that was changed", changed_repair, 2, false },
	{ "repair-evict", "W9 W10", "it is evicted meanwhile", evict_repair, 2, false },
	{ "repair-evict-changed", "W9 W10", "... a page that was changed", evict_changed_repair, 2,
	  false },
	{ "repair-read-evict", "W9 W10", "a vCPU, the evictor and the repair", read_evict_repair, 1,
	  false },
	{ "repair-twice", "W9", "repaired twice at once", two_repair, 3, false },
	{ .name = NULL },
};
