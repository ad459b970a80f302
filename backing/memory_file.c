/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The file behind a memory: made here, or given by the caller and checked. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "memory_impl.h"

#define HUGE_SHIFT 21u
#define HUGE_BYTES (1ull << HUGE_SHIFT)
#define HUGE_COUNTS "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static unsigned long long size_of(const struct gmm_memory *memory)
{
	return (unsigned long long)gmm_memory_size(memory);
}

static int give_size(struct gmm_memory *memory, char *text, size_t text_size)
{
	char reason[128];

	if (ftruncate(memory->memfd, (off_t)gmm_memory_size(memory)) == 0)
		return 0;
	return gmm_refuse(text, text_size, -GMM_EIO,
			  "memory: no memfd of %llu bytes (%s): raise ulimit -f, or take less",
			  size_of(memory), gmm_errno_text(errno, reason, sizeof(reason)));
}

/* So that who is given the descriptor need not fear that the memory ends earlier one day. */
static int seal_size(struct gmm_memory *memory)
{
	return fcntl(memory->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
}

static int open_memfd(struct gmm_memory *memory, char *text, size_t text_size)
{
	char reason[128];
	int err;

	memory->memfd = memfd_create("guestmm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memory->memfd < 0)
		return gmm_refuse(text, text_size, -GMM_EIO,
				  "memory: no memfd (%s): raise ulimit -n, or use another kind",
				  gmm_errno_text(errno, reason, sizeof(reason)));
	err = give_size(memory, text, text_size);
	if (err == 0)
		seal_size(memory);
	return err;
}

static unsigned long long huge_count(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned long long count = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%llu", &count) != 1)
		count = 0;
	fclose(file);
	return count;
}

static int refuse_huge(const struct gmm_memory *memory, char *text, size_t text_size)
{
	unsigned long long needed = size_of(memory) >> HUGE_SHIFT;
	unsigned long long free_pages = huge_count(HUGE_COUNTS "free_hugepages");
	unsigned long long reserved = huge_count(HUGE_COUNTS "resv_hugepages");

	return gmm_refuse(text, text_size, -GMM_ENOMEM,
			  "hugetlb memory: %llu huge pages of 2 MiB are needed, %llu are free: "
			  "reserve more (as root: sysctl vm.nr_hugepages=N), or use another kind",
			  needed, free_pages > reserved ? free_pages - reserved : 0);
}

static int open_hugetlb(struct gmm_memory *memory, const void *vcpu_address, char *text,
			size_t text_size)
{
	char reason[128];
	int result;

	if ((uintptr_t)vcpu_address % HUGE_BYTES)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"hugetlb memory at %p: give an address that is a multiple of 2 MiB",
			vcpu_address);

	if (gmm_memory_size(memory) % HUGE_BYTES)
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "hugetlb memory of %llu bytes: give a multiple of 2 MiB",
				  size_of(memory));
	memory->granule_shift = HUGE_SHIFT;
	memory->memfd = memfd_create("guestmm",
				     MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_2MB);
	if (memory->memfd < 0 && (errno == ENODEV || errno == EINVAL || errno == ENOSYS))
		return gmm_refuse(text, text_size, -GMM_ENOSYS,
				  "hugetlb memory: this kernel has no huge pages of 2 MiB: use "
				  "another kind");
	if (memory->memfd < 0)
		return gmm_refuse(text, text_size, -GMM_EIO,
				  "hugetlb memory: no memfd (%s): raise ulimit -n, or use another "
				  "kind",
				  gmm_errno_text(errno, reason, sizeof(reason)));
	if (give_size(memory, text, text_size) != 0)
		return -GMM_EIO;
	do {
		result = fallocate(memory->memfd, 0, 0, (off_t)gmm_memory_size(memory));
	} while (result != 0 && errno == EINTR);
	if (result != 0)
		return refuse_huge(memory, text, text_size);
	seal_size(memory);
	return 0;
}

/* It counts as locked memory when it is mapped, and only then is refused. */
static int try_locked_page(const struct gmm_memory *memory, char *text, size_t text_size)
{
	size_t bytes = gmm_memory_page_size(memory);
	char reason[128];
	void *mapping = mmap(NULL, bytes, PROT_READ, MAP_SHARED, memory->memfd, 0);

	if (mapping == MAP_FAILED)
		return gmm_refuse(
			text, text_size, -GMM_ENOMEM,
			"secret memory: no page of it can be locked (%s): raise ulimit -l, "
			"or use another kind",
			gmm_errno_text(errno, reason, sizeof(reason)));
	munmap(mapping, bytes);
	return 0;
}

static int open_secret(struct gmm_memory *memory, char *text, size_t text_size)
{
	char reason[128];

#ifdef SYS_memfd_secret
	memory->memfd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
#else
	errno = ENOSYS;
#endif
	if (memory->memfd < 0 && errno == ENOSYS)
		return gmm_refuse(
			text, text_size, -GMM_ENOSYS,
			"secret memory: this kernel has no memfd_secret: boot Linux 5.14 or "
			"newer with secretmem.enable=1, or use another kind");
	if (memory->memfd < 0)
		return gmm_refuse(text, text_size, -GMM_EIO,
				  "secret memory: no memfd_secret (%s): raise ulimit -n, or use "
				  "another kind",
				  gmm_errno_text(errno, reason, sizeof(reason)));
	if (give_size(memory, text, text_size) != 0)
		return -GMM_EIO;
	return try_locked_page(memory, text, text_size);
}

