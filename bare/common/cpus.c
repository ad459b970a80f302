/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "cpus.h"

#include <gmm_port/atomic.h>
#include <gmm_port/time.h>

#define START_NS 5000000000ull

extern uint8_t bare_image_end[];

enum {
	CPU_OFF,
	CPU_IDLE,
	CPU_CLAIMED,
	CPU_BUSY,
	CPU_DONE,
};

static struct work {
	uint32_t state; /* atomic, CPU_* */
	void (*fn)(void *arg);
	void *arg;
} works[BARE_CPUS_MAX];

void bare_start_other(void)
{
	struct work *work = &works[bare_machine_cpu()];

	bare_machine_init();
	bare_cpu_online();
	gmm_store_release(&work->state, (uint32_t)CPU_IDLE);
	for (;;) {
		while (gmm_load_acquire(&work->state) != CPU_BUSY) {
			bare_machine_interrupts(false);
			if (gmm_load_acquire(&work->state) != CPU_BUSY)
				bare_machine_idle();
			bare_machine_interrupts(true);
		}
		work->fn(work->arg);
		gmm_store_release(&work->state, (uint32_t)CPU_DONE);
	}
}

uint32_t bare_cpu_count(void)
{
	uint32_t cpu, count = 1;

	for (cpu = 1; cpu < BARE_CPUS_MAX; cpu++)
		count += gmm_load_acquire(&works[cpu].state) != CPU_OFF;
	return count;
}

uint32_t bare_cpu_run(void (*fn)(void *arg), void *arg)
{
	uint32_t cpu;

	for (cpu = 1; cpu < BARE_CPUS_MAX; cpu++) {
		uint32_t idle = CPU_IDLE;

		if (!gmm_compare_exchange(&works[cpu].state, &idle, (uint32_t)CPU_CLAIMED))
			continue;
		works[cpu].fn = fn;
		works[cpu].arg = arg;
		gmm_store_release(&works[cpu].state, (uint32_t)CPU_BUSY);
		bare_machine_interrupt(cpu);
		return cpu;
	}
	return 0;
}

void bare_cpu_join(uint32_t cpu)
{
	uint32_t turn = 0;

	while (gmm_load_acquire(&works[cpu].state) != CPU_DONE)
		gmm_cpu_relax(turn++);
	gmm_store_release(&works[cpu].state, (uint32_t)CPU_IDLE);
}

void bare_start(void)
{
	uint64_t until;

	bare_memory_init(((uintptr_t)bare_image_end + 0xffff) & ~(uintptr_t)0xffff,
			 bare_machine_memory_end);
	bare_machine_init();
	bare_cpu_online();
	bare_machine_start_others();
	/* A CPU that does not come is missed by the tests that need it. */
	until = gmm_time_ns() + START_NS;
	while (bare_cpu_count() < BARE_CPUS && gmm_time_ns() < until)
		gmm_cpu_relax(0);
	bare_main();
	bare_machine_off();
}
