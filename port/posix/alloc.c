/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <stdlib.h>

#include <gmm_port/alloc.h>
#include <gmm_port/atomic.h>

#define CACHE_LINE 64u
#define CACHE_LINE_PAIR 128u
/* From this size on, zeroed pages fresh from the kernel are cheaper than clearing. */
#define LARGE_SIZE (128u << 10)

#if GMM_DEBUG || GMM_STEPS
static uint64_t fail_countdown;
static bool failed;
static uint64_t live;

void gmm_port_alloc_fail_at(uint64_t nth)
{
	gmm_store_relaxed(&fail_countdown, nth);
	__atomic_store_n(&failed, false, __ATOMIC_RELAXED);
}

bool gmm_port_alloc_failed(void)
{
	return __atomic_load_n(&failed, __ATOMIC_RELAXED);
}

uint64_t gmm_port_alloc_live(void)
{
	return gmm_load_relaxed(&live);
}

static bool alloc_refused(void)
{
	uint64_t left = gmm_load_relaxed(&fail_countdown);

	while (left && !gmm_compare_exchange(&fail_countdown, &left, left - 1))
		;
	if (left != 1)
		return false;
	__atomic_store_n(&failed, true, __ATOMIC_RELAXED);
	return true;
}

static void *alloc_counted(void *pointer)
{
	if (pointer)
		gmm_fetch_add(&live, 1u);
	return pointer;
}

static void free_counted(void)
{
	gmm_fetch_add(&live, (uint64_t)-1);
}
#else
static bool alloc_refused(void)
{
	return false;
}

static void *alloc_counted(void *pointer)
{
	return pointer;
}

static void free_counted(void)
{
}
#endif

static void *alloc_aligned(size_t size)
{
	void *pointer;

	if (posix_memalign(&pointer, size < CACHE_LINE_PAIR ? CACHE_LINE : CACHE_LINE_PAIR, size))
		return NULL;
	return memset(pointer, 0, size);
}

/* The word before the aligned object is what calloc() returned. */
static void *alloc_large(size_t size)
{
	size_t padded;
	void **aligned;
	void *raw;

	if (__builtin_add_overflow(size, CACHE_LINE_PAIR, &padded))
		return NULL;
	raw = calloc(1, padded);
	if (!raw)
		return NULL;
	aligned = (void **)(((uintptr_t)raw + CACHE_LINE_PAIR) & ~(uintptr_t)(CACHE_LINE_PAIR - 1));
	GMM_STATIC_ASSERT(_Alignof(max_align_t) >= sizeof(void *), "a word fits before the object");
	aligned[-1] = raw;
	return aligned;
}

static void *alloc_by_size(size_t size)
{
	if (size < CACHE_LINE)
		return calloc(1, size);
	if (size < LARGE_SIZE)
		return alloc_aligned(size);
	return alloc_large(size);
}

void *gmm_zalloc_atomic(size_t size)
{
	gmm_assert(size > 0);
	if (alloc_refused())
		return NULL;
	return alloc_counted(alloc_by_size(size));
}

void *gmm_zalloc(size_t size)
{
	gmm_assert_may_sleep();
	return gmm_zalloc_atomic(size);
}

void gmm_free(void *pointer, size_t size)
{
	if (!pointer)
		return;
	free_counted();
	if (size >= LARGE_SIZE)
		free(((void **)pointer)[-1]);
	else
		free(pointer);
}
