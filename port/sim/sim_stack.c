/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Stacks with a guard page below, kept from one thread to the next. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim_impl.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_UNPOISON_MEMORY_REGION
#define ASAN_UNPOISON_MEMORY_REGION(pointer, size) ((void)(pointer), (void)(size))
#endif

#define STACK_SIZE (256u << 10)

#define SPARE_MAX 16

static void *spare[SPARE_MAX];
static uint32_t spare_count;

void *sim_stack_take(size_t *size)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	char *mapping;

	*size = STACK_SIZE;
	if (spare_count) {
		void *stack = spare[--spare_count];

		ASAN_UNPOISON_MEMORY_REGION(stack, STACK_SIZE);
		return stack;
	}
	mapping = mmap(NULL, guard + STACK_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mapping == MAP_FAILED || mprotect(mapping, guard, PROT_NONE)) {
		perror("sim: no stack");
		abort();
	}
	return mapping + guard;
}

void sim_stack_give_back(void *stack)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);

	if (spare_count < SPARE_MAX)
		spare[spare_count++] = stack;
	else
		munmap((char *)stack - guard, guard + STACK_SIZE);
}
