/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* accel/kvm: vCPUs at CPL 3 in long mode, and how they are kicked. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kvm_impl.h"

/* The kernel's signal set, which is shorter than the C library's. */
#define KERNEL_SIGSET_BYTES 8
#define CPUID_ENTRIES_MAX 256

#define CR0_PE 0x1ull
#define CR0_MP 0x2ull
#define CR0_ET 0x10ull
#define CR0_PG 0x80000000ull
#define CR4_PAE 0x20ull
#define EFER_LME 0x100ull
#define EFER_LMA 0x400ull
#define RFLAGS_FIXED 0x2ull
#define RFLAGS_IOPL3 0x3000ull /* the program writes its exit code to a port at CPL 3 */

static void kick_signal_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, GMM_ACCEL_KICK_SIGNAL);
}

/* Takes a pending kick signal of this thread. */
static bool kick_signal_take(void)
{
	struct timespec now = { 0 };
	sigset_t set;
	bool taken = false;

	kick_signal_set(&set);
	while (sigtimedwait(&set, NULL, &now) >= 0)
		taken = true;
	return taken;
}

/* Blocks the kick signal in this thread, and lets it in only while KVM_RUN runs (W8). */
static int set_signal_mask(struct gmm_accel_vcpu *vcpu)
{
	union {
		struct kvm_signal_mask mask;
		uint8_t room[sizeof(struct kvm_signal_mask) + KERNEL_SIGSET_BYTES];
	} request = { .mask = { .len = KERNEL_SIGSET_BYTES } };
	sigset_t kick, while_running;

	kick_signal_set(&kick);
	if (pthread_sigmask(SIG_BLOCK, &kick, NULL) ||
	    pthread_sigmask(SIG_BLOCK, NULL, &while_running))
		return -1;
	sigdelset(&while_running, GMM_ACCEL_KICK_SIGNAL);
	memcpy(request.room + offsetof(struct kvm_signal_mask, sigset), &while_running,
	       KERNEL_SIGSET_BYTES);
	return ioctl(vcpu->descriptor, KVM_SET_SIGNAL_MASK, &request);
}

static int set_cpuid(struct gmm_accel_vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuid;
	int result;

	cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
	if (!cpuid)
		return -1;
	cpuid->nent = CPUID_ENTRIES_MAX;
	result = ioctl(vcpu->accel->kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
	if (result == 0)
		result = ioctl(vcpu->descriptor, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	return result;
}

/* Long mode at CPL 3: such code runs at full speed also where KVM emulates CPL 0. No IDT. */
static int set_registers(struct gmm_accel_vcpu *vcpu)
{
	struct kvm_segment code = {
		.limit = 0xffffffff,
		.selector = 0x33,
		.type = 11,
		.present = 1,
		.dpl = 3,
		.s = 1,
		.l = 1,
		.g = 1,
	};
	struct kvm_segment data = code;
	/*
	 * A software KVM does not keep IOPL, and then looks for the port in the task state segment.
	 */
	struct kvm_segment task = {
		.base = vcpu->start.tss_gpa,
		.limit = GUEST_PAGE_BYTES - 1,
		.selector = 0x40,
		.type = 11,
		.present = 1,
	};
	struct kvm_regs registers = {
		.rip = vcpu->start.entry_gpa,
		.rsp = vcpu->start.stack_gpa,
		.rdi = vcpu->start.cpu_gpa,
		.rflags = RFLAGS_FIXED | RFLAGS_IOPL3,
	};
	struct kvm_sregs special;

	data.selector = 0x2b;
	data.type = 3;
	data.l = 0;
	data.db = 1;
	if (ioctl(vcpu->descriptor, KVM_GET_SREGS, &special))
		return -1;
	special.cs = code;
	special.ds = special.es = special.fs = special.gs = special.ss = data;
	special.tr = task;
	/* Any exception ends the program; at reset the table would be the guest's memory at 0. */
	special.idt.limit = 0;
	special.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_PG;
	special.cr3 = vcpu->start.page_table_gpa;
	special.cr4 = CR4_PAE;
	special.efer = EFER_LME | EFER_LMA;
	if (ioctl(vcpu->descriptor, KVM_SET_SREGS, &special))
		return -1;
	return ioctl(vcpu->descriptor, KVM_SET_REGS, &registers);
}

static int open_vcpu(struct gmm_accel_vcpu *vcpu, const char **what)
{
	void *run;

	*what = "create it";
	vcpu->descriptor = ioctl(vcpu->accel->vm, KVM_CREATE_VCPU, vcpu->start.index);
	if (vcpu->descriptor < 0)
		return -1;
	*what = "map its state";
	run = mmap(NULL, vcpu->accel->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu->descriptor, 0);
	if (run == MAP_FAILED)
		return -1;
	vcpu->run = run;
	*what = "map its dirty ring";
	if (gmm_kvm_slots_vcpu_add(vcpu->accel->slots, vcpu->descriptor))
		return -1;
	*what = "set its CPUID";
	if (set_cpuid(vcpu))
		return -1;
	*what = "set its registers";
	if (set_registers(vcpu))
		return -1;
	*what = "set its signal mask";
	return set_signal_mask(vcpu);
}

int kvm_vcpu_create(struct gmm_accel *accel, const struct gmm_accel_vcpu_start *start,
		    struct gmm_accel_vcpu **vcpu, char text[GMM_ACCEL_TEXT_BYTES])
{
	struct gmm_accel_vcpu *made;
	const char *what = "allocate it";

	if (start->index >= accel->config.vcpus) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES, "vCPU %u is not one of %u", start->index,
			 accel->config.vcpus);
		return -GMM_EINVAL;
	}
	made = calloc(1, sizeof(*made));
	if (made) {
		made->accel = accel;
		made->start = *start;
		made->descriptor = -1;
		made->thread = (pid_t)syscall(SYS_gettid);
	}
	if (!made || open_vcpu(made, &what)) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "KVM: vCPU %u: cannot %s (%s): use fewer vCPUs or --accel process",
			 start->index, what, strerror(errno));
		if (made)
			kvm_vcpu_destroy(made);
		return -GMM_EIO;
	}
	*vcpu = made;
	return 0;
}

