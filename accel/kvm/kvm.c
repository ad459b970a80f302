/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* accel/kvm: the VM. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <guestmm/guest.h>
#include <guestmm/linux/userfault.h>

#include "kvm_impl.h"

#define RING_ENTRIES_DEFAULT 65536u
#define RING_ENTRIES_MIN 1024u

static int open_kvm(char *text)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm >= 0) {
		if (ioctl(kvm, KVM_GET_API_VERSION, 0) == KVM_API_VERSION)
			return kvm;
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "/dev/kvm has another version than %d: use --accel process",
			 KVM_API_VERSION);
		close(kvm);
		return -1;
	}
	if (errno == EACCES || errno == EPERM)
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "/dev/kvm is not accessible to this user: give access (group kvm, or run "
			 "as root), or use --accel process");
	else if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "/dev/kvm is missing: load the kvm module of this machine (in a VM: turn "
			 "nested virtualization on), or use --accel process");
	else
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "/dev/kvm cannot be opened (%s): use --accel process", strerror(errno));
	return -1;
}

/* What cannot be done without. */
static int check_capabilities(int kvm, char *text)
{
	static const struct {
		int number;
		const char *name;
	} needed[] = {
		{ KVM_CAP_USER_MEMORY, "user memory" },
		{ KVM_CAP_SYNC_MMU, "MMU notifiers" },
		{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
		{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "manual clearing of the dirty log" },
		{ KVM_CAP_READONLY_MEM, "read-only slots" },
	};
	size_t i;

	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ioctl(kvm, KVM_CHECK_EXTENSION, needed[i].number) > 0)
			continue;
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "KVM here has no %s: use Linux 5.4 or newer, or --accel process",
			 needed[i].name);
		return -GMM_ENOSYS;
	}
	return 0;
}

static int kvm_probe(char reason[GMM_ACCEL_TEXT_BYTES])
{
	int kvm = open_kvm(reason);
	int error;

	if (kvm < 0)
		return -GMM_ENOSYS;
	error = check_capabilities(kvm, reason);
	close(kvm);
	return error;
}

static int enable(int vm, uint32_t capability, uint64_t argument)
{
	struct kvm_enable_cap request = { .cap = capability, .args = { argument } };

	return ioctl(vm, KVM_ENABLE_CAP, &request);
}

static int enable_ring(struct gmm_accel *accel, char *text)
{
	uint32_t capability = KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
	uint32_t entries = accel->config.dirty_ring_entries;
	int most = ioctl(accel->vm, KVM_CHECK_EXTENSION, capability);

	if (most <= 0) {
		capability = KVM_CAP_DIRTY_LOG_RING;
		most = ioctl(accel->vm, KVM_CHECK_EXTENSION, capability);
	}
	if (most <= 0) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "KVM here has no dirty ring: use Linux 5.11 or newer, or --dirty bitmap");
		return -GMM_ENOSYS;
	}
	most /= (int)sizeof(struct kvm_dirty_gfn);
	if (!entries)
		entries = (uint32_t)most < RING_ENTRIES_DEFAULT ? (uint32_t)most :
								  RING_ENTRIES_DEFAULT;
	if (entries & (entries - 1) || entries < RING_ENTRIES_MIN || entries > (uint32_t)most) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "a dirty ring of %u entries is refused: give a power of two from %u to %d",
			 entries, RING_ENTRIES_MIN, most);
		return -GMM_EINVAL;
	}
	if (enable(accel->vm, capability, (uint64_t)entries * sizeof(struct kvm_dirty_gfn))) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "KVM refuses a dirty ring of %u entries (%s): use --dirty bitmap", entries,
			 strerror(errno));
		return -GMM_EIO;
	}
	accel->ring_entries = entries;
	return 0;
}

static int create_slots(struct gmm_accel *accel, char *text)
{
	struct gmm_kvm_slots_config config = {
		.vm = accel->vm,
		.userfault = accel->config.userfault,
		.gpa_bytes = accel->config.gpa_bytes,
		.ring_entries = accel->ring_entries,
	};
	int error = gmm_kvm_slots_create(&config, &accel->slots);

	if (error) {
		accel->slots = NULL;
		snprintf(text, GMM_ACCEL_TEXT_BYTES, "%s",
			 error == -GMM_ENOSYS ?
				 "KVM refuses manual clearing of the dirty log: use --accel "
				 "process" :
				 "out of memory for the table of slots");
	}
	return error;
}

static int configure(struct gmm_accel *accel, char *text)
{
	int error = 0;

	if (accel->config.dirty == GMM_ACCEL_DIRTY_RING)
		error = enable_ring(accel, text);
	return error ? error : create_slots(accel, text);
}

