/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_DEBUG_H
#define GMM_PORT_DEBUG_H

#include <gmm_port/site.h>

/* The simulator always checks. */
#undef GMM_DEBUG
#define GMM_DEBUG 1
#undef GMM_STEPS
#define GMM_STEPS 1

void gmm_sim_assert_failed(const char *text, const struct gmm_sim_site *site)
	__attribute__((noreturn, cold));
void gmm_sim_assert_may_sleep(const struct gmm_sim_site *site);
void gmm_sim_section_enter(void);
void gmm_sim_section_exit(const struct gmm_sim_site *site);

#define gmm_assert(cond)                                                         \
	do {                                                                     \
		if (gmm_unlikely(!(cond)))                                       \
			gmm_sim_assert_failed(#cond, GMM_SIM_SITE("assertion")); \
	} while (0)
#define gmm_assert_may_sleep() gmm_sim_assert_may_sleep(GMM_SIM_SITE("may sleep"))
#define gmm_debug_section_enter() gmm_sim_section_enter()
#define gmm_debug_section_exit() gmm_sim_section_exit(GMM_SIM_SITE("section exit"))

#endif
