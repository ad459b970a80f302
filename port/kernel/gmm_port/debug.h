/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_DEBUG_H
#define GMM_PORT_DEBUG_H

#include <linux/bug.h>
#include <linux/kernel.h>

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

#ifndef GMM_DEBUG
#define GMM_DEBUG 0
#endif
#ifndef GMM_STEPS
#define GMM_STEPS 0
#endif

#if GMM_DEBUG
#define gmm_assert(cond) BUG_ON(!(cond))
#define gmm_assert_may_sleep() gmm_port_assert_may_sleep()
#define gmm_debug_section_enter() gmm_port_debug_section_enter()
#define gmm_debug_section_exit() gmm_port_debug_section_exit()
#else
#define gmm_assert(cond) ((void)sizeof(!(cond)))
#define gmm_assert_may_sleep() ((void)0)
#define gmm_debug_section_enter() ((void)0)
#define gmm_debug_section_exit() ((void)0)
#endif

/* The ledger of locks and sections, port/kernel/debug.c; used by debug builds only. */
void gmm_port_assert_may_sleep(void);
void gmm_port_debug_section_enter(void);
void gmm_port_debug_section_exit(void);
void gmm_port_debug_lock_wanted(uint32_t rank, bool sleeps);
void gmm_port_debug_lock_taken(const void *lock, uint32_t rank, bool sleeps);
void gmm_port_debug_lock_dropped(const void *lock);
void gmm_port_debug_lock_held(const void *lock);
void gmm_port_debug_only_spinlock(const void *lock);
void gmm_port_debug_no_spinlock(void);

#endif
