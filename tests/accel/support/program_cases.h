/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Cases that hold for the guest program on every accelerator; each makes and ends its own guest. */
#ifndef TESTS_ACCEL_PROGRAM_CASES_H
#define TESTS_ACCEL_PROGRAM_CASES_H

#include "accel/accel.h"

void case_takes_over_and_verifies(const struct gmm_accel_ops *ops);
void case_shares_pages_between_vcpus(const struct gmm_accel_ops *ops);
void case_exchanges_buffers(const struct gmm_accel_ops *ops);
void case_names_a_lost_write(const struct gmm_accel_ops *ops);
void case_names_a_changed_untaken_page(const struct gmm_accel_ops *ops);
void case_names_device_faults(const struct gmm_accel_ops *ops);
void case_follows_the_frame(const struct gmm_accel_ops *ops);
void case_asks_when_the_ring_is_full(const struct gmm_accel_ops *ops);
void case_kick_returns(const struct gmm_accel_ops *ops);
void case_kick_before_entry(const struct gmm_accel_ops *ops);

#endif
