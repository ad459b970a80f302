/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Changing stacks. What a context is lies on its own stack, so it is saved and put back with it, and
 * no system call is made (swapcontext(3) makes one for the signal mask).
 */
#include <stdlib.h>
#include <string.h>

#include "sim_impl.h"

/* void sim_stack_switch(void **save, void *to): by the System V ABI, what the callee saves. */
void sim_stack_switch(void **save, void *to);

#if defined(__x86_64__)
__asm__(".text\n"
	".type sim_stack_switch, @function\n"
	"sim_stack_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size sim_stack_switch, . - sim_stack_switch\n");

#define SAVED_WORDS 6u

void sim_context_init(struct sim_context *context, void *stack, size_t size, void (*entry)(void))
{
	void **top = (void **)((char *)stack + size);

	/* At its first instruction a function finds the stack at a multiple of 16, less one word. */
	*--top = NULL;
	*--top = (void *)(uintptr_t)entry;
	top -= SAVED_WORDS;
	memset(top, 0, SAVED_WORDS * sizeof(*top));
	context->stack_pointer = top;
}
#elif defined(__aarch64__)
__asm__(".text\n"
	".type sim_stack_switch, %function\n"
	"sim_stack_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size sim_stack_switch, . - sim_stack_switch\n");

#define SAVED_BYTES 160u
#define RETURN_WORD 11u /* x30 */

void sim_context_init(struct sim_context *context, void *stack, size_t size, void (*entry)(void))
{
	void **top = (void **)((char *)stack + size - SAVED_BYTES);

	memset(top, 0, SAVED_BYTES);
	top[RETURN_WORD] = (void *)(uintptr_t)entry;
	context->stack_pointer = top;
}
#else
#error "sim_context.c needs sim_stack_switch() for this machine"
#endif

void sim_context_switch(struct sim_context *from, struct sim_context *to)
{
	sim_stack_switch(&from->stack_pointer, to->stack_pointer);
}
