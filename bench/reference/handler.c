/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "handler.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accel/linux_uapi.h"

#include "../harness.h"

#define PAGE_BYTES 4096ull

static void must(int result, const char *what)
{
	bench_must(result < 0 ? errno : 0, what);
}

void reference_handler_make(struct reference_handler *handler, uint64_t bytes, bool spins)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_MINOR_SHMEM |
					      UFFD_FEATURE_PAGEFAULT_FLAG_WP |
					      UFFD_FEATURE_WP_HUGETLBFS_SHMEM };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING |
						 UFFDIO_REGISTER_MODE_MINOR |
						 UFFDIO_REGISTER_MODE_WP };

	*handler = (struct reference_handler){ .bytes = bytes, .spins = spins };
	handler->memfd = memfd_create("reference", MFD_CLOEXEC);
	must(handler->memfd, "memfd_create");
	must(ftruncate(handler->memfd, (off_t)bytes), "ftruncate");
	must(fallocate(handler->memfd, 0, 0, (off_t)bytes), "fallocate");
	handler->data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, handler->memfd, 0);
	if (handler->data == MAP_FAILED)
		bench_broken("mapping memory");
	handler->userfault = (int)syscall(SYS_userfaultfd, O_CLOEXEC | (spins ? O_NONBLOCK : 0));
	must(handler->userfault, "userfaultfd");
	must(ioctl(handler->userfault, UFFDIO_API, &api), "UFFDIO_API");
	range.range.start = (uintptr_t)handler->data;
	range.range.len = bytes;
	must(ioctl(handler->userfault, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
}

static void *serve(void *context)
{
	const struct reference_handler *handler = context;
	struct uffd_msg message;

	for (;;) {
		struct uffdio_continue request = { .range = { .len = PAGE_BYTES },
						   .mode = UFFDIO_CONTINUE_MODE_WP };

		if (read(handler->userfault, &message, sizeof(message)) < 0) {
			if (errno != EAGAIN && errno != EINTR)
				must(-1, "reading an event");
			continue;
		}
		request.range.start = message.arg.pagefault.address & ~(PAGE_BYTES - 1);
		if (ioctl(handler->userfault, UFFDIO_CONTINUE, &request) && errno != EEXIST)
			must(-1, "UFFDIO_CONTINUE");
	}
	return NULL;
}

void reference_handler_start(struct reference_handler *handler)
{
	if (handler->running)
		return;
	bench_must(pthread_create(&handler->thread, NULL, serve, handler), "a thread");
	handler->running = true;
}

/* read() is where it can be cancelled. */
void reference_handler_stop(struct reference_handler *handler)
{
	if (!handler->running)
		return;
	pthread_cancel(handler->thread);
	pthread_join(handler->thread, NULL);
	handler->running = false;
}

void reference_handler_unmap(struct reference_handler *handler, uint64_t offset, uint64_t bytes)
{
	must(madvise(handler->data + offset, bytes, MADV_DONTNEED), "madvise");
}

void reference_handler_end(struct reference_handler *handler)
{
	reference_handler_stop(handler);
	close(handler->userfault);
	munmap(handler->data, handler->bytes);
	close(handler->memfd);
}