void kvm_vcpu_destroy(struct gmm_accel_vcpu *vcpu)
{
	struct gmm_accel *accel = vcpu->accel;

	if (vcpu->descriptor >= 0)
		gmm_kvm_slots_vcpu_remove(accel->slots, vcpu->descriptor);
	if (vcpu->run)
		munmap(vcpu->run, accel->run_bytes);
	if (vcpu->descriptor >= 0)
		close(vcpu->descriptor);
	kick_signal_take();
	free(vcpu);
}

/*
 * KVM completes an access to a port or to MMIO at the next entry; without it RIP would be wrong. An
 * instruction may make several: it reads and writes, copies, or crosses a page. Then completing one
 * is at once the exit of the next, and the call answers 0; else it is EINTR. False: there is such an
 * exit, which somebody has to be told of first.
 */
static bool finish_exit(struct gmm_accel_vcpu *vcpu)
{
	if (vcpu->unfinished && !vcpu->has_exit) {
		vcpu->run->immediate_exit = 1;
		vcpu->has_exit = ioctl(vcpu->descriptor, KVM_RUN, 0) == 0;
		vcpu->run->immediate_exit = 0;
		vcpu->unfinished = false;
	}
	return !vcpu->has_exit;
}

/* At a moment between two instructions, which may have to be waited for. */
static int apply_frame(struct gmm_accel_vcpu *vcpu)
{
	struct kvm_regs registers;

	if (!finish_exit(vcpu))
		return 0;
	if (ioctl(vcpu->descriptor, KVM_GET_REGS, &registers))
		return -GMM_EIO;
	if (registers.rip >= vcpu->start.frame_restart_gpa &&
	    registers.rip < vcpu->start.frame_commit_gpa) {
		registers.rip = vcpu->start.frame_restart_gpa;
		if (ioctl(vcpu->descriptor, KVM_SET_REGS, &registers))
			return -GMM_EIO;
	}
	__atomic_store_n(&vcpu->start.mailbox->frame_number, vcpu->frame_number, __ATOMIC_RELAXED);
	vcpu->frame_due = false;
	return 0;
}

int kvm_vcpu_set_frame(struct gmm_accel_vcpu *vcpu, uint64_t frame_number)
{
	vcpu->frame_number = frame_number;
	vcpu->frame_due = __atomic_load_n(&vcpu->start.mailbox->frame_number, __ATOMIC_RELAXED) !=
			  frame_number;
	return vcpu->frame_due ? apply_frame(vcpu) : 0;
}

static bool take_kick(struct gmm_accel_vcpu *vcpu)
{
	if (!kick_signal_take())
		return false;
	/* After the signal: a kick from here on sends another. */
	__atomic_exchange_n(&vcpu->kicked, 0, __ATOMIC_SEQ_CST);
	return true;
}

static void error_exit(struct gmm_accel_vcpu *vcpu, struct gmm_accel_exit *exit,
		       enum gmm_accel_exit_kind kind, const char *what, uint64_t number)
{
	struct kvm_regs registers = { 0 };

