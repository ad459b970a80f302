/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Caches: what a pointer shows while what is under it changes. */
#include "machine.h"
#include "scenario.h"

struct scene {
	struct machine machine;
	struct gmm_cache *cache;
};

static void scene_begin(struct scene *scene, uint32_t traits)
{
	machine_init(&scene->machine, traits);
	machine_must(gmm_cache_create(scene->machine.guest, &scene->cache));
}

static void scene_end(struct scene *scene)
{
	machine_must(gmm_cache_destroy(scene->cache));
	machine_fini(&scene->machine);
}

static void reads_page_0(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader;

	machine_must(gmm_reader_register(scene->machine.guest, &reader));
	machine_check(machine_read(scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

static void moves_page_0(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
}

static void read_against_move(void *arg)
{
	struct scene scene;
	struct gmm_sim_thread *threads[2];

	scene_begin(&scene, 0);
	machine_must(gmm_cache_activate(scene.cache, 0, 8, GMM_CACHE_HOST));
	threads[0] = gmm_sim_thread_start(reads_page_0, &scene, "reader");
	threads[1] = gmm_sim_thread_start(moves_page_0, &scene, "mover");
	machine_go(threads, 2);
	scene_end(&scene);
}

static void two_readers_against_move(void *arg)
{
	struct scene scene;
	struct gmm_sim_thread *threads[3];

	scene_begin(&scene, 0);
	machine_must(gmm_cache_activate(scene.cache, 0, 8, GMM_CACHE_HOST));
	threads[0] = gmm_sim_thread_start(reads_page_0, &scene, "reader");
	threads[1] = gmm_sim_thread_start(reads_page_0, &scene, "reader");
	threads[2] = gmm_sim_thread_start(moves_page_0, &scene, "mover");
	machine_go(threads, 3);
	scene_end(&scene);
}

const struct explore_scenario explore_cache_scenarios[] = {
	{ .name = "cache-read-move",
	  .rules = "P2 P3 W1 W3",
	  .what = "a pointer is used, and refreshed, while its page moves",
	  .run = read_against_move,
	  .preemptions = 3,
	  .store_buffers = true },
	{ .name = "cache-two-readers-move",
	  .rules = "P4 W1 W3",
	  .what = "two threads refresh one cache while its page moves",
	  .run = two_readers_against_move,
	  .preemptions = 2,
	  .store_buffers = true },
	{ .name = NULL },
};