static int check_end(const struct gmm_memory *memory, const struct stat *info, char *text,
		     size_t text_size)
{
	uint64_t have = (uint64_t)info->st_size;

	if (have >= memory->file_offset && have - memory->file_offset >= gmm_memory_size(memory))
		return 0;
	return gmm_refuse(
		text, text_size, -GMM_EINVAL,
		"%s memory: the file has %llu bytes and ends before %llu + %llu: give the "
		"offset and size that its owner told",
		memory->ops->name, (unsigned long long)have,
		(unsigned long long)memory->file_offset, size_of(memory));
}

static int check_seals(int fd, char *text, size_t text_size)
{
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"adopted memory: the file is no memfd: give the guest's memfd, or "
			"use the kind device");
	if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"adopted memory: the memfd is sealed against writing: let its owner "
			"leave F_SEAL_WRITE out");
	if (!(seals & F_SEAL_SHRINK))
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"adopted memory: the memfd may get shorter, and an access would then "
			"be a SIGBUS: let its owner add F_SEAL_SHRINK");
	return 0;
}

static int check_adopted(struct gmm_memory *memory, int fd, char *text, size_t text_size)
{
	struct statfs system;
	struct stat info;
	int err = check_seals(fd, text, text_size);

	if (err == 0 && (fstat(fd, &info) != 0 || fstatfs(fd, &system) != 0))
		err = gmm_refuse(text, text_size, -GMM_EIO,
				 "adopted memory: the memfd cannot be looked at");
	if (err != 0)
		return err;
	if (system.f_type == HUGETLBFS_MAGIC)
		memory->granule_shift = (uint32_t)__builtin_ctzl((unsigned long)system.f_bsize);
	return check_end(memory, &info, text, text_size);
}

static int check_device(const struct gmm_memory *memory, int fd, char *text, size_t text_size)
{
	struct stat info;

	if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
		return check_end(memory, &info, text, text_size);
	return 0;
}

static int check_access(const struct gmm_memory *memory, int fd, char *text, size_t text_size)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s memory: %d is no open file: give one", memory->ops->name, fd);
	if ((flags & O_ACCMODE) != O_RDWR)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"%s memory: the file is not open for reading and writing: open it so",
			memory->ops->name);
	return 0;
}

/* Maps the last page for a moment: later, map() would be the first to know that this cannot be. */
static int try_mapping(const struct gmm_memory *memory, char *text, size_t text_size)
{
	uint64_t bytes = 1ull << memory->granule_shift;
	uint64_t mask = bytes - 1;
	uint64_t end = (memory->file_offset + gmm_memory_size(memory) + mask) & ~mask;
	char reason[128];
	void *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			     memory->memfd, (off_t)(end - bytes));

	if (mapping == MAP_FAILED)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"%s memory: the file cannot be mapped (%s): give one that mmap can "
			"share, and an end within it",
			memory->ops->name, gmm_errno_text(errno, reason, sizeof(reason)));
	munmap(mapping, bytes);
	return 0;
}

static int adopt_file(struct gmm_memory *memory, int fd, char *text, size_t text_size)
{
	int err = check_access(memory, fd, text, text_size);

	if (err == 0 && memory->kind == GMM_MEMORY_KIND_ADOPTED)
		err = check_adopted(memory, fd, text, text_size);
	if (err == 0 && memory->kind == GMM_MEMORY_KIND_DEVICE)
		err = check_device(memory, fd, text, text_size);
	if (err != 0)
		return err;
	if (memory->file_offset % (1ull << memory->granule_shift))
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s memory at offset %llu: give a multiple of %llu bytes",
				  memory->ops->name, (unsigned long long)memory->file_offset,
				  1ull << memory->granule_shift);
	memory->memfd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (memory->memfd < 0)
		return gmm_refuse(text, text_size, -GMM_EIO,
				  "%s memory: no file descriptor: raise ulimit -n",
				  memory->ops->name);
	return try_mapping(memory, text, text_size);
}

int gmm_memory_open_file(struct gmm_memory *memory, const struct gmm_memory_config *config,
			 char *text, size_t text_size)
{
	memory->granule_shift = memory->page_shift;
	switch (memory->kind) {
	case GMM_MEMORY_KIND_ANONYMOUS:
		return 0;
	case GMM_MEMORY_KIND_HUGETLB:
		return open_hugetlb(memory, config->vcpu_address, text, text_size);
	case GMM_MEMORY_KIND_SECRET:
		return open_secret(memory, text, text_size);
	case GMM_MEMORY_KIND_GUEST_MEMFD:
	case GMM_MEMORY_KIND_ADOPTED:
	case GMM_MEMORY_KIND_DEVICE:
		memory->file_offset = config->fd_offset;
		return adopt_file(memory, config->fd, text, text_size);
	default:
		return open_memfd(memory, text, text_size);
	}
}
