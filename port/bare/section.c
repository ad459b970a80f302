/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <gmm_port/debug.h>
#include <gmm_port/section.h>
#include <gmm_port/step.h>
#include <gmm_port/time.h>

#include <guestmm/error.h>

#include "machine.h"

/* What a CPU was asked to do, and has done: counts of calls. */
static struct bare_cpu {
	uint64_t asked;	 /* atomic */
	uint64_t made;	 /* written by the CPU itself */
	uint32_t online; /* atomic */
} __attribute__((aligned(64))) cpus[BARE_CPUS_MAX];

static uint32_t call_lock; /* who has it is interrupted as ever, so others get through */
static void (*call_fn)(void);

static uint32_t barrier_refused;

uint32_t gmm_cpu_count(void)
{
	return BARE_CPUS_MAX;
}

uint32_t gmm_cpu_index(void)
{
	return bare_machine_cpu();
}

uint64_t gmm_time_ns(void)
{
	return bare_machine_time_ns();
}

void bare_cpu_online(void)
{
	(void)gmm_exchange(&cpus[gmm_cpu_index()].online, 1u);
}

void bare_interrupted(void)
{
	struct bare_cpu *cpu = &cpus[gmm_cpu_index()];
	uint64_t asked = gmm_load_acquire(&cpu->asked);
	void (*fn)(void);

	if (asked == gmm_load_relaxed(&cpu->made))
		return;
	gmm_fence();
	fn = gmm_load_relaxed(&call_fn);
	if (fn)
		fn();
	gmm_store_release(&cpu->made, asked);
}

void bare_call_others(void (*fn)(void))
{
	uint32_t self = gmm_cpu_index(), cpu, turn = 0;

	while (__atomic_exchange_n(&call_lock, 1u, __ATOMIC_ACQUIRE))
		gmm_cpu_relax(turn++);
	gmm_store_relaxed(&call_fn, fn);
	gmm_fence();
	for (cpu = 0; cpu < BARE_CPUS_MAX; cpu++)
		if (cpu != self && gmm_load_acquire(&cpus[cpu].online)) {
			gmm_fetch_add(&cpus[cpu].asked, (uint64_t)1);
			bare_machine_interrupt(cpu);
		}
	for (cpu = 0; cpu < BARE_CPUS_MAX; cpu++)
		while (cpu != self &&
		       gmm_load_acquire(&cpus[cpu].made) != gmm_load_relaxed(&cpus[cpu].asked))
			gmm_cpu_relax(turn++);
	gmm_fence();
	gmm_store_release(&call_lock, 0u);
}

int gmm_section_barrier_init(void)
{
	return gmm_load_relaxed(&barrier_refused) ? -GMM_ENOSYS : 0;
}

void gmm_port_section_barrier_refuse(bool refuse)
{
	gmm_store_relaxed(&barrier_refused, (uint32_t)refuse);
}

void gmm_section_heavy_barrier(void)
{
	if (GMM_DEBUG)
		gmm_port_debug_no_spinlock();
	bare_call_others(NULL);
}
