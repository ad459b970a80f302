/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Caches: what a pointer shows while what is under it, or the cache itself, changes. */
#include "scene.h"

static void activate_page_0(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

static void activate_second_word(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 8, 8, SCENE_WRITE));
}

static void activate_two_pages(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 0, 2 * SCENE_PAGE, SCENE_WRITE));
}

static void activate_by_hva(struct scene *scene)
{
	machine_must(gmm_cache_activate_hva(scene->cache, MACHINE_HVA, 8, SCENE_HOST));
}

static void reads(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

/* Whatever the cache shows is page 0 or page 1, and stays so to the end of the section. */
static void looks(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint64_t *pointer, word;

	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(scene->cache, 0, 8);
	if (pointer) {
		word = machine_load(&scene->machine, pointer);
		machine_check(word == machine_word(0) || word == machine_word(1));
		machine_check(machine_load(&scene->machine, pointer) == word);
	}
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

static void looks_nested(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint64_t *pointer;

	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(scene->cache, 0, 8);
	gmm_section_enter(reader);
	gmm_section_exit(reader);
	machine_check(!pointer || machine_load(&scene->machine, pointer) == machine_word(0));
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

static void refreshes(void *arg)
{
	struct scene *scene = arg;
	int answer = machine_again(gmm_cache_refresh(scene->cache));

	machine_check(answer == 0 || answer == -GMM_EINVAL);
}

/* Within the page: the word behind the first. */
static void retargets_within(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_cache_activate(scene->cache, 8, 8, SCENE_WRITE));
}

static void retargets_back(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

static void looks_at_either_word(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint64_t *pointer, word;

	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(scene->cache, 0, 8);
	if (pointer) {
		word = machine_load(&scene->machine, pointer);
		machine_check(word == machine_word(0) || word == machine_word(0) + 0x100);
	}
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

/* A failure is told, and the next refresh repairs what it left. */
static void refreshes_until_good(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	int answer;

	do
		answer = gmm_cache_refresh(scene->cache);
	while (answer == -GMM_ENOMEM);
	machine_must(answer);
	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

/* Nothing of its own page changes, so it never loses its pointer. */
static void stays_valid(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint32_t i;

	for (i = 0; i < 2; i++) {
		gmm_section_enter(reader);
		machine_check(gmm_cache_pointer(scene->cache, 0, 8));
		gmm_section_exit(reader);
	}
	gmm_reader_unregister(reader);
}

/* Changes page 1, and does not end before the other has refreshed. */
static void changes_until_read(void *arg)
{
	struct scene *scene = arg;
	struct gmm_range range = { 1, 2 };

	machine_must(gmm_invalidate_begin(scene->machine.guest, GMM_RANGE_GFN, &range, 1, 0, NULL));
	while (!gmm_load_acquire(&scene->numbers[0]))
		gmm_cpu_relax(0);
	gmm_invalidate_end(scene->machine.guest, GMM_RANGE_GFN, &range, 1);
}

static void moves_and_reads(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_move(&scene->machine, 0);
	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_store_release(&scene->numbers[0], (uint64_t)1);
	gmm_reader_unregister(reader);
}

static void moves_last_by_hva(void *arg)
{
	struct scene *scene = arg;

	machine_move_by_hva(&scene->machine, MACHINE_PAGES - 1);
}

static void reads_last(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) ==
		      machine_word(MACHINE_PAGES - 1));
	gmm_reader_unregister(reader);
}

static void activate_last_page(struct scene *scene)
{
	machine_must(
		gmm_cache_activate(scene->cache, (MACHINE_PAGES - 1) * SCENE_PAGE, 8, SCENE_WRITE));
}

/* Its mapping and its frames have to be found again, and one of the two fails. */
static void activate_then_resolve_fails(struct scene *scene)
{
	activate_two_pages(scene);
	machine_move_pages(&scene->machine, 0, 2);
	scene->machine.fail_resolve = 1;
}

static void activate_then_map_fails(struct scene *scene)
{
	activate_two_pages(scene);
	machine_move_pages(&scene->machine, 0, 2);
	scene->machine.fail_map = 1;
}

static void shows_page_1(struct scene *scene)
{
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(1));
	gmm_reader_unregister(reader);
}

static void shows_second_word(struct scene *scene)
{
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) ==
		      machine_word(0) + 0x100);
	gmm_reader_unregister(reader);
}

