/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel/linux_uapi.h"

#include "../harness.h"

#define CPUID_ENTRIES 256

static void must(int result, const char *what)
{
	bench_must(result < 0 ? errno : 0, what);
}

void reference_vm_make(struct reference_vm *vm, bool write)
{
	struct kvm_enable_cap manual = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
					 .args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE } };
	struct kvm_enable_cap quirk = { .cap = KVM_CAP_DISABLE_QUIRKS2,
					.args = { KVM_X86_QUIRK_SLOT_ZAP_ALL } };

	*vm = (struct reference_vm){ .vcpu = { -1, -1 } };
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	must(vm->kvm, "opening /dev/kvm");
	vm->vm = TEMP_FAILURE_RETRY(ioctl(vm->kvm, KVM_CREATE_VM, 0));
	must(vm->vm, "KVM_CREATE_VM");
	must(ioctl(vm->vm, KVM_ENABLE_CAP, &manual), "manual clearing of the log");
	if (ioctl(vm->vm, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2) &
	    KVM_X86_QUIRK_SLOT_ZAP_ALL)
		must(ioctl(vm->vm, KVM_ENABLE_CAP, &quirk), "disabling a quirk");
	vm->low = mmap(NULL, TINY_LOW_BYTES, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (vm->low == MAP_FAILED)
		bench_broken("mapping memory");
	tiny_guest_fill(vm->low, write);
	reference_vm_slot(vm, 0, 0, vm->low, TINY_LOW_BYTES, false);
}

void reference_vm_slot(struct reference_vm *vm, uint32_t slot, uint64_t gpa, void *memory,
		       uint64_t bytes, bool logged)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = logged ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)memory,
	};

	must(ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void set_cpuid(const struct reference_vm *vm, int vcpu)
{
	struct kvm_cpuid2 *cpuid;

	cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2));
	if (!cpuid)
		bench_broken("memory for a CPUID");
	cpuid->nent = CPUID_ENTRIES;
	must(ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
	must(ioctl(vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
	free(cpuid);
}

/* Long mode, CPL 3, as accel/kvm/vcpu.c has it and for its reasons. */
static void set_registers(int vcpu, uint32_t index)
{
	struct kvm_segment code = { .limit = 0xffffffff,
				    .selector = 0x33,
				    .type = 11,
				    .present = 1,
				    .dpl = 3,
				    .s = 1,
				    .l = 1,
				    .g = 1 };
	struct kvm_segment data = code;
	struct kvm_segment task = {
		.base = TINY_TSS, .limit = 0xfff, .selector = 0x40, .type = 11, .present = 1
	};
	struct kvm_regs registers = { .rip = TINY_CODE,
				      .rsp = TINY_STACK(index) + 0x1000,
				      .rdi = TINY_PARAMETERS(index),
				      .rflags = 0x3002 };
	struct kvm_sregs special;

	data.selector = 0x2b;
	data.type = 3;
	data.l = 0;
	data.db = 1;
	must(ioctl(vcpu, KVM_GET_SREGS, &special), "KVM_GET_SREGS");
	special.cs = code;
	special.ds = special.es = special.fs = special.gs = special.ss = data;
	special.tr = task;
	special.idt.limit = 0;
	special.cr0 = 0x80000013;
	special.cr3 = TINY_PAGE_TABLES;
	special.cr4 = 0x20;
	special.efer = 0x500;
	must(ioctl(vcpu, KVM_SET_SREGS, &special), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &registers), "KVM_SET_REGS");
}

void reference_vm_add_vcpu(struct reference_vm *vm, uint32_t vcpu)
{
	int bytes = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	int made = ioctl(vm->vm, KVM_CREATE_VCPU, vcpu);

	must(made, "KVM_CREATE_VCPU");
	vm->vcpu[vcpu] = made;
	vm->run[vcpu] = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made, 0);
	if (vm->run[vcpu] == MAP_FAILED)
		bench_broken("mapping a vCPU");
	set_cpuid(vm, made);
	set_registers(made, vcpu);
}

void reference_vm_run(struct reference_vm *vm, uint32_t vcpu)
{
	const struct kvm_run *run = vm->run[vcpu];

	while (ioctl(vm->vcpu[vcpu], KVM_RUN, 0))
		if (errno != EINTR && errno != EAGAIN)
			must(-1, "KVM_RUN");
	if (run->exit_reason != KVM_EXIT_IO)
		bench_broken("the reference's guest");
}

void reference_vm_log_get(struct reference_vm *vm, uint32_t slot, uint64_t *words)
{
	struct kvm_dirty_log request = { .slot = slot, .dirty_bitmap = words };

	must(ioctl(vm->vm, KVM_GET_DIRTY_LOG, &request), "KVM_GET_DIRTY_LOG");
}

void reference_vm_log_clear(struct reference_vm *vm, uint32_t slot, uint64_t *words, uint64_t pages)
{
	struct kvm_clear_dirty_log request = { .slot = slot,
					       .num_pages = (uint32_t)pages,
					       .dirty_bitmap = words };

	must(ioctl(vm->vm, KVM_CLEAR_DIRTY_LOG, &request), "KVM_CLEAR_DIRTY_LOG");
}

void reference_vm_end(struct reference_vm *vm)
{
	int bytes = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	uint32_t i;

	for (i = 0; i < TINY_VCPUS; i++) {
		if (vm->vcpu[i] < 0)
			continue;
		munmap(vm->run[i], (size_t)bytes);
		close(vm->vcpu[i]);
	}
	close(vm->vm);
	close(vm->kvm);
	munmap(vm->low, TINY_LOW_BYTES);
}
