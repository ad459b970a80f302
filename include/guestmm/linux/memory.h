/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory that guests run on, in userspace: the implementations of guestmm/memory.h.
 *
 *   kind        flags                     what it is
 *   memfd       LAZY, EVICTABLE, AGEABLE  one memfd mapped twice: for vCPUs and for the engine
 *   anonymous   LAZY, EVICTABLE           private anonymous memory, one mapping for both
 *   plain       none                      one memfd mapped once, present and zero from the start
 *   hugetlb     none                      plain, of huge pages of 2 MiB
 *   secret      HOST_ONLY                 memfd_secret: the kernel itself has no mapping of it
 *   guest-memfd BY_FILE                   memory that belongs to a KVM virtual machine
 *   adopted     HOST_ONLY                 a memfd that another process runs its guest on
 *   device      HOST_ONLY                 memory of a device, or of any file that can be mapped
 *
 * docs/MEMORY.md has the whole matrix; gmm_memory_abilities() is the same.
 *
 * How a frame becomes a pointer (map() and unmap()): with the linear mapping the engine has all of
 * the memory mapped from the start to the end. With the mapping "in use" it has only what map() gave
 * out and unmap() has not taken back, so that a process can be made to read nothing but what it works
 * on; frames in any order become one range of addresses. Both calls are then system calls.
 *
 * Who may touch which mapping. The mapping of the vCPUs is theirs: it is where the accelerator
 * registers its userfaultfd. The engine's mapping of a memfd is only for the pointers that map()
 * gave out: a read of a hole through it would create a zero page. The operations here therefore
 * move contents by pread and pwrite on the memfd, which never create a page by reading, and a page
 * appears in it complete or not at all. The accelerator registers MISSING, MINOR and WP on the
 * vCPUs' mapping of a memfd (a page that is filled is then a MINOR fault until the second stage
 * maps it), MISSING and WP on anonymous memory.
 *
 * Anonymous memory cannot hold a page back from vCPUs: it is readable as soon as it is filled. It
 * is filled write-protected, so that the first write is still seen. A cache that writes to it must
 * have gone through the fault path for writing first, as for every memory; when the page is
 * protected again, the engine's own store waits for the fault to be served.
 */
#ifndef GUESTMM_LINUX_MEMORY_H
#define GUESTMM_LINUX_MEMORY_H

#include <guestmm/linux/source.h>
#include <guestmm/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

enum gmm_memory_kind {
	GMM_MEMORY_KIND_MEMFD,
	GMM_MEMORY_KIND_ANONYMOUS,
	GMM_MEMORY_KIND_PLAIN,
	GMM_MEMORY_KIND_HUGETLB,
	GMM_MEMORY_KIND_SECRET,
	GMM_MEMORY_KIND_GUEST_MEMFD,
	GMM_MEMORY_KIND_ADOPTED,
	GMM_MEMORY_KIND_DEVICE,
	GMM_MEMORY_KINDS,
};

enum gmm_memory_mapping {
	GMM_MEMORY_MAPPING_OF_KIND, /* in use for HOST_ONLY kinds, else linear */
	GMM_MEMORY_MAPPING_LINEAR,
	GMM_MEMORY_MAPPING_IN_USE,
};

/* What a kind can do: a set of bits. */
#define GMM_MEMORY_CAN_LAZY 1u	       /* pages may be absent and are filled at the first touch */
#define GMM_MEMORY_CAN_EVICT 2u	       /* resident pages can be written out and come back */
#define GMM_MEMORY_CAN_AGE 4u	       /* tells which pages were touched, also by reading */
#define GMM_MEMORY_CAN_RAM_KVM 8u      /* accel/kvm runs vCPUs on it */
#define GMM_MEMORY_CAN_RAM_PROCESS 16u /* accel/process does */
#define GMM_MEMORY_CAN_LOG_KVM 32u     /* a slot of it can log with accel/kvm: no write is missed */
#define GMM_MEMORY_CAN_LOG_PROCESS 64u /* with accel/process */
#define GMM_MEMORY_CAN_CACHE 128u      /* devices reach it through caches */
#define GMM_MEMORY_CAN_IN_USE 256u     /* has the mapping "in use" */
#define GMM_MEMORY_CAN_LINEAR 512u     /* has the linear mapping */
#define GMM_MEMORY_ABILITIES 10

struct gmm_memory;

struct gmm_memory_config {
	enum gmm_memory_kind kind;
	uint64_t page_count;
	uint32_t page_shift;
	/*
	 * Lazy kinds: what GMM_ORIGIN_SOURCE means; it is closed after the memory. Hugetlb, secret and
	 * guest-memfd are filled whole from it when they are made. Its size and page size must be the
	 * memory's. It stays the caller's. Without ops every page is zero. The other kinds have none.
	 */
	struct gmm_source source;
	/*
	 * Where the mapping for vCPUs has to be, when not NULL: a part of an address range that the
	 * caller has reserved (PROT_NONE), such as an accelerator's window. It is reserved again when
	 * the memory is closed.
	 */
	void *vcpu_address;
	/*
	 * Lazy kinds: the directory whose file system holds evicted pages, in a file without a
	 * name. NULL: $TMPDIR, else /var/tmp.
	 */
	const char *store_directory;
	enum gmm_memory_mapping mapping;
	/*
	 * Guest-memfd: what the accelerator made. Adopted: a memfd, open for reading and writing, at
	 * least fd_offset and page_count pages long and sealed against getting shorter; its pages
	 * are taken to be there, and a hole that is touched becomes a zero page. Device: any
	 * file that mmap can share. Duplicated: it stays the caller's. Page 0 of the memory is at
	 * fd_offset, a multiple of the page size (of the huge page size where the file has such).
	 */
	int fd;
	uint64_t fd_offset;
};

