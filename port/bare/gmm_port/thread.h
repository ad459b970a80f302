/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_THREAD_H
#define GMM_PORT_THREAD_H

#include <gmm_port/section.h>

/* A CPU runs one thread. */
GMM_INLINE uintptr_t gmm_thread_self(void)
{
	return (uintptr_t)gmm_cpu_index() + 1;
}

#endif
