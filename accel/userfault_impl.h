/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_ACCEL_USERFAULT_IMPL_H
#define GMM_ACCEL_USERFAULT_IMPL_H

#include <guestmm/linux/userfault.h>

/*
 * Drops the mapping of registered memory, whose contents stay: the next access faults. Where events
 * are told, gmm_userfault_read() gives out none of this, and it waits until another thread has read
 * them. -GMM_ENOMEM: a part is not mapped; the rest was dropped. -GMM_EIO, -GMM_EINVAL.
 */
int gmm_userfault_drop_mapping(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes);

#endif