struct gmm_memory_counters {
	uint64_t resident_pages; /* now */
	uint64_t fills;		 /* calls that succeeded */
	uint64_t source_pages;	 /* pages filled, by where they came from */
	uint64_t zero_pages;
	uint64_t store_pages;
	uint64_t filled_bytes;
	uint64_t written_out_pages;
	uint64_t written_out_bytes;
	uint64_t discarded_pages; /* that were resident */
	uint64_t foreign_pages;	  /* anonymous: found present at fill */
	uint64_t references;	  /* now: frames resolved and not put */
	uint64_t mappings;	  /* now: map() without unmap() */
	/* Addresses at which the engine can reach the memory, in bytes: now, and at most so far. */
	uint64_t mapped_bytes;
	uint64_t most_mapped_bytes;
	uint64_t map_calls; /* of the system, mmap or munmap, for map() and unmap() */
};

/* As it is written on command lines: "guest-memfd". NULL: there is no such kind. Any context. */
GMM_API const char *gmm_memory_kind_name(enum gmm_memory_kind kind);

/* GMM_MEMORY_CAN_*, what the kind can do on a machine that has it; 0 for no kind. Any context. */
GMM_API uint32_t gmm_memory_abilities(enum gmm_memory_kind kind);

/*
 * Why the kind cannot do what the one bit `ability` stands for, as a part of a sentence; NULL when
 * it can, or when there is no such kind or ability. The memory itself refuses with these words. Any
 * context.
 */
GMM_API const char *gmm_memory_why_not(enum gmm_memory_kind kind, uint32_t ability);

/*
 * Makes a memory of page_count pages, none of them resident (kinds that are not lazy: all of them).
 * Returns 0 and *memory; on failure nothing is left behind and `text` holds one line with the way
 * out: -GMM_EINVAL (0 pages, too many, page size, a source, mapping or file that does not fit),
 * -GMM_ENOMEM (no address space, memory or huge pages), -GMM_ENOSYS (the kernel has no such memory),
 * -GMM_EIO (no memfd, no file for evicted pages, or the source cannot be read). May sleep.
 */
GMM_API int gmm_memory_create(const struct gmm_memory_config *config, struct gmm_memory **memory,
			      char *text, size_t text_size);

/* Unmaps and frees. No operation may be running; the userfaultfd must be detached or closed. */
GMM_API void gmm_memory_close(struct gmm_memory *memory);

/* The operations; their first argument is the memory itself. */
GMM_API const struct gmm_memory_ops *gmm_memory_ops_of(const struct gmm_memory *memory);

/*
 * Bytes, and the start of the two mappings (the same address where there is one). For HOST_ONLY
 * kinds the vCPUs' is a range of addresses that nobody can access; with the mapping "in use" there is
 * none of the engine (NULL).
 */
GMM_API uint64_t gmm_memory_size(const struct gmm_memory *memory);
GMM_API void *gmm_memory_vcpu_address(const struct gmm_memory *memory);
GMM_API void *gmm_memory_engine_address(const struct gmm_memory *memory);

/* The file, which stays the memory's, or -1 for anonymous memory. */
GMM_API int gmm_memory_fd(const struct gmm_memory *memory);

/*
 * Anonymous memory is filled through the userfaultfd with which its mapping is registered, MISSING
 * and WP, over its whole length. The descriptor stays the caller's; -1 detaches it. Until then fill
 * fails with -GMM_EIO. Threads that fill while it changes see the old or the new one. The thread
 * that reads this userfaultfd's events must not call discard when UFFD_FEATURE_EVENT_REMOVE is on:
 * discard waits for the event to be read. Does nothing for other kinds.
 */
GMM_API void gmm_memory_attach_userfault(struct gmm_memory *memory, int userfaultfd);

/* Values at one moment each, not all of the same moment. Any context. */
GMM_API void gmm_memory_read_counters(const struct gmm_memory *memory,
				      struct gmm_memory_counters *counters);

/* References that resolve() gave out for one page and put() has not taken back. For tests. */
GMM_API uint32_t gmm_memory_page_references(const struct gmm_memory *memory, uint64_t page);

/*
 * Writes the first failure of any operation as one line that names what failed and the way out, or
 * "" when there was none. Operations return an errno only; this says why. May sleep.
 */
GMM_API void gmm_memory_failure(struct gmm_memory *memory, char *text, size_t text_size);

#ifdef __cplusplus
}
#endif

#endif
