/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The guest: does what its box says, then calls the hypervisor, for ever. Linked by itself. */
#include "guest_box.h"
#include "guest_call.h"

#include <gmm_port/atomic.h>

void guest_start(struct guest_box *box);

static uint64_t next_random(struct guest_box *box)
{
	uint64_t random = box->random;

	random ^= random << 13;
	random ^= random >> 7;
	random ^= random << 17;
	box->random = random;
	return random;
}

static void note(uint64_t *words, uint64_t page)
{
	words[page / 64] |= 1ull << (page % 64);
}

static void wander_once(struct guest_box *box)
{
	uint64_t random = next_random(box);
	uint64_t page = (random >> 8) % box->pages;
	uint64_t address = box->address + page * box->stride;
	uint64_t *word = (uint64_t *)(uintptr_t)address;
	uint64_t wanted = box->last[page] ? box->last[page] : address;

	if (random & 1) {
		/* Noted first: the hypervisor may look between the two. */
		note(box->was_written, page);
		box->last[page] = random | 1;
		gmm_store_relaxed(word, random | 1);
		return;
	}
	note(box->was_read, page);
	if (gmm_load_relaxed(word) == wanted)
		return;
	if (!box->errors++)
		box->first_wrong = address;
}

static void wander(struct guest_box *box)
{
	uint64_t done;

	for (done = 0; !box->count || done < box->count; done++) {
		if (!box->count && gmm_load_acquire(&box->stop))
			break;
		wander_once(box);
		gmm_store_relaxed(&box->turns, box->turns + 1);
	}
}

static void watch(struct guest_box *box)
{
	while (!gmm_load_acquire(&box->stop)) {
		gmm_store_relaxed(&box->result,
				  gmm_load_relaxed((uint64_t *)(uintptr_t)box->address));
		gmm_store_release(&box->turns, box->turns + 1);
	}
}

#ifdef GUEST_LINKS
static void link(struct guest_box *box)
{
	uint64_t *word = (uint64_t *)(uintptr_t)box->address;

	guest_load_linked(word);
	gmm_store_release(&box->turns, (uint64_t)1);
	while (!gmm_load_acquire(&box->stop))
		;
	box->result = guest_store_conditional(word, box->value);
}
#endif

static void obey(struct guest_box *box)
{
	uint64_t *word = (uint64_t *)(uintptr_t)box->address;
	uint64_t (*function)(void) = (uint64_t(*)(void))(uintptr_t)box->address;

	switch (gmm_load_relaxed(&box->operation)) {
	case GUEST_READ:
		box->result = gmm_load_relaxed(word);
		break;
	case GUEST_WRITE:
		gmm_store_relaxed(word, box->value);
		break;
	case GUEST_CALL:
		guest_code_changed();
		box->result = function();
		break;
	case GUEST_WATCH:
		watch(box);
		break;
#ifdef GUEST_LINKS
	case GUEST_LINK:
		link(box);
		break;
#endif
	default:
		wander(box);
	}
}

void __attribute__((section(".text.start"))) guest_start(struct guest_box *box)
{
	for (;;) {
		guest_call();
		obey(box);
	}
}
