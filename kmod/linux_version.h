/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The kernels that the module is tested with. Another joins by its row here and a green
 * `make test-module` under it.
 */
#ifndef GMM_KMOD_LINUX_VERSION_H
#define GMM_KMOD_LINUX_VERSION_H

#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0) && LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
/* 6.1: Debian 12 */
#else
#error "guestmm.ko is tested with Linux 6.1 only; kmod/linux_version.h has what another needs"
#endif

#ifndef CONFIG_64BIT
#error "guestmm.ko needs a 64-bit kernel: every page has an address"
#endif

#endif
