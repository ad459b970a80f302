/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "scene.h"

#include "objects.h"

void (*scene_outcome)(uint64_t outcome);

struct gmm_reader *scene_reader(struct scene *scene)
{
	struct gmm_reader *reader;

	machine_must(gmm_reader_register(scene->machine.guest, &reader));
	return reader;
}

/* The vCPU leaves at its next look: scenarios that enter look at it. */
static void kick(void *opaque, uint32_t id)
{
	struct scene *scene = opaque;

	gmm_store_release(&scene->vcpu_kicked[id], 1u);
}

static uint64_t hash(uint64_t value, const void *bytes, size_t size)
{
	const uint8_t *byte = bytes;

	while (size--)
		value = (value ^ *byte++) * UINT64_C(0x100000001b3);
	return value;
}

static void tell_outcome(struct scene *scene)
{
	struct machine *machine = &scene->machine;
	struct gmm_guest_counters counters;
	uint64_t value = hash(UINT64_C(0xcbf29ce484222325), machine->pages, sizeof(machine->pages));
	uint32_t i;

	for (i = 0; i < MACHINE_FRAMES; i++)
		value = hash(value, machine_frame(machine, i), 2 * sizeof(uint64_t));
	for (i = 0; i < MACHINE_PAGES; i++) {
		struct gmm_page_info info = { 0 };

		if (!gmm_page_query(machine->guest, i, &info))
			value = hash(value, &info, sizeof(info));
	}
	gmm_guest_read_counters(machine->guest, &counters);
	scene_outcome(hash(value, &counters, sizeof(counters)));
}

/* Who is valid shows the frame in which its page is, through a mapping. */
static void check_valid(struct scene *scene, const struct gmm_cache *cache)
{
	const uint8_t *pointer = gmm_cache_pointer(cache, 0, 1);
	uint32_t frame;

	if (!pointer)
		return;
	frame = (uint32_t)((size_t)(pointer - scene->machine.frames) / MACHINE_PAGE_BYTES);
	machine_check(frame < MACHINE_FRAMES && scene->machine.mappings[frame] > 0);
	machine_check(scene->machine.pages[frame % MACHINE_PAGES].frame == frame);
}

/*
 * What must hold of caches when nothing is under way: who is valid is right (P1-P6), and is found by
 * a change of everything (P7, P10, P11).
 */
static void check_caches(struct scene *scene)
{
	struct gmm_guest *guest = scene->machine.guest;
	struct gmm_range frames = { 0, 512 };
	struct gmm_range addresses = { MACHINE_HVA,
				       MACHINE_HVA + MACHINE_PAGES * MACHINE_PAGE_BYTES };
	uint32_t i;

	check_valid(scene, scene->cache);
	for (i = 0; i < SCENE_OTHERS && scene->others[i]; i++)
		check_valid(scene, scene->others[i]);
	machine_must(gmm_invalidate_begin(guest, GMM_RANGE_GFN, &frames, 1, 0, NULL));
	gmm_invalidate_end(guest, GMM_RANGE_GFN, &frames, 1);
	machine_must(gmm_invalidate_begin(guest, GMM_RANGE_HVA, &addresses, 1, 0, NULL));
	gmm_invalidate_end(guest, GMM_RANGE_HVA, &addresses, 1);
	machine_check(!gmm_cache_pointer(scene->cache, 0, 1));
	for (i = 0; i < SCENE_OTHERS && scene->others[i]; i++)
		machine_check(!gmm_cache_pointer(scene->others[i], 0, 1));
}

void scene_play(const struct scene_plan *plan)
{
	static const char *const names[] = { "A", "B", "C" };
	struct gmm_sim_thread *threads[3];
	struct scene scene = { 0 };
	uint32_t i, count = 0;

	machine_init(&scene.machine, plan->traits);
	explore_object_name(&scene, sizeof(scene), 1, "scene", "scene");
	machine_must(gmm_cache_create(scene.machine.guest, &scene.cache));
	for (i = 0; i < 2 && (plan->traits & MACHINE_VCPUS); i++)
		machine_must(
			gmm_vcpu_create(scene.machine.guest, i, kick, &scene, &scene.vcpus[i]));
	if (plan->prepare)
		plan->prepare(&scene);
	for (; count < 3 && plan->threads[count]; count++)
		threads[count] = gmm_sim_thread_start(plan->threads[count], &scene, names[count]);
	machine_go(threads, count);
	if (plan->check)
		plan->check(&scene);
	if (scene_outcome)
		tell_outcome(&scene);
	/* Before the change of everything, which puts right what vCPUs still reach by mistake. */
	if (!(plan->traits & MACHINE_NO_SLOT))
		machine_check_quiet(&scene.machine);
	check_caches(&scene);
	machine_must(gmm_cache_destroy(scene.cache));
	for (i = 0; i < SCENE_OTHERS && scene.others[i]; i++)
		machine_must(gmm_cache_destroy(scene.others[i]));
	for (i = 0; i < 2 && scene.vcpus[i]; i++)
		machine_must(gmm_vcpu_destroy(scene.vcpus[i]));
	machine_fini(&scene.machine);
}
