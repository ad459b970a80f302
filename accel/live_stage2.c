/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "live_stage2_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <guestmm/memory.h>

#include "userfault_impl.h"

/* Between two tries while somebody else's change of a mapping is being told, and then it is given up. */
#define TELLING_NS_MIN 20000
#define TELLING_NS_MAX 1000000
#define TELLING_NS_IN_ALL 60000000000ll

static uint64_t span_bytes(const struct gmm_span *span)
{
	return span->count << GMM_LIVE_PAGE_SHIFT;
}

/* What is not registered any more is being taken away: its vCPU faults again, if it still can. */
static int stage2_error(int error)
{
	if (error == -GMM_ENOENT)
		return -GMM_EAGAIN;
	return error == 0 || error == -GMM_EAGAIN ? error : -GMM_EIO;
}

/* Without it nothing stops a write: protect fails, and a slot that cannot do without is refused. */
static bool can_protect(const struct gmm_live_stage2 *live, const struct gmm_span *span)
{
	uint32_t need = gmm_live_is_shared(span->memory_ops) ? GMM_USERFAULT_SHARED_WP :
							       GMM_USERFAULT_PRIVATE_WP;

	return gmm_live_is_lazy(span->memory_ops) && gmm_live_abilities(live) & need;
}

static void wake_pages(void *owner, const struct gmm_span *span)
{
	struct gmm_live_stage2 *live = owner;

	/* It fails only when nobody can wait there any more: the range is gone. */
	if (live->userfault && !gmm_live_is_host_only(span->memory_ops))
		gmm_userfault_wake(live->userfault, span->hva, span_bytes(span));
}

/*
 * While somebody else's change of a mapping is being told, nothing can be protected. That ends when
 * the event is read, which on a busy machine takes as long as its reader waits for a processor: so
 * this thread sleeps in between. It gives up only because there may be nobody who reads.
 */
static int protect_range(struct gmm_live_stage2 *live, gmm_hva_t hva, uint64_t bytes)
{
	struct timespec pause = { .tv_nsec = TELLING_NS_MIN };
	int64_t slept = 0;
	int error;

	while ((error = gmm_userfault_protect(live->userfault, hva, bytes)) == -GMM_EAGAIN &&
	       slept < TELLING_NS_IN_ALL) {
		nanosleep(&pause, NULL);
		slept += pause.tv_nsec;
		if (pause.tv_nsec < TELLING_NS_MAX)
			pause.tv_nsec *= 2;
	}
	return error;
}

/*
 * munmap() takes the mapping out of the tree first, and its pages away after that, holding the lock
 * of the process's mappings for reading: until then vCPUs still write through them. So who has met a
 * hole waits. Whoever takes that lock for writing waits for the end of it, as a change of protection
 * does, also of a page that has it already. A new mapping would, too, but the kernel might put it
 * into the hole.
 */
static int wait_unmapped(const struct gmm_live_stage2 *live)
{
	return mprotect(live->own_page, (size_t)1 << GMM_LIVE_PAGE_SHIFT, PROT_NONE) ? -GMM_EIO : 0;
}

/* The kernel protects what it finds of a range and does not say what it did not find. */
static bool has_hole(const struct gmm_span *span)
{
	return span->count > 1 && msync((void *)(uintptr_t)span->hva, span_bytes(span), MS_ASYNC) &&
	       errno == ENOMEM;
}

static int protect_pages(void *owner, const struct gmm_span *span)
{
	struct gmm_live_stage2 *live = owner;
	uint64_t page_bytes = 1ull << GMM_LIVE_PAGE_SHIFT, done;
	int error;

	if (gmm_live_is_host_only(span->memory_ops))
		return 0;
	if (!can_protect(live, span))
		return -GMM_EOPNOTSUPP;
	error = protect_range(live, span->hva, span_bytes(span));
	if (!error)
		return has_hole(span) ? wait_unmapped(live) : 0;
	if (error != -GMM_ENOENT)
		return stage2_error(error);
	/* When it is gone nobody writes what somebody else has unmapped (W9); the rest is protected. */
	for (done = 0; done < span_bytes(span); done += page_bytes) {
		error = protect_range(live, span->hva + done, page_bytes);
		if (error && error != -GMM_ENOENT)
			return stage2_error(error);
	}
	return wait_unmapped(live);
}

static int unprotect_pages(void *owner, const struct gmm_span *span)
{
	struct gmm_live_stage2 *live = owner;

	if (!can_protect(live, span)) {
		wake_pages(live, span);
		return 0;
	}
	return stage2_error(
		gmm_userfault_unprotect(live->userfault, span->hva, span_bytes(span), 0));
}

