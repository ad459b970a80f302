/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_TRACE_H
#define GMM_PORT_TRACE_H

/*
 * Tracepoints that debuggers and tracers find in the binary (USDT), where their header is there at
 * build time. Each is one nop, and a note that says where its arguments are.
 */
#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#define SDT_USE_VARIADIC
#include <sys/sdt.h>
#define gmm_trace(name, ...) STAP_PROBEV(guestmm, name, __VA_ARGS__)
#endif
#endif

#ifndef gmm_trace
#define gmm_trace(name, ...) ((void)0)
#endif

#endif
