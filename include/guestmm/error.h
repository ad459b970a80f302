/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Errors of every guestmm function: 0 or a positive count on success, one of these negated on
 * failure. The values are Linux's generic errno values, so userspace may pass them to strerror();
 * the posix and kernel ports assert that they agree with the system's headers.
 */
#ifndef GUESTMM_ERROR_H
#define GUESTMM_ERROR_H

#define GMM_ENOENT 2  /* no such slot, page, range or vCPU */
#define GMM_EIO 5     /* the memory, the source or the second stage's owner failed */
#define GMM_EAGAIN 11 /* not now: a change is in progress, or a request is pending */
#define GMM_ENOMEM 12 /* an allocation failed; nothing was changed */
#define GMM_EFAULT 14 /* the address is in no slot, or not accessible in this way */
#define GMM_EBUSY 16  /* the object is still in use */
#define GMM_EEXIST 17 /* the id or the range is taken */
#define GMM_EXDEV 18  /* an area spans slots that cannot be one area */
#define GMM_EINVAL 22 /* an argument is out of its range, misaligned or unknown */
#define GMM_ENOSPC 28 /* a table of fixed size is full */
#define GMM_EROFS 30  /* a write to memory that is read-only for the guest */
#define GMM_ERANGE 34 /* the address or size is beyond the guest's address space */
/*
 * The caller would wait for itself, or for somebody who may be waiting for it: it is in a section,
 * or would sleep for the end of a change while it has one in progress itself (docs/LOCKING.md).
 */
#define GMM_EDEADLK 35
#define GMM_ENOSYS 38	  /* the world has no such mechanism */
#define GMM_EOPNOTSUPP 95 /* this memory or owner cannot do it */

#endif
