/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_THREAD_H
#define GMM_PORT_THREAD_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

#ifdef __cplusplus
extern "C" {
#endif

GMM_API uintptr_t gmm_thread_self(void);

#ifdef __cplusplus
}
#endif

#endif
