/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory: whole pages by first fit in a bitmap, smaller sizes from pages cut into pieces of one
 * power of two. Who frees says the size, so nothing is kept beside the memory.
 */
#include <gmm_port/alloc.h>
#include <gmm_port/atomic.h>

#include "machine.h"

#define PAGE_SHIFT 12u
#define PAGE_BYTES ((size_t)1 << PAGE_SHIFT)
#define PIECE_SHIFT 4u
#define PIECES (PAGE_SHIFT - PIECE_SHIFT) /* sizes from 16 bytes to half a page */

struct piece {
	struct piece *next;
};

static uint32_t lock; /* taken below every lock of the contract, so it has no rank */
/* under lock */
static uint8_t *first;
static uint64_t *used; /* a bit a page */
static size_t pages;
static size_t search_from; /* every page below it is used */
static struct piece *pieces[PIECES];
static uint64_t live;
static uint64_t fail_countdown;
static bool failed;

static void take_lock(void)
{
	uint32_t turn = 0;

	while (__atomic_exchange_n(&lock, 1u, __ATOMIC_ACQUIRE))
		gmm_cpu_relax(turn++);
}

static void drop_lock(void)
{
	gmm_store_release(&lock, 0u);
}

void bare_memory_init(uintptr_t start, uintptr_t end)
{
	size_t bitmap;

	pages = (end - start) >> PAGE_SHIFT;
	bitmap = (pages + 63) / 64 * sizeof(uint64_t);
	bitmap = (bitmap + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	used = (uint64_t *)start;
	gmm_memset(used, 0, bitmap);
	first = (uint8_t *)start + bitmap;
	pages -= bitmap >> PAGE_SHIFT;
}

static bool is_used(size_t page)
{
	return used[page / 64] >> (page % 64) & 1;
}

static void set_used(size_t page, size_t count, bool value)
{
	for (; count--; page++)
		if (value)
			used[page / 64] |= 1ull << (page % 64);
		else
			used[page / 64] &= ~(1ull << (page % 64));
}

/* The first page from `page` on whose address is a multiple of `alignment`. */
static size_t align_page(size_t page, size_t alignment)
{
	uintptr_t address = (uintptr_t)first + (page << PAGE_SHIFT);

	address = (address + alignment - 1) & ~(uintptr_t)(alignment - 1);
	return (address - (uintptr_t)first) >> PAGE_SHIFT;
}

static void *take_pages(size_t count, size_t alignment)
{
	size_t start, run;

	while (search_from < pages && is_used(search_from))
		search_from++;
	start = align_page(search_from, alignment);
	while (start + count <= pages) {
		for (run = 0; run < count && !is_used(start + run); run++)
			;
		if (run == count) {
			set_used(start, count, true);
			return first + (start << PAGE_SHIFT);
		}
		start = align_page(start + run + 1, alignment);
	}
	return NULL;
}

static void give_pages(void *memory, size_t count)
{
	size_t page = (size_t)((uint8_t *)memory - first) >> PAGE_SHIFT;

	gmm_assert(page + count <= pages && is_used(page));
	set_used(page, count, false);
	if (page < search_from)
		search_from = page;
}

static size_t page_count(size_t size)
{
	return (size + PAGE_BYTES - 1) >> PAGE_SHIFT;
}

void *bare_pages_alloc(size_t size, size_t alignment)
{
	void *memory;

	take_lock();
	memory = take_pages(page_count(size), alignment < PAGE_BYTES ? PAGE_BYTES : alignment);
	drop_lock();
	if (memory)
		gmm_memset(memory, 0, size);
	return memory;
}

void bare_pages_free(void *memory, size_t size)
{
	take_lock();
	give_pages(memory, page_count(size));
	drop_lock();
}

static uint32_t piece_index(size_t size)
{
	uint32_t index = 0;

	while (((size_t)1 << (index + PIECE_SHIFT)) < size)
		index++;
	return index;
}

static void *take_piece(uint32_t index)
{
	size_t bytes = (size_t)1 << (index + PIECE_SHIFT);
	struct piece *piece;
	uint8_t *page, *at;

	if (!pieces[index]) {
		page = take_pages(1, PAGE_BYTES);
		if (!page)
			return NULL;
		for (at = page + PAGE_BYTES; at > page;) {
			at -= bytes;
			piece = (struct piece *)at;
			piece->next = pieces[index];
			pieces[index] = piece;
		}
	}
	piece = pieces[index];
	pieces[index] = piece->next;
	return piece;
}

static bool refused(void)
{
	if (!fail_countdown || --fail_countdown)
		return false;
	failed = true;
	return true;
}

void *gmm_zalloc_atomic(size_t size)
{
	void *memory = NULL;
	uint32_t index = piece_index(size);

	take_lock();
	if (!refused())
		memory = index < PIECES ? take_piece(index) :
					  take_pages(page_count(size), PAGE_BYTES);
	if (memory)
		live++;
	drop_lock();
	if (memory)
		gmm_memset(memory, 0, size);
	return memory;
}

void *gmm_zalloc(size_t size)
{
	gmm_assert_may_sleep();
	return gmm_zalloc_atomic(size);
}

void gmm_free(void *pointer, size_t size)
{
	uint32_t index = piece_index(size);
	struct piece *piece = pointer;

	if (!pointer)
		return;
	if (GMM_DEBUG)
		gmm_memset(pointer, 0xdd, size);
	take_lock();
	live--;
	if (index < PIECES) {
		piece->next = pieces[index];
		pieces[index] = piece;
	} else {
		give_pages(pointer, page_count(size));
	}
	drop_lock();
}

#if GMM_DEBUG || GMM_STEPS
void gmm_port_alloc_fail_at(uint64_t nth)
{
	take_lock();
	failed = false;
	fail_countdown = nth;
	drop_lock();
}

bool gmm_port_alloc_failed(void)
{
	return __atomic_load_n(&failed, __ATOMIC_RELAXED);
}

uint64_t gmm_port_alloc_live(void)
{
	return gmm_load_relaxed(&live);
}
#endif
