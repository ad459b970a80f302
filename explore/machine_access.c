/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Accesses to guest memory: of vCPUs through the second stage, of devices through caches and leases. */
#include "machine.h"

#include <gmm_port/alloc.h>
#include <gmm_port/thread.h>

/*
 * One step of a vCPU: its translation is looked up and used at once, since who takes it away waits
 * until it is out of the vCPU's TLB.
 */
static bool direct_step(struct machine *machine, uint32_t page, uint32_t access, uint64_t *word)
{
	const uint64_t *now = &machine->pages[page].reach;
	uint64_t reach;

	/* The step says which words it touches: again, when the page has moved until its turn. */
	do {
		reach = *now;
		gmm_sim_touch_two(now, sizeof(*now), false,
				  machine_frame(machine, reach >> MACHINE_REACH_FRAME),
				  access & GMM_ACCESS_WRITE, GMM_SIM_SITE("guest's access"));
	} while (reach >> MACHINE_REACH_FRAME != *now >> MACHINE_REACH_FRAME);
	reach = *now;
	if ((reach & access) != access)
		return false;
	if (access & GMM_ACCESS_WRITE)
		*machine_frame(machine, reach >> MACHINE_REACH_FRAME) = *word;
	else
		*word = *machine_frame(machine, reach >> MACHINE_REACH_FRAME);
	return true;
}

/* The processor looks into its TLB, and fills it where the second stage lets it. */
static uint64_t tlb_look(struct machine *machine, uint64_t *entry, uint32_t page, uint32_t access)
{
	const uint64_t *reach = &machine->pages[page].reach;
	uint64_t found = gmm_load_relaxed(entry);

	if ((found & access) == access)
		return found;
	gmm_sim_touch_two(reach, sizeof(*reach), false, entry, true,
			  GMM_SIM_SITE("guest's translation"));
	*entry = *reach & MACHINE_REACH_ACCESS ? *reach : 0;
	return *entry;
}

/* An access with what the TLB has: whoever flushes it waits until the access is done. */
static bool tlb_step(struct machine *machine, uint32_t page, uint32_t access, uint64_t *word)
{
	uint64_t *entry = &machine->tlb[gmm_thread_self() - 1][page];
	uint64_t found;
	uint64_t *frame;

	do {
		found = tlb_look(machine, entry, page, access);
		if ((found & access) != access)
			return false;
		frame = machine_frame(machine, found >> MACHINE_REACH_FRAME);
		gmm_sim_touch_two(entry, sizeof(*entry), false, frame, access & GMM_ACCESS_WRITE,
				  GMM_SIM_SITE("guest's access"));
	} while (*entry != found);
	if (access & GMM_ACCESS_WRITE)
		*frame = *word;
	else
		*word = *frame;
	return true;
}

static bool guest_step(struct machine *machine, uint32_t page, uint32_t access, uint64_t *word)
{
	return machine->traits & MACHINE_TLB ? tlb_step(machine, page, access, word) :
					       direct_step(machine, page, access, word);
}

/* One access, or a fault of it. */
static bool guest_access(struct machine *machine, uint32_t page, uint32_t access, uint64_t *word)
{
	uint64_t wakes;
	int answer;

	if (guest_step(machine, page, access, word))
		return true;
	gmm_spin_lock(&machine->lock);
	wakes = machine->wakes;
	gmm_spin_unlock(&machine->lock);
	/* Who is woken from here on need not wait. */
	if (guest_step(machine, page, access, word))
		return true;
	answer = gmm_fault_serve(machine->guest, page, access);
	machine_check(answer == 0 || answer == GMM_FAULT_HELD ||
		      (answer == -GMM_ENOMEM && gmm_port_alloc_failed()));
	if (answer == GMM_FAULT_HELD) {
		gmm_spin_lock(&machine->lock);
		while (machine->wakes == wakes)
			gmm_waitqueue_wait(&machine->woken, &machine->lock);
		gmm_spin_unlock(&machine->lock);
	}
	return false;
}

uint64_t machine_guest_read(struct machine *machine, uint32_t page)
{
	uint64_t word;

	while (!guest_access(machine, page, GMM_ACCESS_READ, &word))
		;
	return word;
}

void machine_guest_write(struct machine *machine, uint32_t page, uint64_t word)
{
	while (!guest_access(machine, page, GMM_ACCESS_READ | GMM_ACCESS_WRITE, &word))
		;
}

static uint64_t *enter(struct gmm_cache *cache, struct gmm_reader *reader, uint64_t offset)
{
	uint64_t *pointer;

	gmm_section_enter(reader);
	while (!(pointer = gmm_cache_pointer(cache, offset, sizeof(*pointer)))) {
		gmm_section_exit(reader);
		machine_must(gmm_cache_refresh(cache));
		gmm_section_enter(reader);
	}
	return pointer;
}

static void check_mapped(struct machine *machine, const uint64_t *pointer)
{
	size_t offset = (size_t)((const uint8_t *)pointer - machine->frames);

	machine_check(offset < MACHINE_FRAMES * MACHINE_PAGE_BYTES &&
		      machine->mappings[offset / MACHINE_PAGE_BYTES] > 0);
}

/*
 * An access through a mapping of memory that somebody takes away: it stands in a fault until the
 * page is there, which this thread serves for whoever serves faults, also when it is in a section.
 * The access itself is in the same step.
 */
static void touch_until_there(struct machine *machine, const uint64_t *pointer, bool writes)
{
	size_t frame = (size_t)((const uint8_t *)pointer - machine->frames) / MACHINE_PAGE_BYTES;
	uint32_t page = frame % MACHINE_PAGES;
	const uint64_t *resident = &machine->pages[page].resident;
	int answer;

	for (;;) {
		gmm_sim_touch_two(resident, sizeof(*resident), false, pointer, writes,
				  GMM_SIM_SITE("access through a mapping"));
		if (*resident)
			return;
		answer = gmm_repair_touched(machine->guest,
					    MACHINE_HVA + page * (uint64_t)MACHINE_PAGE_BYTES);
		machine_check(answer == 0 || answer == GMM_FAULT_HELD ||
			      (answer == -GMM_ENOMEM && gmm_port_alloc_failed()));
		if (answer == GMM_FAULT_HELD)
			gmm_cpu_relax(0);
	}
}

uint64_t machine_load(struct machine *machine, const uint64_t *pointer)
{
	uint64_t word;

	if (machine->traits & MACHINE_LOSES) {
		touch_until_there(machine, pointer, false);
		word = *pointer;
	} else {
		word = gmm_load_relaxed(pointer);
	}
	check_mapped(machine, pointer);
	return word;
}

void machine_store(struct machine *machine, uint64_t *pointer, uint64_t word)
{
	check_mapped(machine, pointer);
	if (machine->traits & MACHINE_LOSES) {
		touch_until_there(machine, pointer, true);
		*pointer = word;
	} else {
		gmm_store_relaxed(pointer, word);
	}
}

uint64_t machine_read(struct machine *machine, struct gmm_cache *cache, struct gmm_reader *reader,
		      uint64_t offset)
{
	uint64_t *pointer = enter(cache, reader, offset);
	uint64_t word = machine_load(machine, pointer);

	gmm_section_exit(reader);
	return word;
}

void machine_write(struct machine *machine, struct gmm_cache *cache, struct gmm_reader *reader,
		   uint64_t offset, uint64_t word)
{
	uint64_t *pointer = enter(cache, reader, offset);

	machine_store(machine, pointer, word);
	gmm_cache_mark_dirty(cache, offset, sizeof(word));
	gmm_section_exit(reader);
}
