/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Words for addresses that threads touch: `cache.state`, `frame 3`, `stack of B`. Allocations are
 * called as the structure that they are of; a scenario names what else there is.
 */
#ifndef GMM_EXPLORE_OBJECTS_H
#define GMM_EXPLORE_OBJECTS_H

#include "sim.h"

/*
 * Memory that is no allocation of its own, or has a better name: `count` of `size` bytes each, the
 * Nth called `name N` where count is not 1. `structure`: the struct that each is, or NULL. Texts are
 * kept by pointer. Before the checkpoint.
 */
void explore_object_name(const void *at, size_t size, uint32_t count, const char *name,
			 const char *structure);
/* No object is known any more. */
void explore_objects_forget(void);

enum explore_object_kind {
	OBJECT_UNKNOWN,
	OBJECT_NAMED,
	OBJECT_BLOCK,
	OBJECT_THREAD,
	OBJECT_STACK,
};

struct explore_object {
	enum explore_object_kind kind;
	uint32_t number; /* of the name, or of the thread */
	uint32_t index;	 /* which one of that name */
	const void *block;
	const struct gmm_sim_site *allocated_at;
	bool freed;
	uint64_t offset; /* in it */
};

/* In the run under way. */
void explore_object_find(const volatile void *address, struct explore_object *object);
/* At any time, until the next explore_objects_forget(). Empty when nothing is known. */
void explore_object_text(const struct explore_object *object, uint32_t size, char *text,
			 size_t text_size);

#endif
