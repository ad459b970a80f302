/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What of Linux's UAPI is newer than Debian 12's headers (6.1), or than the oldest headers this is
 * built with; only what is used. Each with its origin.
 */
#ifndef GMM_ACCEL_LINUX_UAPI_H
#define GMM_ACCEL_LINUX_UAPI_H

#include <linux/ioctl.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>

/* include/uapi/linux/userfaultfd.h, Linux 5.19: write-protection of shmem and hugetlbfs. */
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif

/* include/uapi/linux/userfaultfd.h, Linux 6.4: UFFDIO_CONTINUE maps write-protected. */
#ifndef UFFDIO_CONTINUE_MODE_WP
#define UFFDIO_CONTINUE_MODE_WP ((__u64)1 << 1)
#endif

/* include/uapi/linux/userfaultfd.h, Linux 5.11: no faults of the kernel; allowed to everybody. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

/* include/uapi/linux/userfaultfd.h, Linux 6.1: ioctl of /dev/userfaultfd. */
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

/* include/uapi/linux/kvm.h, Linux 5.19 and 6.1. */
#ifndef KVM_CAP_DISABLE_QUIRKS2
#define KVM_CAP_DISABLE_QUIRKS2 213
#endif
#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL 223
#endif

/* include/uapi/linux/kvm.h, Linux 6.8: slots of guest_memfd. */
#ifndef KVM_CAP_USER_MEMORY2
#define KVM_CAP_USER_MEMORY2 231
#define KVM_MEM_GUEST_MEMFD (1u << 2)
struct kvm_userspace_memory_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#endif
#ifndef KVM_CAP_GUEST_MEMFD
#define KVM_CAP_GUEST_MEMFD 234
struct kvm_create_guest_memfd {
	__u64 size;
	__u64 flags;
	__u64 reserved[6];
};
#define KVM_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif
/* include/uapi/linux/kvm.h, Linux 6.18: guest_memfd that the host maps. */
#ifndef KVM_CAP_GUEST_MEMFD_FLAGS
#define KVM_CAP_GUEST_MEMFD_FLAGS 244
#endif
#ifndef GUEST_MEMFD_FLAG_MMAP
#define GUEST_MEMFD_FLAG_MMAP (1ull << 0)
#endif
#ifndef GUEST_MEMFD_FLAG_INIT_SHARED
#define GUEST_MEMFD_FLAG_INIT_SHARED (1ull << 1)
#endif

/* arch/x86/include/uapi/asm/kvm.h, Linux 6.12: deleting a slot zaps the whole second stage. */
#ifndef KVM_X86_QUIRK_SLOT_ZAP_ALL
#define KVM_X86_QUIRK_SLOT_ZAP_ALL (1 << 7)
#endif

#endif