	ioctl(vcpu->descriptor, KVM_GET_REGS, &registers);
	exit->kind = kind;
	snprintf(exit->text, sizeof(exit->text),
		 "KVM: vCPU %u: %s (%llu) at program address %#llx + %#llx", vcpu->start.index,
		 what, (unsigned long long)number, (unsigned long long)vcpu->start.entry_gpa,
		 (unsigned long long)(registers.rip - vcpu->start.entry_gpa));
}

static void port_exit(struct gmm_accel_vcpu *vcpu, struct gmm_accel_exit *exit)
{
	struct kvm_run *run = vcpu->run;

	vcpu->unfinished = true;
	if (run->io.direction != KVM_EXIT_IO_OUT || run->io.port != GUEST_EXIT_PORT ||
	    run->io.size != 1) {
		error_exit(vcpu, exit, GMM_ACCEL_EXIT_SHUTDOWN, "the program used port",
			   run->io.port);
		return;
	}
	exit->kind = GMM_ACCEL_EXIT_GUEST;
	exit->code = *((uint8_t *)run + run->io.data_offset);
}

static void mmio_exit(struct gmm_accel_vcpu *vcpu, struct gmm_accel_exit *exit)
{
	struct kvm_run *run = vcpu->run;

	vcpu->unfinished = true;
	exit->kind = GMM_ACCEL_EXIT_MMIO;
	exit->mmio.gpa = run->mmio.phys_addr;
	exit->mmio.length = run->mmio.len;
	exit->mmio.is_write = run->mmio.is_write;
	exit->mmio.data = run->mmio.data;
}

/* Returns false when the vCPU has to run on. */
static bool handle_exit(struct gmm_accel_vcpu *vcpu, struct gmm_accel_exit *exit)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		port_exit(vcpu, exit);
		return true;
	case KVM_EXIT_MMIO:
		mmio_exit(vcpu, exit);
		return true;
	case KVM_EXIT_DIRTY_RING_FULL:
		if (!gmm_kvm_slots_harvest_rings(vcpu->accel->slots))
			return false;
		error_exit(vcpu, exit, GMM_ACCEL_EXIT_ERROR, "its dirty ring cannot be reset", 0);
		return true;
	case KVM_EXIT_SHUTDOWN:
		error_exit(vcpu, exit, GMM_ACCEL_EXIT_SHUTDOWN, "the program crashed", 0);
		return true;
	case KVM_EXIT_FAIL_ENTRY:
		error_exit(vcpu, exit, GMM_ACCEL_EXIT_ERROR, "the processor refused to enter",
			   run->fail_entry.hardware_entry_failure_reason);
		return true;
	case KVM_EXIT_INTERNAL_ERROR:
		error_exit(vcpu, exit, GMM_ACCEL_EXIT_ERROR, "internal error",
			   run->internal.suberror);
		return true;
	default:
		error_exit(vcpu, exit, GMM_ACCEL_EXIT_ERROR, "unexpected exit", run->exit_reason);
		return true;
	}
}

/* Returns 0 with the next exit in vcpu->run, or errno. */
static int next_exit(struct gmm_accel_vcpu *vcpu)
{
	int error;

	if (vcpu->frame_due && apply_frame(vcpu))
		return EIO;
	if (vcpu->has_exit) {
		vcpu->has_exit = false;
		return 0;
	}
	error = ioctl(vcpu->descriptor, KVM_RUN, 0) ? errno : 0;
	/* Completed before signals are looked at. */
	vcpu->unfinished = false;
	return error;
}

void kvm_vcpu_run(struct gmm_accel_vcpu *vcpu, struct gmm_accel_exit *exit)
{
	int error;

	memset(exit, 0, sizeof(*exit));
	for (;;) {
		error = next_exit(vcpu);
		if (error == EINTR) {
			if (!take_kick(vcpu))
				continue;
			exit->kind = GMM_ACCEL_EXIT_KICKED;
			return;
		}
		if (error == EAGAIN)
			continue;
		if (error) {
			error_exit(vcpu, exit,
				   error == EFAULT ? GMM_ACCEL_EXIT_MEMORY : GMM_ACCEL_EXIT_ERROR,
				   strerror(error), (uint64_t)error);
			return;
		}
		if (handle_exit(vcpu, exit))
			return;
	}
}

void kvm_vcpu_kick(struct gmm_accel_vcpu *vcpu)
{
	if (__atomic_exchange_n(&vcpu->kicked, 1, __ATOMIC_SEQ_CST) == 0)
		syscall(SYS_tgkill, getpid(), vcpu->thread, GMM_ACCEL_KICK_SIGNAL);
}
