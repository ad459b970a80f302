/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The module's device, /dev/guestmm; docs/MODULE.md. A descriptor has one guest, which lives on the
 * memory of the process that made it; every call from another address space is refused with EIO.
 * Nothing of it outlives the last close of the descriptor.
 *
 * Structs have the same layout for 32- and 64-bit programs. The number of a call has its struct's
 * size in it. Reserved fields and unknown flags must be 0. Each call returns 0, or -1 with errno;
 * beside what is said there: EFAULT, a struct or buffer that is not accessible; EINVAL, a field out
 * of its range; ENOTTY, no such call, or a struct of another size; ENXIO, there is no guest yet;
 * ENOMEM. Calls may come from several threads at once.
 */
#ifndef GUESTMM_UAPI_GUESTMM_H
#define GUESTMM_UAPI_GUESTMM_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Grows when what a program could do is done differently; new calls leave it. */
#define GMM_DEVICE_ABI 1

#define GMM_DEVICE_IOCTL 0xd6

struct gmm_device_info {
	__u32 abi; /* GMM_DEVICE_ABI of the module */
	__u32 page_size;
	__u32 slots_max;  /* of a descriptor */
	__u32 caches_max; /* of a descriptor */
	__u64 slot_size_max;
	__u64 cache_length_max;
};

/* Of any process, also without a guest. */
#define GMM_DEVICE_INFO _IOR(GMM_DEVICE_IOCTL, 0x10, struct gmm_device_info)

struct gmm_device_guest {
	__u32 gpa_bits; /* 21 to 46; 0: 40 */
	__u32 flags;	/* 0 */
};

/* Makes the guest of this descriptor, on the caller's memory. EEXIST: it has one. */
#define GMM_DEVICE_GUEST_CREATE _IOW(GMM_DEVICE_IOCTL, 0x11, struct gmm_device_guest)

#define GMM_DEVICE_SLOT_READ_ONLY 1u

struct gmm_device_slot {
	__u32 id;    /* below slots_max */
	__u32 flags; /* GMM_DEVICE_SLOT_* */
	__u64 gpa;
	__u64 size; /* of whole pages, as are gpa and address */
	__u64 address;
};

/*
 * Backs [gpa, gpa + size) with the caller's memory at `address`, whatever is mapped there at the
 * time of an access. EEXIST: the id or a part of the range is taken; ERANGE: beyond gpa_bits.
 */
#define GMM_DEVICE_SLOT_ADD _IOW(GMM_DEVICE_IOCTL, 0x12, struct gmm_device_slot)

struct gmm_device_slot_id {
	__u32 id;
	__u32 reserved;
};

/* On return nobody uses the slot's memory through this guest. ENOENT. */
#define GMM_DEVICE_SLOT_REMOVE _IOW(GMM_DEVICE_IOCTL, 0x13, struct gmm_device_slot_id)

/* `address` is a host address of the caller; it need not be in a slot. */
#define GMM_DEVICE_CACHE_HVA 1u
/* Stores are wanted; over a read-only slot the cache is read-only all the same. */
#define GMM_DEVICE_CACHE_WRITE 2u

struct gmm_device_cache {
	__u64 handle;  /* stored by the call: of this descriptor, never 0 */
	__u64 address; /* GPA, or host address with GMM_DEVICE_CACHE_HVA */
	__u64 length;  /* 1 to cache_length_max; pages of several slots if they follow each other */
	__u32 flags;   /* GMM_DEVICE_CACHE_* */
	__u32 reserved;
};

/*
 * Makes a cache and its translation. EFAULT also: the address is in no slot, or not accessible in
 * this way; EXDEV: slots that cannot be one area; ERANGE: the address is beyond the guest's;
 * ENOSPC: caches_max.
 */
#define GMM_DEVICE_CACHE_CREATE _IOWR(GMM_DEVICE_IOCTL, 0x14, struct gmm_device_cache)

struct gmm_device_handle {
	__u64 handle;
};

/* ENOENT: there is no such cache, here and below. */
#define GMM_DEVICE_CACHE_DESTROY _IOW(GMM_DEVICE_IOCTL, 0x15, struct gmm_device_handle)

struct gmm_device_check {
	__u64 handle;
	__u32 valid;	/* stored: 1 or 0, at some moment of the call */
	__u32 writable; /* stored: the same; 0 when it is not valid */
};

/* Looks whether a cache is valid, in a section, and changes nothing. */
#define GMM_DEVICE_CACHE_CHECK _IOWR(GMM_DEVICE_IOCTL, 0x16, struct gmm_device_check)

/* Makes it valid again. EFAULT also, EXDEV: as when it was made. */
#define GMM_DEVICE_CACHE_REFRESH _IOW(GMM_DEVICE_IOCTL, 0x17, struct gmm_device_handle)

struct gmm_device_transfer {
	__u64 handle;
	__u64 offset; /* in the cache's area */
	__u64 length;
	__u64 buffer; /* the caller's address */
};

/*
 * Copy out of the cache, and into it, through the kernel's mapping; refreshed as often as needed.
 * ERANGE: beyond the cache's area; EROFS: the cache is read-only; EFAULT also as for refresh; EINTR:
 * the process is being killed. A part may have been copied then.
 */
#define GMM_DEVICE_CACHE_READ _IOW(GMM_DEVICE_IOCTL, 0x18, struct gmm_device_transfer)
#define GMM_DEVICE_CACHE_WRITE_TO _IOW(GMM_DEVICE_IOCTL, 0x19, struct gmm_device_transfer)

/* Since the guest was made; each number is right, together they may lag. */
struct gmm_device_counters {
	__u64 begins;		   /* changes of the process's mappings that were told */
	__u64 ends;		   /* and their ends */
	__u64 begins_non_blocking; /* of these: the kernel asked not to sleep */
	__u64 begins_merged;	   /* of these: too many at once, told as one of all addresses */
	__u64 cache_invalidations; /* valid caches that were cleared */
	__u64 cache_refreshes;	   /* refreshes that resolved a page and succeeded */
	__u64 cache_refresh_kept;  /* of these: same frames, mapping kept */
	__u64 cache_retries;	   /* refreshes that a change overtook */
	__u64 cache_nodes;	   /* nodes of the index that changes looked at */
	__u64 reader_waits;	   /* times a change waited for accesses under way */
};

#define GMM_DEVICE_COUNTERS _IOR(GMM_DEVICE_IOCTL, 0x1a, struct gmm_device_counters)

#endif
