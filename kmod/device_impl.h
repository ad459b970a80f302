/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_KMOD_DEVICE_IMPL_H
#define GMM_KMOD_DEVICE_IMPL_H

#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include <guestmm/cache.h>
#include <guestmm/guest.h>
#include <guestmm/invalidate.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#include <uapi/guestmm/guestmm.h>

#include "linux_version.h"

#define GMM_DEVICE_SLOTS_MAX 512u
#define GMM_DEVICE_CACHES_MAX 8192u
#define GMM_DEVICE_GPA_BITS_MAX 46u
#define GMM_DEVICE_SLOT_SIZE_MAX (1ull << 40)
#define GMM_DEVICE_CACHE_LENGTH_MAX ((u64)(GMM_CACHE_PAGES_MAX - 1) << PAGE_SHIFT)

/* Changes under way that are told one by one; more of them are told as one of all addresses. */
#define GMM_DEVICE_CHANGES 24u

/*
 * What the notifier began and has not ended: the kernel calls no end after the address space has
 * gone, or after the notifier was taken out.
 */
struct gmm_device_changes {
	spinlock_t lock;
	struct gmm_range ranges[GMM_DEVICE_CHANGES]; /* end 0: free; under lock */
	u32 merged;				     /* under lock */
	atomic64_t begins;
	atomic64_t ends;
	atomic64_t begins_non_blocking;
	atomic64_t begins_merged;
};

/* What a descriptor has. */
struct gmm_device {
	struct mutex mutex; /* making the guest */
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	struct mmu_notifier notifier; /* its mm is the guest's memory */
	struct gmm_device_changes changes;
	bool ready; /* set last, by release; the fields above stay as they are from then on */
	struct xarray caches;
	u32 next_handle; /* under the lock of `caches` */
	atomic_t cache_count;
};

/* The memory of a process as the engine's memory: page numbers are those of its addresses. */
extern const struct gmm_memory_ops gmm_device_user_memory;

/* Errors: those of include/uapi/guestmm/guestmm.h. All may sleep. */
int gmm_device_guest_create(struct gmm_device *device, const struct gmm_device_guest *config);
void gmm_device_guest_destroy(struct gmm_device *device);
void gmm_device_read_counters(struct gmm_device *device, struct gmm_device_counters *counters);

int gmm_device_cache_create(struct gmm_device *device, struct gmm_device_cache *config);
int gmm_device_cache_destroy(struct gmm_device *device, u64 handle);
int gmm_device_cache_check(struct gmm_device *device, struct gmm_device_check *check);
int gmm_device_cache_refresh(struct gmm_device *device, u64 handle);
int gmm_device_cache_transfer(struct gmm_device *device, const struct gmm_device_transfer *transfer,
			      bool write);
/* Of a descriptor that nobody uses any more. */
void gmm_device_caches_destroy(struct gmm_device *device);

/* kmod/notifier.c */
void gmm_device_changes_init(struct gmm_device_changes *changes);
int gmm_device_watch(struct gmm_device *device);
void gmm_device_unwatch(struct gmm_device *device);

/* kmod/device.c */
int gmm_device_register(void);
void gmm_device_unregister(void);

#endif
