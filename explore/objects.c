/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "objects.h"

#include <string.h>

#include "symbols.h"

#define NAMES 16u
#define SITES 128u
#define BLOCKS 512u

struct name {
	const char *at;
	size_t size;
	uint32_t count;
	const char *name;
	const char *structure;
	bool looked_up;
	struct symbols_type type; /* die NULL: none */
};

/* What is allocated at a place in the source. */
struct site {
	const struct gmm_sim_site *site;
	struct symbols_type type;
};

static struct name names[NAMES];
static uint32_t name_count;
static struct site sites[SITES];
static uint32_t site_count;
/* Allocations that were looked up: several of one name are told apart. */
static struct explore_object blocks[BLOCKS];
static uint32_t block_count;

void explore_objects_forget(void)
{
	name_count = 0;
	block_count = 0;
}

void explore_object_name(const void *at, size_t size, uint32_t count, const char *name,
			 const char *structure)
{
	if (name_count < NAMES)
		names[name_count++] = (struct name){
			.at = at, .size = size, .count = count, .name = name, .structure = structure
		};
}

static bool find_named(const volatile void *address, struct explore_object *object)
{
	uint32_t i;

	for (i = 0; i < name_count; i++) {
		uintptr_t offset = (uintptr_t)address - (uintptr_t)names[i].at;

		if (offset >= names[i].size * names[i].count)
			continue;
		*object = (struct explore_object){ .kind = OBJECT_NAMED,
						   .number = i,
						   .index = (uint32_t)(offset / names[i].size),
						   .offset = offset % names[i].size };
		return true;
	}
	return false;
}

static bool find_thread(const volatile void *address, struct explore_object *object)
{
	struct gmm_sim_thread_info info;
	uint32_t i;

	for (i = 0; gmm_sim_thread_find(i, &info); i++) {
		if (info.object != address)
			continue;
		*object = (struct explore_object){ .kind = OBJECT_THREAD, .number = i };
		return true;
	}
	return false;
}

static void remember_block(const struct explore_object *object)
{
	uint32_t i;

	for (i = 0; i < block_count; i++)
		if (blocks[i].block == object->block)
			return;
	if (block_count < BLOCKS)
		blocks[block_count++] = *object;
}

void explore_object_find(const volatile void *address, struct explore_object *object)
{
	struct gmm_sim_block_info info;
	uint32_t thread;

	*object = (struct explore_object){ .kind = OBJECT_UNKNOWN };
	if (find_thread(address, object) || find_named(address, object))
		return;
	if (gmm_sim_block_find(address, &info)) {
		*object = (struct explore_object){
			.kind = OBJECT_BLOCK,
			.block = info.at,
			.allocated_at = info.allocated_at,
			.freed = info.freed,
			.offset = (uintptr_t)address - (uintptr_t)info.at,
		};
		remember_block(object);
	} else if (gmm_sim_stack_find(address, &thread)) {
		*object = (struct explore_object){ .kind = OBJECT_STACK, .number = thread };
	}
}

static const struct symbols_type *type_at(const struct gmm_sim_site *site)
{
	uint32_t i;

	for (i = 0; i < site_count; i++)
		if (sites[i].site == site)
			return &sites[i].type;
	if (site_count == SITES)
		site_count = 0;
	sites[site_count] = (struct site){ .site = site };
	if (!symbols_sizeof(site->file, site->line, site->name, &sites[site_count].type))
		sites[site_count].type = (struct symbols_type){ 0 };
	return &sites[site_count++].type;
}

/* Of allocations from places that make the same type; 0: there is one only. */
static uint32_t ordinal(const struct explore_object *object, const char *name)
{
	uint32_t number = 1, others = 0, i;

	for (i = 0; i < block_count; i++) {
		const struct symbols_type *type;

		if (blocks[i].block == object->block)
			continue;
		type = type_at(blocks[i].allocated_at);
		if (name ? !type->name || strcmp(type->name, name) != 0 :
			   blocks[i].allocated_at != object->allocated_at)
			continue;
		others++;
		number += blocks[i].block < object->block;
	}
	return others ? number : 0;
}

static void block_text(const struct explore_object *object, uint32_t size, char *text,
		       size_t text_size)
{
	const struct gmm_sim_site *site = object->allocated_at;
	const struct symbols_type *type = type_at(site);
	uint32_t number = ordinal(object, type->name);
	char which[16] = "", element[24] = "", member[96] = "";
	uint64_t offset = object->offset;

	if (number)
		snprintf(which, sizeof(which), " %u", number);
	if (!type->name) {
		/* An array of plain words, or a name that the debug information does not have. */
		snprintf(text, text_size, "%s:%d%s+%llu", symbols_file_name(site->file), site->line,
			 which, (unsigned long long)offset);
		return;
	}
	/* Several of them. */
	if (!type->structure || strstr(site->name, "* sizeof"))
		snprintf(element, sizeof(element), "[%llu]",
			 (unsigned long long)(offset / type->size));
	if (element[0])
		offset %= type->size;
	symbols_member(type, offset, size, member, sizeof(member));
	snprintf(text, text_size, "%s%s%s%s%s", object->freed ? "freed " : "",
		 strncmp(type->name, "gmm_", 4) ? type->name : type->name + 4, which, element,
		 member);
}

static void named_text(const struct explore_object *object, uint32_t size, char *text,
		       size_t text_size)
{
	struct name *name = &names[object->number];
	char which[16] = "", member[96] = "";

	if (name->structure && !name->looked_up) {
		name->looked_up = true;
		if (!symbols_struct(name->structure, &name->type))
			name->type.die = NULL;
	}
	if (name->count > 1)
		snprintf(which, sizeof(which), " %u", object->index);
	if (name->type.die)
		symbols_member(&name->type, object->offset, size, member, sizeof(member));
	else if (object->offset)
		snprintf(member, sizeof(member), "+%llu", (unsigned long long)object->offset);
	snprintf(text, text_size, "%s%s%s", name->name, which, member);
}

void explore_object_text(const struct explore_object *object, uint32_t size, char *text,
			 size_t text_size)
{
	text[0] = 0;
	if (object->kind == OBJECT_NAMED)
		named_text(object, size, text, text_size);
	else if (object->kind == OBJECT_BLOCK)
		block_text(object, size, text, text_size);
	else if (object->kind == OBJECT_THREAD)
		snprintf(text, text_size, "thread %u", object->number);
	else if (object->kind == OBJECT_STACK)
		snprintf(text, text_size, "stack of T%u", object->number);
}
