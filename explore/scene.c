/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "scene.h"

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

void scene_play(const struct scene_plan *plan)
{
	static const char *const names[] = { "A", "B", "C" };
	struct gmm_sim_thread *threads[3];
	struct scene scene = { 0 };
	uint32_t i, count = 0;

	machine_init(&scene.machine, plan->traits);
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
	machine_must(gmm_cache_destroy(scene.cache));
	for (i = 0; i < SCENE_OTHERS && scene.others[i]; i++)
		machine_must(gmm_cache_destroy(scene.others[i]));
	for (i = 0; i < 2 && scene.vcpus[i]; i++)
		machine_must(gmm_vcpu_destroy(scene.vcpus[i]));
	machine_fini(&scene.machine);
}
