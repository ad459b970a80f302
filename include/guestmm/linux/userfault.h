/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * userfaultfd for guest memory: faults of vCPUs become events, which somebody answers. Rules of the
 * calls below are those of userfaultfd(2) and ioctl_userfaultfd(2).
 *
 * All functions may be called by any number of threads at once, sleep for a short time only (the
 * process's mmap lock), and return 0 or a negative error:
 * -GMM_EAGAIN  the mapping is being changed (fork, mremap, madvise with events on): nothing beyond
 *              the point reached was done; read events, the vCPU faults again
 * -GMM_ENOENT  the range is not mapped or not registered any more
 * -GMM_EFAULT  no page there to continue, or `source` is not readable
 * -GMM_ENOMEM  no memory, or the file is at its limit
 * -GMM_EINVAL  misaligned or unknown
 * -GMM_EIO     anything else
 */
#ifndef GUESTMM_LINUX_USERFAULT_H
#define GUESTMM_LINUX_USERFAULT_H

#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gmm_userfault;

/* Room for every text that says why a descriptor is refused. */
#define GMM_USERFAULT_TEXT_BYTES 256

/* What the descriptor has to be able to do. */
#define GMM_USERFAULT_KERNEL 1u	    /* faults of the kernel on behalf of a vCPU: needed for KVM */
#define GMM_USERFAULT_SHARED 2u	    /* MISSING and MINOR on shmem */
#define GMM_USERFAULT_SHARED_WP 4u  /* protect and unprotect on shmem, mapped or not: Linux 5.19 */
#define GMM_USERFAULT_PRIVATE_WP 8u /* write-protection of private anonymous memory */
#define GMM_USERFAULT_EVENTS 16u    /* REMOVE, UNMAP, REMAP: their callers wait until it is read */
/*
 * continue can map pages of shmem write-protected: Linux 6.4. It need not be asked for: it comes
 * with SHARED_WP when the kernel has it. Without it continue maps writable, also what was protected
 * while it was not mapped.
 */
#define GMM_USERFAULT_CONTINUE_WP 32u

/*
 * Opens one, first by the system call, then by /dev/userfaultfd. `required`: the open fails without
 * them; `wanted`: taken when there. -GMM_ENOSYS (not in this kernel, not allowed, or a required
 * ability is missing; `text` says which and the way out), -GMM_EIO.
 */
GMM_API int gmm_userfault_open(uint32_t required, uint32_t wanted, struct gmm_userfault **userfault,
			       char text[GMM_USERFAULT_TEXT_BYTES]);
/* For tests: opens one as a kernel would give it that lacks the abilities of `lacking`. */
GMM_API int gmm_userfault_open_lacking(uint32_t lacking, uint32_t required, uint32_t wanted,
				       struct gmm_userfault **userfault,
				       char text[GMM_USERFAULT_TEXT_BYTES]);
/* Waiting vCPUs are woken, and find the memory as it is. */
GMM_API void gmm_userfault_close(struct gmm_userfault *userfault);
/* GMM_USERFAULT_* that it can do. */
GMM_API uint32_t gmm_userfault_abilities(const struct gmm_userfault *userfault);
/* For poll: readable when there are events. */
GMM_API int gmm_userfault_descriptor(const struct gmm_userfault *userfault);

#define GMM_USERFAULT_MISSING 1u
#define GMM_USERFAULT_MINOR 2u
#define GMM_USERFAULT_WP 4u

/*
 * Registers or changes the modes of whole mappings or parts. -GMM_EBUSY: another descriptor has it.
 */
GMM_API int gmm_userfault_register(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes,
				   uint32_t modes);
GMM_API int gmm_userfault_unregister(struct gmm_userfault *userfault, gmm_hva_t start,
				     uint64_t bytes);

/*
 * Whether the page at `address` is mapped and registered with a userfaultfd; asks the kernel. Sleeps
 * while somebody else's change is being told, so not on the thread that reads events.
 */
GMM_API bool gmm_userfault_is_registered(struct gmm_userfault *userfault, gmm_hva_t address);

#define GMM_USERFAULT_PROTECTED 1u /* the pages appear write-protected */
#define GMM_USERFAULT_NO_WAKE 2u   /* leave the vCPUs that wait there asleep */

/*
 * These three make pages appear. Pages that were there already are passed over (and woken, unless
 * NO_WAKE); *present, if not NULL, becomes their number. continue: pages of the file, where the
 * file has them; PROTECTED needs CONTINUE_WP (-GMM_EINVAL without it).
 */
GMM_API int gmm_userfault_continue(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes,
				   uint32_t flags, uint64_t *present);
GMM_API int gmm_userfault_copy(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes,
			       const void *source, uint32_t flags, uint64_t *present);
GMM_API int gmm_userfault_zero(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes,
			       uint32_t flags, uint64_t *present);

/* Write-protects (complete in all TLBs on return), or lets writes through and wakes. */
GMM_API int gmm_userfault_protect(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes);
GMM_API int gmm_userfault_unprotect(struct gmm_userfault *userfault, gmm_hva_t start,
				    uint64_t bytes, uint32_t flags);
GMM_API int gmm_userfault_wake(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes);

enum gmm_userfault_event_kind {
	GMM_USERFAULT_EVENT_MISSING,
	GMM_USERFAULT_EVENT_MINOR,
	GMM_USERFAULT_EVENT_WP,
	GMM_USERFAULT_EVENT_REMOVED,  /* [start, start + bytes) is being freed right now */
	GMM_USERFAULT_EVENT_UNMAPPED, /* [start, start + bytes) is gone, maybe used again */
	GMM_USERFAULT_EVENT_MOVED,    /* [start, start + bytes) is at `target` now */
};

struct gmm_userfault_event {
	enum gmm_userfault_event_kind kind;
	uint32_t access;  /* of a fault: GMM_ACCESS_* */
	gmm_hva_t start;  /* of a fault: the page's address */
	uint64_t bytes;	  /* 0 for a fault */
	gmm_hva_t target; /* MOVED */
};

/*
 * Takes up to `max` events without waiting. Returns how many; fewer: there were no more. The caller
 * must not call munmap, mremap or madvise on registered memory before it reads again (EVENTS).
 */
GMM_API int gmm_userfault_read(struct gmm_userfault *userfault, struct gmm_userfault_event *events,
			       int max);

#ifdef __cplusplus
}
#endif

#endif
