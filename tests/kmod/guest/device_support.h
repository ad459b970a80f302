/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What tests of /dev/guestmm share: a guest of some pages at GPA, its caches, TAP. */
#ifndef DEVICE_SUPPORT_H
#define DEVICE_SUPPORT_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <guestmm/guestmm.h>

#define PAGE 4096ull
#define GPA 0x100000ull
#define WRITE GMM_DEVICE_CACHE_WRITE

struct test_case {
	const char *name;
	void (*run)(void);
};

#define CASE(function)              \
	{                           \
#function, function \
	}

static int case_failed;
static const char *case_skipped;

#define check(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("# %s:%d: not so: %s (errno %d)\n", __func__, __LINE__, #condition, \
			       errno);                                                             \
			case_failed = 1;                                                           \
		}                                                                                  \
	} while (0)

/* In a child. */
#define refused_here(condition)                    \
	do {                                       \
		if (!(condition))                  \
			_exit(__LINE__ % 254 + 1); \
	} while (0)

static inline void skip(const char *reason)
{
	case_skipped = reason;
}

static inline int call(int fd, unsigned long command, void *argument)
{
	return ioctl(fd, command, argument);
}

#define refused(fd, command, argument, wanted) \
	check(call(fd, command, argument) == -1 && errno == (wanted))

struct guest {
	int fd;
	char *memory;
	uint64_t size;
};

static inline int open_device(void)
{
	int fd = open("/dev/guestmm", O_RDWR | O_CLOEXEC);

	check(fd >= 0);
	return fd;
}

static inline char *map_memory(uint64_t pages)
{
	char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	check(memory != MAP_FAILED);
	return memory;
}

/* With its descriptor open. */
static inline void guest_start_on(struct guest *guest, uint64_t pages)
{
	struct gmm_device_guest config = { 0 };
	struct gmm_device_slot slot = { .gpa = GPA, .size = pages * PAGE };

	guest->memory = map_memory(pages);
	guest->size = pages * PAGE;
	slot.address = (uintptr_t)guest->memory;
	check(!call(guest->fd, GMM_DEVICE_GUEST_CREATE, &config));
	check(!call(guest->fd, GMM_DEVICE_SLOT_ADD, &slot));
}

static inline void guest_start(struct guest *guest, uint64_t pages)
{
	guest->fd = open_device();
	guest_start_on(guest, pages);
}

static inline void guest_end(struct guest *guest)
{
	check(!close(guest->fd));
	munmap(guest->memory, guest->size);
}

static inline uint64_t cache_make(struct guest *guest, uint64_t address, uint64_t length,
				  uint32_t flags)
{
	struct gmm_device_cache cache = { .address = address, .length = length, .flags = flags };

	check(!call(guest->fd, GMM_DEVICE_CACHE_CREATE, &cache));
	return cache.handle;
}

static inline int transfer(struct guest *guest, unsigned long command, uint64_t cache,
			   uint64_t offset, void *buffer, uint64_t length)
{
	struct gmm_device_transfer transfer = { cache, offset, length, (uintptr_t)buffer };

	return call(guest->fd, command, &transfer) ? -errno : 0;
}

static inline int cache_read(struct guest *guest, uint64_t cache, uint64_t offset, void *buffer,
			     uint64_t length)
{
	return transfer(guest, GMM_DEVICE_CACHE_READ, cache, offset, buffer, length);
}

static inline int cache_write(struct guest *guest, uint64_t cache, uint64_t offset, void *buffer,
			      uint64_t length)
{
	return transfer(guest, GMM_DEVICE_CACHE_WRITE_TO, cache, offset, buffer, length);
}

static inline int is_valid(struct guest *guest, uint64_t handle)
{
	struct gmm_device_check look = { .handle = handle };

	check(!call(guest->fd, GMM_DEVICE_CACHE_CHECK, &look));
	return (int)look.valid;
}

static inline struct gmm_device_counters counters(struct guest *guest)
{
	struct gmm_device_counters counters = { 0 };

	check(!call(guest->fd, GMM_DEVICE_COUNTERS, &counters));
	return counters;
}

static inline pid_t child_starts(void)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	check(child >= 0);
	return child;
}

/* Its exit status, or the signal that ended it, negated. */
static inline int child_ends(void)
{
	int status = 0;

	check(wait(&status) > 0);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* The node of a page, or a negative error. */
static inline int move_pages_one(void *page, const int *node)
{
	int status = -1;

	if (syscall(SYS_move_pages, 0, 1ul, &page, node, &status, 2) < 0)
		return -errno;
	return status;
}

static inline int node_of(void *page)
{
	return move_pages_one(page, NULL);
}

static inline int move_to(void *page, int node)
{
	return move_pages_one(page, &node);
}

static inline int run_cases(const char *program, const struct test_case *cases, size_t count)
{
	int failures = 0;
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	printf("1..%zu\n", count);
	for (i = 0; i < count; i++) {
		case_failed = 0;
		case_skipped = NULL;
		cases[i].run();
		failures += case_failed;
		printf("%s %zu - %s: %s%s%s\n", case_failed ? "not ok" : "ok", i + 1, program,
		       cases[i].name, case_skipped ? " # SKIP " : "",
		       case_skipped ? case_skipped : "");
	}
	return failures != 0;
}

#endif