/* Nothing has changed but where in the page it is: nothing was resolved again. */
static void shows_second_word_at_once(struct scene *scene)
{
	machine_check(scene->machine.resolves == 1);
	shows_second_word(scene);
}

static void shows_both_pages(struct scene *scene)
{
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	machine_check(machine_read(&scene->machine, scene->cache, reader, SCENE_PAGE) ==
		      machine_word(1));
	gmm_reader_unregister(reader);
}

static void writes(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_write(&scene->machine, scene->cache, reader, 0, 77);
	gmm_reader_unregister(reader);
}

static void wrote_77(struct scene *scene)
{
	machine_check(*machine_contents(&scene->machine, 0) == 77);
}

static void moves(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
}

static void moves_page_1(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 1);
}

static void moves_twice(void *arg)
{
	moves(arg);
	moves(arg);
}

static void moves_by_hva(void *arg)
{
	struct scene *scene = arg;

	machine_move_by_hva(&scene->machine, 0);
}

static void retargets(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_cache_activate(scene->cache, SCENE_PAGE, 8, SCENE_WRITE));
}

static void drops(void *arg)
{
	struct scene *scene = arg;
	int answer = gmm_cache_drop(scene->cache);

	machine_check(answer == 0 || answer == -GMM_EINVAL);
}

static void deactivates(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_cache_deactivate(scene->cache));
}

static void reads_both(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, SCENE_PAGE) ==
		      machine_word(1));
	gmm_reader_unregister(reader);
}

