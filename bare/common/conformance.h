/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_BARE_CONFORMANCE_H
#define GMM_BARE_CONFORMANCE_H

#include "hypervisor.h"
#include "tap.h"

extern const struct gmm_test_case bare_conformance_one[]; /* one vCPU */
extern const struct gmm_test_case bare_conformance_two[]; /* one runs while CPU 0 changes tables */
extern const struct gmm_test_case bare_conformance_monitor[]; /* where monitors are kept */
extern const struct gmm_test_case bare_conformance_engine[];  /* its owner drives the table */
extern const struct gmm_test_case bare_conformance_guest[];   /* the engine drives the table */

/* Of the case that runs; made before it and destroyed after it. */
extern struct hypervisor hypervisor;

#endif