static void kvm_destroy(struct gmm_accel *accel)
{
	if (accel->vm >= 0)
		close(accel->vm);
	if (accel->kvm >= 0)
		close(accel->kvm);
	if (accel->slots)
		gmm_kvm_slots_destroy(accel->slots);
	free(accel);
}

static int open_vm(struct gmm_accel *accel, char *text)
{
	int run_bytes, error;

	accel->kvm = open_kvm(text);
	if (accel->kvm < 0)
		return -GMM_ENOSYS;
	error = check_capabilities(accel->kvm, text);
	if (error)
		return error;
	/* Linux interrupts it where a task has work pending, also without a signal. */
	do
		accel->vm = ioctl(accel->kvm, KVM_CREATE_VM, 0);
	while (accel->vm < 0 && errno == EINTR);
	run_bytes = ioctl(accel->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (accel->vm < 0 || run_bytes <= 0) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "KVM cannot create a virtual machine (%s): use --accel process",
			 strerror(errno));
		return -GMM_EIO;
	}
	accel->run_bytes = (size_t)run_bytes;
	return configure(accel, text);
}

static int kvm_create(const struct gmm_accel_config *config, struct gmm_accel **accel,
		      char text[GMM_ACCEL_TEXT_BYTES])
{
	struct gmm_accel *made;
	int error;

	if (config->vcpus < 1 || config->vcpus > GUEST_VCPUS_MAX) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES, "%u vCPUs are refused: give 1 to %u",
			 config->vcpus, GUEST_VCPUS_MAX);
		return -GMM_EINVAL;
	}
	if (config->userfault &&
	    !(gmm_userfault_abilities(config->userfault) & GMM_USERFAULT_KERNEL)) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "this userfaultfd does not get KVM's faults: run as root (CAP_SYS_PTRACE) "
			 "or set vm.unprivileged_userfaultfd=1");
		return -GMM_EINVAL;
	}
	made = calloc(1, sizeof(*made));
	if (!made) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES, "out of memory");
		return -GMM_ENOMEM;
	}
	made->config = *config;
	made->kvm = -1;
	made->vm = -1;
	error = open_vm(made, text);
	if (error) {
		kvm_destroy(made);
		return error;
	}
	*accel = made;
	return 0;
}

static void kvm_stage2(struct gmm_accel *accel, struct gmm_accel_stage2 *stage2)
{
	stage2->ops = gmm_kvm_slots_ops(accel->slots);
	stage2->owner = accel->slots;
	stage2->live = gmm_kvm_slots_live(accel->slots);
}

static int kvm_guest_memfd(struct gmm_accel *accel, uint64_t bytes, int *descriptor,
			   char text[GMM_ACCEL_TEXT_BYTES])
{
	struct kvm_create_guest_memfd request = {
		.size = bytes,
		.flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED,
	};
	int flags = ioctl(accel->vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS);

	if (ioctl(accel->vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY2) <= 0 || flags < 0 ||
	    ((uint64_t)flags & request.flags) != request.flags) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "KVM here has no guest_memfd that the host can map: use Linux 6.18 or "
			 "newer, or another kind of memory");
		return -GMM_ENOSYS;
	}
	*descriptor = ioctl(accel->vm, KVM_CREATE_GUEST_MEMFD, &request);
	if (*descriptor >= 0)
		return 0;
	snprintf(text, GMM_ACCEL_TEXT_BYTES,
		 "KVM refuses a guest_memfd of %llu bytes (%s): use another kind of memory",
		 (unsigned long long)bytes, strerror(errno));
	return errno == EINVAL ? -GMM_EINVAL : -GMM_EIO;
}

static void *kvm_vcpu_address(struct gmm_accel *accel, gmm_gpa_t gpa, uint64_t bytes)
{
	return NULL;
}

static void kvm_vcpu_address_release(struct gmm_accel *accel, void *address, uint64_t bytes)
{
}

static uint64_t kvm_ring_entries(const struct gmm_accel *accel)
{
	return gmm_kvm_slots_ring_entries(accel->slots);
}

const struct gmm_accel_ops gmm_accel_kvm = {
	.name = "kvm",
	.probe = kvm_probe,
	.create = kvm_create,
	.destroy = kvm_destroy,
	.stage2 = kvm_stage2,
	.ring_entries = kvm_ring_entries,
	.guest_memfd = kvm_guest_memfd,
	.vcpu_address = kvm_vcpu_address,
	.vcpu_address_release = kvm_vcpu_address_release,
	.vcpu_create = kvm_vcpu_create,
	.vcpu_destroy = kvm_vcpu_destroy,
	.vcpu_set_frame = kvm_vcpu_set_frame,
	.vcpu_run = kvm_vcpu_run,
	.vcpu_kick = kvm_vcpu_kick,
};
