/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "guest_impl.h"

void gmm_log(const struct gmm_guest *guest, enum gmm_log_level level, const char *text)
{
	gmm_trace(log, guest, level, text);
	if (guest->config.log)
		guest->config.log(guest->config.log_opaque, level, text);
}

void gmm_warn_once(struct gmm_guest *guest, enum gmm_warning warning, const char *text)
{
	if (!(gmm_fetch_or(&guest->warned, (uint32_t)warning) & (uint32_t)warning))
		gmm_log(guest, GMM_LOG_WARNING, text);
}
