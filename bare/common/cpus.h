/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The CPUs of a bare machine: each runs one function at a time, to its end. CPU 0 runs
 * bare_main().
 */
#ifndef GMM_BARE_CPUS_H
#define GMM_BARE_CPUS_H

#include "machine.h"

/* What the machine's start code calls, with a stack and nothing else; neither returns. */
void bare_start(void) __attribute__((noreturn));
void bare_start_other(void) __attribute__((noreturn));

/* The machine's, for this CPU: interrupts work, and are on, when it returns. */
void bare_machine_init(void);
/* The machine's: lets all other CPUs come to bare_start_other(). */
void bare_machine_start_others(void);
/* Where memory ends; it starts behind the image. */
extern const uintptr_t bare_machine_memory_end;

/* The image's. What it returns is not looked at. */
void bare_main(void);

/* CPUs that run, with CPU 0. */
uint32_t bare_cpu_count(void);
/* An idle CPU other than this one starts on fn(arg); its number, or 0 when all are busy. */
uint32_t bare_cpu_run(void (*fn)(void *arg), void *arg);
/* Waits until what bare_cpu_run() started there has returned; then it is idle again. */
void bare_cpu_join(uint32_t cpu);

#endif
