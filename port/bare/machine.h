/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What port/bare needs from the machine it runs on, and what it does for it. bare/<machine>/ has
 * the machine's half.
 */
#ifndef GMM_BARE_MACHINE_H
#define GMM_BARE_MACHINE_H

#include <gmm_port/types.h>

#define BARE_CPUS_MAX 8u

/*
 * The machine's. None waits for another CPU; a CPU's number is below BARE_CPUS_MAX, and the CPU that
 * booted is 0.
 */
uint32_t bare_machine_cpu(void);
uint64_t bare_machine_time_ns(void); /* since some time before the start; does not go back */
void bare_machine_put(char letter);  /* on the serial port */
/* Makes that CPU call bare_interrupted() soon, also out of a guest or bare_machine_idle(). */
void bare_machine_interrupt(uint32_t cpu);
void bare_machine_interrupts(bool on); /* on this CPU */
/* Called with interrupts off: waits until there is one, and may leave it pending. */
void bare_machine_idle(void);
/* Ends the machine. */
void bare_machine_off(void) __attribute__((noreturn));

/*
 * The port's. Interrupts are on whenever a CPU is in its hands, so bare_interrupted() can be called
 * between any two instructions; it takes no lock.
 */
void bare_interrupted(void);
/* Every other CPU calls fn() out of bare_interrupted(), and has done so on return. fn may be NULL. */
void bare_call_others(void (*fn)(void));
/* This CPU can be interrupted from now on: a heavy barrier waits for it. */
void bare_cpu_online(void);
/* Memory for gmm_zalloc() and bare_pages_alloc(). Once, before either; page-aligned. */
void bare_memory_init(uintptr_t start, uintptr_t end);
/* Zeroed, aligned to `alignment` bytes, a power of two; NULL. Given back by bare_pages_free(). */
void *bare_pages_alloc(size_t size, size_t alignment);
void bare_pages_free(void *pages, size_t size);
void bare_put(const char *text);
/* Says why on the console, as TAP's bail-out, and ends the machine. */
void bare_stop(const char *why) __attribute__((noreturn));

#endif
