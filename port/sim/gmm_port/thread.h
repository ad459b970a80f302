/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_THREAD_H
#define GMM_PORT_THREAD_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

/* Small numbers in the order of starting, the same in every replay. */
uintptr_t gmm_thread_self(void);

#endif