static int map_pages(void *owner, const struct gmm_span *span, uint32_t access)
{
	struct gmm_live_stage2 *live = owner;
	/* The engine asks for read-only mappings where they can be had, or where KVM refuses writes. */
	bool protect = gmm_live_abilities(live) & GMM_USERFAULT_CONTINUE_WP;
	bool writable = access & GMM_ACCESS_WRITE;
	uint32_t flags = !writable && protect ? GMM_USERFAULT_PROTECTED : 0;
	uint64_t present = 0;
	int error;

	if (!gmm_live_is_lazy(span->memory_ops))
		return 0;
	if (!gmm_live_is_shared(span->memory_ops)) {
		if (writable)
			return unprotect_pages(live, span);
		wake_pages(live, span);
		return 0;
	}
	error = gmm_userfault_continue(live->userfault, span->hva, span_bytes(span), flags,
				       &present);
	if (error == -GMM_EFAULT)
		return error;
	/* A page that was mapped already may be so write-protected. */
	if (!error && writable && present && can_protect(live, span))
		error = gmm_userfault_unprotect(live->userfault, span->hva, span_bytes(span), 0);
	return stage2_error(error);
}

_Thread_local bool gmm_live_stage2_reads_events;

static int unmap_pages(void *owner, const struct gmm_span *span)
{
	struct gmm_live_stage2 *live = owner;
	int error;

	if (gmm_live_is_host_only(span->memory_ops))
		return 0;
	if (!gmm_live_is_lazy(span->memory_ops) || !gmm_live_is_shared(span->memory_ops))
		return -GMM_EOPNOTSUPP;
	/* It would wait for this very thread to read its event. */
	if ((gmm_live_abilities(live) & GMM_USERFAULT_EVENTS) && gmm_live_stage2_reads_events)
		return -GMM_EOPNOTSUPP;
	error = gmm_userfault_drop_mapping(live->userfault, span->hva, span_bytes(span));
	/* Somebody else has unmapped a part of it (W9); the rest was dropped. */
	if (error == -GMM_ENOMEM)
		return wait_unmapped(live);
	return error ? -GMM_EIO : 0;
}

static int slot_change(void *owner, const struct gmm_slot_info *old,
		       const struct gmm_slot_info *now)
{
	return gmm_live_stage2_slot_change(owner, old, now);
}

static void drop_own_page(struct gmm_live_stage2 *live)
{
	if (live->own_page && live->own_page != MAP_FAILED)
		munmap(live->own_page, (size_t)1 << GMM_LIVE_PAGE_SHIFT);
	live->own_page = NULL;
}

int gmm_live_stage2_init(struct gmm_live_stage2 *live, struct gmm_userfault *userfault,
			 const char *name, bool logs_writes)
{
	memset(live, 0, sizeof(*live));
	live->userfault = userfault;
	live->logs_writes = logs_writes;
	live->ops = (struct gmm_stage2_ops){
		.version = GMM_STAGE2_OPS_VERSION,
		.name = name,
		.map = map_pages,
		.unmap = unmap_pages,
		.protect = protect_pages,
		.unprotect = unprotect_pages,
		.wake = wake_pages,
		.slot_change = slot_change,
	};
	if (gmm_live_abilities(live) & GMM_USERFAULT_CONTINUE_WP)
		live->ops.flags |= GMM_STAGE2_MAPS_PROTECTED;
	if (userfault)
		live->own_page = mmap(NULL, (size_t)1 << GMM_LIVE_PAGE_SHIFT, PROT_NONE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (live->own_page == MAP_FAILED || pthread_rwlock_init(&live->lock, NULL)) {
		drop_own_page(live);
		return -GMM_ENOMEM;
	}
	return 0;
}

void gmm_live_stage2_fini(struct gmm_live_stage2 *live)
{
	pthread_rwlock_destroy(&live->lock);
	drop_own_page(live);
	free(live->ranges);
	live->ranges = NULL;
}

int gmm_live_stage2_create(struct gmm_userfault *userfault, struct gmm_live_stage2 **live)
{
	struct gmm_live_stage2 *made = malloc(sizeof(*made));
	int error;

	if (!made)
		return -GMM_ENOMEM;
	error = gmm_live_stage2_init(made, userfault, "live", false);
	if (error) {
		free(made);
		return error;
	}
	*live = made;
	return 0;
}

void gmm_live_stage2_destroy(struct gmm_live_stage2 *live)
{
	gmm_live_stage2_fini(live);
	free(live);
}

const struct gmm_stage2_ops *gmm_live_stage2_ops(const struct gmm_live_stage2 *live)
{
	return &live->ops;
}
