/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_DEBUG_H
#define GMM_PORT_DEBUG_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

#ifndef GMM_DEBUG
#define GMM_DEBUG 0
#endif
#ifndef GMM_STEPS
#define GMM_STEPS 0
#endif

/* Says what failed on the console and stops the machine. Called by debug builds only. */
void gmm_port_assert_failed(const char *text, const char *file, int line)
	__attribute__((noreturn, cold));

#if GMM_DEBUG
#define gmm_assert(cond)                                                   \
	do {                                                               \
		if (gmm_unlikely(!(cond)))                                 \
			gmm_port_assert_failed(#cond, __FILE__, __LINE__); \
	} while (0)
#define gmm_assert_may_sleep() gmm_port_assert_may_sleep(__FILE__, __LINE__)
#define gmm_debug_section_enter() gmm_port_debug_section_enter()
#define gmm_debug_section_exit() gmm_port_debug_section_exit()
#else
#define gmm_assert(cond) ((void)sizeof(!(cond)))
#define gmm_assert_may_sleep() ((void)0)
#define gmm_debug_section_enter() ((void)0)
#define gmm_debug_section_exit() ((void)0)
#endif

/* This CPU's ledger of locks and sections, in port/bare/debug.c; used by debug builds only. */
void gmm_port_assert_may_sleep(const char *file, int line);
void gmm_port_debug_section_enter(void);
void gmm_port_debug_section_exit(void);
void gmm_port_debug_lock_wanted(uint32_t rank, bool sleeps);
void gmm_port_debug_lock_taken(const void *lock, uint32_t rank, bool sleeps);
void gmm_port_debug_lock_dropped(const void *lock);
void gmm_port_debug_only_spinlock(const void *lock);
void gmm_port_debug_no_spinlock(void);

#endif
