/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "crash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "sim.h"

#define STACK_BYTES (64u << 10)
#define NULL_BYTES 4096u /* members of what a null pointer points to */

static uintptr_t code_of(const ucontext_t *context)
{
#if defined(__x86_64__)
	return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return (uintptr_t)context->uc_mcontext.pc;
#else
	return 0;
#endif
}

/* The handler is left by a change of stacks: nothing is blocked in it, so that the next one comes. */
static void crashed(int number, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr;
	char touched[80];

	if (info->si_code == SI_KERNEL)
		snprintf(touched, sizeof(touched), "an address that no memory has");
	else if (address < NULL_BYTES)
		snprintf(touched, sizeof(touched), "what a null pointer points to");
	else
		snprintf(touched, sizeof(touched), "%#lx, where nothing is",
			 (unsigned long)address);
	gmm_sim_crashed(number == SIGBUS ? "SIGBUS" : "SIGSEGV", touched, code_of(context));
	signal(number, SIG_DFL);
}

void explore_catch_crashes(void)
{
	struct sigaction action = { .sa_sigaction = crashed,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	stack_t stack = { .ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES };

	sigemptyset(&action.sa_mask);
	if (!stack.ss_sp || sigaltstack(&stack, NULL) || sigaction(SIGSEGV, &action, NULL) ||
	    sigaction(SIGBUS, &action, NULL)) {
		perror("gmm-explore: signals");
		exit(2);
	}
}
