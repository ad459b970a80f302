/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_TRACE_H
#define GMM_PORT_TRACE_H

#define gmm_trace(name, ...) ((void)0)

#endif
