/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "live_stage2_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <guestmm/linux/userfault.h>
#include <guestmm/memory.h>
#include <guestmm/slot.h>

#define PAGE_SHIFT 12
/* Between two tries while somebody else's change of a mapping is being told, and then it is given up. */
#define TELLING_NS_MIN 20000
#define TELLING_NS_MAX 1000000
#define TELLING_NS_IN_ALL 60000000000ll

static bool is_lazy(const struct gmm_memory_ops *ops)
{
	return ops && ops->flags & GMM_MEMORY_LAZY;
}

static bool is_shared(const struct gmm_memory_ops *ops)
{
	return ops && ops->flags & GMM_MEMORY_AGEABLE;
}

static bool is_host_only(const struct gmm_memory_ops *ops)
{
	return ops && ops->flags & GMM_MEMORY_HOST_ONLY;
}

static uint32_t abilities(const struct gmm_live_stage2 *live)
{
	return live->userfault ? gmm_userfault_abilities(live->userfault) : 0;
}

/*
 * What shared lazy memory needs so that no write goes unseen. KVM sees writes, and refuses them, by
 * itself; else the log needs protection, and memory that is only read must never be mapped writable.
 */
static uint32_t needed_of_shared(const struct gmm_live_stage2 *live,
				 const struct gmm_slot_info *slot)
{
	uint32_t need = GMM_USERFAULT_SHARED;

	if (!live->logs_writes && slot->flags & GMM_SLOT_LOG_DIRTY)
		need |= GMM_USERFAULT_SHARED_WP;
	if (!live->logs_writes && slot->flags & GMM_SLOT_READ_ONLY)
		need |= GMM_USERFAULT_CONTINUE_WP;
	return need;
}

/* What a slot's range has to be registered for. -GMM_EOPNOTSUPP: this cannot be had. */
static int choose_modes(const struct gmm_live_stage2 *live, const struct gmm_slot_info *slot,
			uint32_t *modes)
{
	uint32_t can = abilities(live), need;

	*modes = 0;
	/*
	 * Memory that is there from the start never faults, so nobody but KVM sees what is written.
	 */
	if (!is_lazy(slot->memory_ops))
		return live->logs_writes ||
				       !(slot->flags & (GMM_SLOT_LOG_DIRTY | GMM_SLOT_READ_ONLY)) ?
			       0 :
			       -GMM_EOPNOTSUPP;
	if (!live->userfault)
		return -GMM_EOPNOTSUPP;
	if (!is_shared(slot->memory_ops)) {
		*modes = GMM_USERFAULT_MISSING | GMM_USERFAULT_WP;
		return can & GMM_USERFAULT_PRIVATE_WP ? 0 : -GMM_EOPNOTSUPP;
	}
	*modes = GMM_USERFAULT_MISSING | GMM_USERFAULT_MINOR;
	if (can & GMM_USERFAULT_SHARED_WP)
		*modes |= GMM_USERFAULT_WP;
	need = needed_of_shared(live, slot);
	return (can & need) == need ? 0 : -GMM_EOPNOTSUPP;
}

