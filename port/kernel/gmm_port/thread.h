/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_THREAD_H
#define GMM_PORT_THREAD_H

#include <linux/sched.h>

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

GMM_INLINE uintptr_t gmm_thread_self(void)
{
	return (uintptr_t)current;
}

#endif