/* Whatever becomes of page 0 from here on is none of the cache's business. */
static void retargets_and_looks(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint64_t *pointer;

	machine_must(gmm_cache_activate(scene->cache, SCENE_PAGE, 8, SCENE_WRITE));
	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(scene->cache, 0, 8);
	machine_check(pointer);
	machine_check(machine_load(&scene->machine, pointer) == machine_word(1));
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

static void moves_both(void *arg)
{
	struct scene *scene = arg;

	/* An area of two pages is one range of frames: both move, and in one change. */
	machine_move_pages(&scene->machine, 0, 2);
}

static void refresh_finds_the_move(struct scene *scene)
{
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

SCENARIO(read_move, .prepare = activate_page_0, .threads = { reads, moves })
SCENARIO(read_move_back, .prepare = activate_page_0, .threads = { reads, moves_twice })
SCENARIO(two_readers_move, .prepare = activate_page_0, .threads = { reads, reads, moves })
SCENARIO(two_moves, .prepare = activate_page_0, .threads = { reads, moves, moves_page_1 })
SCENARIO(move_by_hva, .prepare = activate_page_0, .threads = { reads, moves_by_hva })
SCENARIO(hva_cache_move, .prepare = activate_by_hva, .threads = { reads, moves })
SCENARIO(write_move, .prepare = activate_page_0, .threads = { writes, moves }, .check = wrote_77)
SCENARIO(look_retarget, .prepare = activate_page_0, .threads = { looks, retargets },
	 .check = shows_page_1)
SCENARIO(refresh_retarget_move, .prepare = activate_page_0,
	 .threads = { refreshes, retargets, moves }, .check = shows_page_1)
SCENARIO(look_retarget_within, .prepare = activate_page_0,
	 .threads = { looks_at_either_word, retargets_within }, .check = shows_second_word_at_once)
SCENARIO(look_retarget_back, .prepare = activate_second_word,
	 .threads = { looks_at_either_word, retargets_back }, .check = refresh_finds_the_move)
SCENARIO(retarget_within_move, .prepare = activate_page_0, .threads = { retargets_within, moves },
	 .check = shows_second_word)
SCENARIO(look_deactivate_move, .prepare = activate_page_0, .threads = { looks, deactivates, moves })
SCENARIO(deactivate_refresh, .prepare = activate_page_0, .threads = { deactivates, refreshes })
SCENARIO(resolve_fails, .prepare = activate_then_resolve_fails,
	 .threads = { refreshes_until_good, moves_both }, .check = shows_both_pages)
SCENARIO(map_fails, .prepare = activate_then_map_fails,
	 .threads = { refreshes_until_good, moves_both }, .check = shows_both_pages)
SCENARIO(unrelated_move, .prepare = activate_page_0, .threads = { stays_valid, moves_page_1 })
SCENARIO(unrelated_change, .prepare = activate_page_0,
	 .threads = { moves_and_reads, changes_until_read })
SCENARIO(last_page_by_hva, .prepare = activate_last_page,
	 .threads = { reads_last, moves_last_by_hva })
SCENARIO(retarget_old_move, .prepare = activate_page_0, .threads = { retargets_and_looks, moves },
	 .check = shows_page_1)
SCENARIO(look_retarget_move, .prepare = activate_page_0,
	 .threads = { looks, retargets, moves_page_1 })
SCENARIO(look_drop_refresh, .prepare = activate_page_0, .threads = { looks, drops, refreshes })
SCENARIO(look_deactivate, .prepare = activate_page_0, .threads = { looks, deactivates, refreshes })
SCENARIO(deactivate_move, .prepare = activate_page_0, .threads = { deactivates, moves })
SCENARIO(drop_move, .prepare = activate_page_0, .threads = { drops, moves },
	 .check = refresh_finds_the_move)
SCENARIO(area_move, .prepare = activate_two_pages, .threads = { reads_both, moves_both })
SCENARIO(nested_move, .prepare = activate_page_0, .threads = { looks_nested, moves })

const struct explore_scenario explore_cache_scenarios[] = {
	{ "cache-read-move", "P2 P3 W1 W3",
	  "a pointer is used, and refreshed, while its page moves", read_move, 3, true },
	{ "cache-read-move-back", "P2 P3", "... while it moves away and comes back", read_move_back,
	  2, false },
	{ "cache-two-readers-move", "P4 P7 W3",
	  "two threads refresh one cache while its page moves", two_readers_move, 2, false },
	{ "cache-two-moves", "P31", "an unrelated page moves meanwhile", two_moves, 2, false },
	{ "cache-move-by-hva", "P35 G1", "the change is told by HVA, the cache is by GPA",
	  move_by_hva, 2, false },
	{ "cache-by-hva", "P35 G1", "the change is told by GFN, the cache is by HVA",
	  hva_cache_move, 2, false },
	{ "cache-write-move", "P3 W1 W3", "what a section writes moves with the page", write_move,
	  3, true },
	{ "cache-look-retarget", "P5 P26", "a section looks while the cache gets another target",
	  look_retarget, 3, true },
	{ "cache-refresh-retarget-move", "P4 P5", "refreshed while it gets another target",
	  refresh_retarget_move, 2, false },
	{ "cache-look-retarget-within", "P18 P19 P20", "its target moves within the page",
	  look_retarget_within, 3, true },
	{ "cache-look-retarget-back", "P18", "... and towards its start", look_retarget_back, 3,
	  false },
	{ "cache-retarget-within-move", "P18 P19", "... while the page moves", retarget_within_move,
	  3, false },
	{ "cache-look-deactivate-move", "P11 P12", "it ends under a section while the page moves",
	  look_deactivate_move, 2, false },
	{ "cache-deactivate-refresh", "P7 P10", "it ends while it is refreshed", deactivate_refresh,
	  3, true },
	{ "cache-resolve-fails", "P13 P14 P17", "the first try finds no frame", resolve_fails, 3,
	  false },
	{ "cache-map-fails", "P13 P14 P17", "the first try cannot map", map_fails, 3, false },
	{ "cache-unrelated-move", "P30", "another page moves: nothing is lost", unrelated_move, 3,
	  false },
	{ "cache-unrelated-change", "P31", "a refresh does not wait for a change elsewhere",
	  unrelated_change, 2, false },
	{ "cache-last-page-by-hva", "G1", "the slot's last page moves, told by HVA",
	  last_page_by_hva, 2, false },
	{ "cache-look-retarget-move", "P2 P5", "... and that target moves", look_retarget_move, 2,
	  false },
	{ "cache-retarget-old-moves", "P30",
	  "... while the page moves that it leaves: it stays valid", retarget_old_move, 2, false },
	{ "cache-look-drop-refresh", "P7 P18", "mapping undone and made again beside a section",
	  look_drop_refresh, 2, true },
	{ "cache-look-deactivate", "P10 P11", "... the cache ends", look_deactivate, 2, true },
	{ "cache-deactivate-move", "P10 P11", "the cache ends while its page moves",
	  deactivate_move, 3, true },
	{ "cache-drop-move", "P12 P19", "the frames that are kept without a mapping move",
	  drop_move, 3, false },
	{ "cache-area-move", "P14 W5", "an area of two pages moves", area_move, 2, false },
	{ "cache-nested-section", "W1", "the inner section ends, the outer goes on", nested_move, 3,
	  true },
	{ .name = NULL },
};