/* Index of the first range that ends after `hva`. */
static uint32_t lower_bound(const struct gmm_live_stage2 *live, gmm_hva_t hva)
{
	uint32_t low = 0, high = live->count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (live->ranges[middle].hva + live->ranges[middle].bytes <= hva)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int reserve_one(struct gmm_live_stage2 *live)
{
	uint32_t capacity = live->capacity ? live->capacity * 2 : 16;
	struct gmm_live_range *more;

	if (live->count < live->capacity)
		return 0;
	more = realloc(live->ranges, capacity * sizeof(*more));
	if (!more)
		return -GMM_ENOMEM;
	live->ranges = more;
	live->capacity = capacity;
	return 0;
}

static void take_out(struct gmm_live_stage2 *live, uint32_t index)
{
	live->count--;
	memmove(&live->ranges[index], &live->ranges[index + 1],
		(live->count - index) * sizeof(live->ranges[0]));
}

static void put_in(struct gmm_live_stage2 *live, const struct gmm_live_range *range)
{
	uint32_t index = lower_bound(live, range->hva);

	memmove(&live->ranges[index + 1], &live->ranges[index],
		(live->count - index) * sizeof(live->ranges[0]));
	live->ranges[index] = *range;
	live->count++;
}

static bool overlaps(const struct gmm_live_stage2 *live, const struct gmm_live_range *range,
		     uint32_t but_slot)
{
	uint32_t i;

	for (i = lower_bound(live, range->hva); i < live->count; i++) {
		if (live->ranges[i].hva >= range->hva + range->bytes)
			return false;
		if (live->ranges[i].slot != but_slot)
			return true;
	}
	return false;
}

static int find_slot(const struct gmm_live_stage2 *live, const struct gmm_slot_info *slot)
{
	uint32_t i = lower_bound(live, slot->hva);

	if (i < live->count && live->ranges[i].hva == slot->hva && live->ranges[i].slot == slot->id)
		return (int)i;
	return -1;
}

/* With somebody else's mapping in it the range is refused as a whole (W9). */
static void unregister_range(struct gmm_live_stage2 *live, gmm_hva_t hva, uint64_t bytes)
{
	uint64_t page_bytes = 1ull << PAGE_SHIFT, done;

	if (!gmm_userfault_unregister(live->userfault, hva, bytes))
		return;
	for (done = 0; done < bytes; done += page_bytes)
		gmm_userfault_unregister(live->userfault, hva + done, page_bytes);
}

/* Brings the registration from what `old` (or NULL) needs to what `now` (or NULL) needs. */
static int change_registration(struct gmm_live_stage2 *live, const struct gmm_live_range *old,
			       const struct gmm_live_range *now)
{
	bool same_place = old && now && old->hva == now->hva && old->bytes == now->bytes;
	int error;

	if (same_place && old->modes == now->modes)
		return 0;
	if (now && now->modes) {
		error = gmm_userfault_register(live->userfault, now->hva, now->bytes, now->modes);
		if (error)
			return error == -GMM_ENOMEM ? error : -GMM_EIO;
	}
	/*
	 * What the old range had and the new one has not. The memory may have been unmapped
	 * already.
	 */
	if (old && old->modes) {
		if (!now || !now->modes || old->hva >= now->hva + now->bytes ||
		    now->hva >= old->hva + old->bytes) {
			unregister_range(live, old->hva, old->bytes);
		} else if (old->hva == now->hva && old->bytes > now->bytes) {
			unregister_range(live, now->hva + now->bytes, old->bytes - now->bytes);
		}
	}
	return 0;
}

int gmm_live_stage2_slot_change(struct gmm_live_stage2 *live, const struct gmm_slot_info *old,
				const struct gmm_slot_info *now)
{
	struct gmm_live_range before, after;
	int index = -1, error = 0;

	/* No access of a vCPU arrives there, so there is nothing to find nor to register. */
	if (is_host_only(now->count ? now->memory_ops : old->memory_ops))
		return 0;
	pthread_rwlock_wrlock(&live->lock);
	if (old->count) {
		index = find_slot(live, old);
		if (index >= 0)
			before = live->ranges[index];
	}
	if (now->count) {
		after = (struct gmm_live_range){
			.hva = now->hva,
			.bytes = now->count << PAGE_SHIFT,
			.gfn = now->gfn,
			.slot = now->id,
			.memory = now->memory,
			.memory_ops = now->memory_ops,
		};
		error = choose_modes(live, now, &after.modes);
		if (!error && overlaps(live, &after, index >= 0 ? now->id : UINT32_MAX))
			error = -GMM_EEXIST;
		if (!error)
			error = reserve_one(live);
	}
	if (!error)
		error = change_registration(live, index >= 0 ? &before : NULL,
					    now->count ? &after : NULL);
	if (!error && index >= 0)
		take_out(live, (uint32_t)index);
	if (!error && now->count)
		put_in(live, &after);
	pthread_rwlock_unlock(&live->lock);
	return error;
}

bool gmm_live_stage2_find(struct gmm_live_stage2 *live, gmm_hva_t hva, struct gmm_live_range *range,
			  gmm_gfn_t *gfn)
{
	bool found;
	uint32_t i;

	pthread_rwlock_rdlock(&live->lock);
	i = lower_bound(live, hva);
	found = i < live->count && live->ranges[i].hva <= hva;
	if (found) {
		*range = live->ranges[i];
		*gfn = range->gfn + ((hva - range->hva) >> PAGE_SHIFT);
	}
	pthread_rwlock_unlock(&live->lock);
	return found;
}

bool gmm_live_stage2_next(struct gmm_live_stage2 *live, gmm_hva_t hva, struct gmm_live_range *range)
{
	bool found;
	uint32_t i;

	pthread_rwlock_rdlock(&live->lock);
	i = lower_bound(live, hva);
	found = i < live->count;
	if (found)
		*range = live->ranges[i];
	pthread_rwlock_unlock(&live->lock);
	return found;
}

void gmm_live_stage2_visit(struct gmm_live_stage2 *live, gmm_hva_t start, uint64_t bytes,
			   void (*fn)(void *opaque, const struct gmm_live_range *range,
				      gmm_hva_t start, uint64_t bytes),
			   void *opaque)
{
	gmm_hva_t end = start + bytes;
	uint32_t i;

	pthread_rwlock_rdlock(&live->lock);
	for (i = lower_bound(live, start); i < live->count && live->ranges[i].hva < end; i++) {
		const struct gmm_live_range *range = &live->ranges[i];
		gmm_hva_t from = range->hva > start ? range->hva : start;
		gmm_hva_t to = range->hva + range->bytes < end ? range->hva + range->bytes : end;

		fn(opaque, range, from, to - from);
	}
	pthread_rwlock_unlock(&live->lock);
}

void gmm_live_stage2_visit_outside(struct gmm_live_stage2 *live, gmm_hva_t start, uint64_t bytes,
				   void (*fn)(void *opaque, gmm_hva_t start, uint64_t bytes),
				   void *opaque)
{
	gmm_hva_t end = start + bytes;
	uint32_t i;

	pthread_rwlock_rdlock(&live->lock);
	for (i = lower_bound(live, start); i < live->count && live->ranges[i].hva < end; i++) {
		const struct gmm_live_range *range = &live->ranges[i];

		if (range->hva > start)
			fn(opaque, start, range->hva - start);
		start = range->hva + range->bytes;
	}
	if (start < end)
		fn(opaque, start, end - start);
	pthread_rwlock_unlock(&live->lock);
}

static uint64_t span_bytes(const struct gmm_span *span)
{
	return span->count << PAGE_SHIFT;
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
	uint32_t need = is_shared(span->memory_ops) ? GMM_USERFAULT_SHARED_WP :
						      GMM_USERFAULT_PRIVATE_WP;

	return is_lazy(span->memory_ops) && abilities(live) & need;
}

static void wake_pages(void *owner, const struct gmm_span *span)
{
	struct gmm_live_stage2 *live = owner;

	/* It fails only when nobody can wait there any more: the range is gone. */
	if (live->userfault && !is_host_only(span->memory_ops))
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
 * of the process's mappings for reading: until then vCPUs still write through them. Whoever takes
 * that lock for writing waits for the end of it, as a change of protection does, also of a page that
 * has it already. A new mapping would, too, but the kernel might put it into the hole.
 */
static int wait_unmapped(const struct gmm_live_stage2 *live)
{
	return mprotect(live->own_page, (size_t)1 << PAGE_SHIFT, PROT_NONE) ? -GMM_EIO : 0;
}

static int protect_pages(void *owner, const struct gmm_span *span)
{
	struct gmm_live_stage2 *live = owner;
	uint64_t page_bytes = 1ull << PAGE_SHIFT, done;
	int error;

	if (is_host_only(span->memory_ops))
		return 0;
	if (!can_protect(live, span))
		return -GMM_EOPNOTSUPP;
	error = protect_range(live, span->hva, span_bytes(span));
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
	bool protect = abilities(live) & GMM_USERFAULT_CONTINUE_WP;
	bool writable = access & GMM_ACCESS_WRITE;
	uint32_t flags = !writable && protect ? GMM_USERFAULT_PROTECTED : 0;
	uint64_t present = 0;
	int error;

	if (!is_lazy(span->memory_ops))
		return 0;
	if (!is_shared(span->memory_ops)) {
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

/* Where events are told, madvise() waits until this one was. Returns the entry; may have none. */
static uint32_t own_change_begin(struct gmm_live_stage2 *live, const struct gmm_span *span)
{
	uint32_t i = 0;

	if (!(abilities(live) & GMM_USERFAULT_EVENTS))
		return GMM_LIVE_OWN_CHANGES;
	pthread_mutex_lock(&live->own_lock);
	while (i < GMM_LIVE_OWN_CHANGES && live->own[i].bytes)
		i++;
	if (i < GMM_LIVE_OWN_CHANGES) {
		live->own[i].start = span->hva;
		live->own[i].bytes = span_bytes(span);
		live->own[i].untold = span_bytes(span);
		live->own[i].ended = false;
	}
	pthread_mutex_unlock(&live->own_lock);
	return i;
}

/* madvise() returns when its event has been read, which may be before who read it asks here. */
static void own_change_end(struct gmm_live_stage2 *live, uint32_t own, bool told)
{
	if (own == GMM_LIVE_OWN_CHANGES)
		return;
	pthread_mutex_lock(&live->own_lock);
	live->own[own].ended = true;
	if (!told || !live->own[own].untold)
		live->own[own].bytes = 0;
	pthread_mutex_unlock(&live->own_lock);
}

bool gmm_live_stage2_is_own_change(struct gmm_live_stage2 *live, gmm_hva_t start, uint64_t bytes)
{
	bool found = false;
	uint32_t i;

	pthread_mutex_lock(&live->own_lock);
	for (i = 0; i < GMM_LIVE_OWN_CHANGES && !found; i++) {
		/* One event for each mapping of the kernel's. */
		found = live->own[i].bytes && start >= live->own[i].start &&
			bytes <= live->own[i].untold &&
			start - live->own[i].start <= live->own[i].bytes - bytes;
		if (!found)
			continue;
		live->own[i].untold -= bytes;
		if (live->own[i].ended && !live->own[i].untold)
			live->own[i].bytes = 0;
	}
	pthread_mutex_unlock(&live->own_lock);
	return found;
}

static int unmap_pages(void *owner, const struct gmm_span *span)
{
	struct gmm_live_stage2 *live = owner;
	uint32_t own;
	int error;

	if (is_host_only(span->memory_ops))
		return 0;
	if (!is_lazy(span->memory_ops) || !is_shared(span->memory_ops))
		return -GMM_EOPNOTSUPP;
	/* madvise() would wait for this very thread to read its event. */
	if ((abilities(live) & GMM_USERFAULT_EVENTS) && gmm_live_stage2_reads_events)
		return -GMM_EOPNOTSUPP;
	own = own_change_begin(live, span);
	error = madvise((void *)(uintptr_t)span->hva, span_bytes(span), MADV_DONTNEED) ? errno : 0;
	own_change_end(live, own, !error);
	/* Somebody else has unmapped a part of it (W9); the rest was dropped. */
	return error && error != ENOMEM ? -GMM_EIO : 0;
}

static int slot_change(void *owner, const struct gmm_slot_info *old,
		       const struct gmm_slot_info *now)
{
	return gmm_live_stage2_slot_change(owner, old, now);
}

static void drop_own_page(struct gmm_live_stage2 *live)
{
	if (live->own_page && live->own_page != MAP_FAILED)
		munmap(live->own_page, (size_t)1 << PAGE_SHIFT);
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
	if (abilities(live) & GMM_USERFAULT_CONTINUE_WP)
		live->ops.flags |= GMM_STAGE2_MAPS_PROTECTED;
	if (userfault)
		live->own_page = mmap(NULL, (size_t)1 << PAGE_SHIFT, PROT_NONE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (live->own_page == MAP_FAILED || pthread_rwlock_init(&live->lock, NULL)) {
		drop_own_page(live);
		return -GMM_ENOMEM;
	}
	pthread_mutex_init(&live->own_lock, NULL);
	return 0;
}

void gmm_live_stage2_fini(struct gmm_live_stage2 *live)
{
	pthread_rwlock_destroy(&live->lock);
	pthread_mutex_destroy(&live->own_lock);
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
