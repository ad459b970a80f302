/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "userfault_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux_uapi.h"
#include "own_change.h"

#define PAGE_BYTES 4096u
#define READ_BATCH 32

struct gmm_userfault {
	int descriptor;
	uint32_t abilities;
	struct gmm_own_changes own;
};

/* Abilities and the features that they are made of. */
static const struct {
	uint32_t ability;
	uint64_t features;
	const char *name;
	const char *since;
} ability_table[] = {
	{ GMM_USERFAULT_SHARED, UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM,
	  "faults on shared memory", "5.14" },
	{ GMM_USERFAULT_SHARED_WP, UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	  "write-protection of shared memory", "5.19" },
	/* No feature bit tells of it: probed. */
	{ GMM_USERFAULT_CONTINUE_WP,
	  UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	  "write-protected mapping of shared memory", "6.4" },
	{ GMM_USERFAULT_PRIVATE_WP, UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	  "write-protection of private memory", "5.7" },
	{ GMM_USERFAULT_EVENTS,
	  UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP,
	  "events of changed mappings", "4.11" },
};

#define ABILITIES (sizeof(ability_table) / sizeof(ability_table[0]))

static int error_of(int error)
{
	switch (error) {
	case EAGAIN:
		return -GMM_EAGAIN;
	case ENOENT:
	case ESRCH:
		return -GMM_ENOENT;
	case EFAULT:
		return -GMM_EFAULT;
	case ENOMEM:
	case ENOSPC:
		return -GMM_ENOMEM;
	case EBUSY:
		return -GMM_EBUSY;
	case EINVAL:
		return -GMM_EINVAL;
	default:
		return -GMM_EIO;
	}
}

static int open_by_device(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int descriptor, error;

	if (device < 0)
		return -1;
	descriptor = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	error = errno;
	close(device);
	errno = error;
	return descriptor;
}

/*
 * Sets *kernel to whether it also gets faults of the kernel. errno on failure is the system call's.
 */
static int open_descriptor(bool need_kernel, bool *kernel)
{
	int descriptor = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	int error = errno;

	*kernel = true;
	if (descriptor < 0)
		descriptor = open_by_device();
	if (descriptor < 0 && !need_kernel && error == EPERM) {
		*kernel = false;
		descriptor = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	}
	if (descriptor < 0)
		errno = error;
	return descriptor;
}

static int refuse(char *text, int error)
{
	if (error == ENOSYS)
		snprintf(
			text, GMM_USERFAULT_TEXT_BYTES,
			"userfaultfd is not in this kernel: use one built with CONFIG_USERFAULTFD");
	else if (error == EPERM || error == EACCES)
		snprintf(text, GMM_USERFAULT_TEXT_BYTES,
			 "userfaultfd is not allowed for this user: run as root (CAP_SYS_PTRACE), "
			 "give access to /dev/userfaultfd, or set vm.unprivileged_userfaultfd=1");
	else
		snprintf(text, GMM_USERFAULT_TEXT_BYTES, "userfaultfd cannot be opened (%s): %s",
			 strerror(error),
			 error == EMFILE || error == ENFILE ?
				 "raise the limit of open files (ulimit -n)" :
				 "free memory of the host");
	return error == EMFILE || error == ENFILE || error == ENOMEM ? -GMM_EIO : -GMM_ENOSYS;
}

/*
 * Whether UFFDIO_CONTINUE knows the mode that protects: unknown modes are refused before the range is
 * looked at, and this one is registered nowhere.
 */
static bool continue_can_protect(int descriptor)
{
	struct uffdio_continue request = { .mode = UFFDIO_CONTINUE_MODE_WP };
	void *page = mmap(NULL, PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool known;

	if (page == MAP_FAILED)
		return false;
	request.range.start = (uintptr_t)page;
	request.range.len = PAGE_BYTES;
	known = ioctl(descriptor, UFFDIO_CONTINUE, &request) != 0 && errno == ENOENT;
	munmap(page, PAGE_BYTES);
	return known;
}

/*
 * The abilities that the kernel has but KERNEL. They can be asked only on a descriptor that is then
 * used up.
 */
static int ask_abilities(bool need_kernel, uint32_t *abilities)
{
	struct uffdio_api api = { .api = UFFD_API };
	bool kernel;
	int descriptor = open_descriptor(need_kernel, &kernel);
	int error = 0;
	size_t i;

	if (descriptor < 0)
		return errno;
	if (ioctl(descriptor, UFFDIO_API, &api))
		error = errno;
	*abilities = 0;
	for (i = 0; i < ABILITIES; i++)
		if ((api.features & ability_table[i].features) == ability_table[i].features)
			*abilities |= ability_table[i].ability;
	if (!error && !continue_can_protect(descriptor))
		*abilities &= ~GMM_USERFAULT_CONTINUE_WP;
	close(descriptor);
	return error;
}

/* Sets *abilities to what is had of what is asked for. */
static int choose_abilities(uint32_t required, uint32_t asked, uint32_t have, uint32_t *abilities,
			    uint64_t *features, char *text)
{
	size_t i;

	for (i = 0; i < ABILITIES; i++) {
		uint32_t ability = ability_table[i].ability;

		if (asked & have & ability) {
			*abilities |= ability;
			*features |= ability_table[i].features;
		} else if (required & ability) {
			snprintf(text, GMM_USERFAULT_TEXT_BYTES,
				 "userfaultfd of this kernel has no %s: use Linux %s or newer",
				 ability_table[i].name, ability_table[i].since);
			return -GMM_ENOSYS;
		}
	}
	return 0;
}

int gmm_userfault_open_lacking(uint32_t lacking, uint32_t required, uint32_t wanted,
			       struct gmm_userfault **userfault,
			       char text[GMM_USERFAULT_TEXT_BYTES])
{
	const uint32_t protection_of_shared = GMM_USERFAULT_SHARED_WP | GMM_USERFAULT_CONTINUE_WP;
	struct uffdio_api api = { .api = UFFD_API };
	bool need_kernel = required & GMM_USERFAULT_KERNEL;
	uint32_t asked = required | wanted, have = 0, abilities = 0;
	struct gmm_userfault *made;
	uint64_t features = 0;
	bool kernel = false;
	int error;

	if (asked & protection_of_shared)
		asked |= protection_of_shared;
	error = ask_abilities(need_kernel, &have);
	if (error)
		return refuse(text, error);
	have &= ~lacking;
	if (!(have & GMM_USERFAULT_SHARED_WP))
		have &= ~GMM_USERFAULT_CONTINUE_WP;
	error = choose_abilities(required, asked, have, &abilities, &features, text);
	if (error)
		return error;
	api.features = features;
	made = calloc(1, sizeof(*made));
	if (!made)
		return refuse(text, ENOMEM);
	gmm_own_changes_init(&made->own);
	made->descriptor = open_descriptor(need_kernel, &kernel);
	if (made->descriptor < 0 || ioctl(made->descriptor, UFFDIO_API, &api)) {
		error = refuse(text, errno);
		gmm_userfault_close(made);
		return error;
	}
	made->abilities = abilities | (kernel ? GMM_USERFAULT_KERNEL & ~lacking : 0);
	*userfault = made;
	return 0;
}

int gmm_userfault_open(uint32_t required, uint32_t wanted, struct gmm_userfault **userfault,
		       char text[GMM_USERFAULT_TEXT_BYTES])
{
	return gmm_userfault_open_lacking(0, required, wanted, userfault, text);
}

void gmm_userfault_close(struct gmm_userfault *userfault)
{
	if (!userfault)
		return;
	if (userfault->descriptor >= 0)
		close(userfault->descriptor);
	gmm_own_changes_fini(&userfault->own);
	free(userfault);
}

uint32_t gmm_userfault_abilities(const struct gmm_userfault *userfault)
{
	return userfault->abilities;
}

int gmm_userfault_descriptor(const struct gmm_userfault *userfault)
{
	return userfault->descriptor;
}

int gmm_userfault_register(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes,
			   uint32_t modes)
{
	struct uffdio_register request = { .range = { .start = start, .len = bytes } };

	if (modes & GMM_USERFAULT_MISSING)
		request.mode |= UFFDIO_REGISTER_MODE_MISSING;
	if (modes & GMM_USERFAULT_MINOR)
		request.mode |= UFFDIO_REGISTER_MODE_MINOR;
	if (modes & GMM_USERFAULT_WP)
		request.mode |= UFFDIO_REGISTER_MODE_WP;
	return ioctl(userfault->descriptor, UFFDIO_REGISTER, &request) ? error_of(errno) : 0;
}

int gmm_userfault_unregister(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes)
{
	struct uffdio_range range = { .start = start, .len = bytes };

	return ioctl(userfault->descriptor, UFFDIO_UNREGISTER, &range) ? error_of(errno) : 0;
}

/* Nothing is copied: there is nothing at the source's address, and that is looked at last. */
bool gmm_userfault_is_registered(struct gmm_userfault *userfault, gmm_hva_t address)
{
	struct uffdio_copy request = {
		.dst = address & ~(uint64_t)(PAGE_BYTES - 1),
		.src = PAGE_BYTES / 2,
		.len = PAGE_BYTES,
	};

	while (ioctl(userfault->descriptor, UFFDIO_COPY, &request)) {
		if (errno != EAGAIN)
			return errno != ENOENT && errno != EINVAL;
		sched_yield();
	}
	return true;
}

enum fill_kind {
	FILL_CONTINUE,
	FILL_COPY,
	FILL_ZERO
};

struct fill {
	enum fill_kind kind;
	gmm_hva_t start;
	uint64_t bytes;
	const char *source;
	uint32_t flags;
};

/* One ioctl. Returns 0 or errno; *done is what was filled, also when it did not do all. */
static int fill_once(int descriptor, const struct fill *fill, uint64_t *done)
{
	bool no_wake = fill->flags & GMM_USERFAULT_NO_WAKE;
	bool protect = fill->flags & GMM_USERFAULT_PROTECTED;
	int64_t progress = 0;
	int error = 0;

	if (fill->kind == FILL_CONTINUE) {
		struct uffdio_continue request = {
			.range = { .start = fill->start, .len = fill->bytes },
			.mode = (no_wake ? UFFDIO_CONTINUE_MODE_DONTWAKE : 0) |
				(protect ? UFFDIO_CONTINUE_MODE_WP : 0),
		};

		error = ioctl(descriptor, UFFDIO_CONTINUE, &request) ? errno : 0;
		progress = request.mapped;
	} else if (fill->kind == FILL_COPY) {
		struct uffdio_copy request = {
			.dst = fill->start,
			.src = (uintptr_t)fill->source,
			.len = fill->bytes,
			.mode = (no_wake ? UFFDIO_COPY_MODE_DONTWAKE : 0) |
				(protect ? UFFDIO_COPY_MODE_WP : 0),
		};

		error = ioctl(descriptor, UFFDIO_COPY, &request) ? errno : 0;
		progress = request.copy;
	} else {
		struct uffdio_zeropage request = {
			.range = { .start = fill->start, .len = fill->bytes },
			.mode = no_wake ? UFFDIO_ZEROPAGE_MODE_DONTWAKE : 0,
		};

		error = ioctl(descriptor, UFFDIO_ZEROPAGE, &request) ? errno : 0;
		progress = request.zeropage;
	}
	*done = progress > 0 ? (uint64_t)progress : 0;
	return error;
}

static int fill_all(struct gmm_userfault *userfault, struct fill fill, uint64_t *present)
{
	uint64_t done, step;
	int error;

	if (present)
		*present = 0;
	if (fill.bytes == 0 || (fill.start | fill.bytes) % PAGE_BYTES)
		return -GMM_EINVAL;
	while (fill.bytes) {
		error = fill_once(userfault->descriptor, &fill, &done);
		if (error == 0)
			return 0;
		step = done;
		if (done == 0) {
			/* What stopped it is at the first page. */
			if (error != EEXIST)
				return error_of(error);
			if (present)
				(*present)++;
			if (!(fill.flags & GMM_USERFAULT_NO_WAKE))
				gmm_userfault_wake(userfault, fill.start, PAGE_BYTES);
			step = PAGE_BYTES;
		}
		fill.start += step;
		fill.bytes -= step;
		if (fill.source)
			fill.source += step;
	}
	return 0;
}

int gmm_userfault_continue(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes,
			   uint32_t flags, uint64_t *present)
{
	if (flags & GMM_USERFAULT_PROTECTED && !(userfault->abilities & GMM_USERFAULT_CONTINUE_WP))
		return -GMM_EINVAL;
	return fill_all(
		userfault,
		(struct fill){
			.kind = FILL_CONTINUE, .start = start, .bytes = bytes, .flags = flags },
		present);
}

int gmm_userfault_copy(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes,
		       const void *source, uint32_t flags, uint64_t *present)
{
	return fill_all(userfault,
			(struct fill){ .kind = FILL_COPY,
				       .start = start,
				       .bytes = bytes,
				       .source = source,
				       .flags = flags },
			present);
}

int gmm_userfault_zero(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes,
		       uint32_t flags, uint64_t *present)
{
	if (flags & GMM_USERFAULT_PROTECTED)
		return -GMM_EINVAL;
	return fill_all(
		userfault,
		(struct fill){ .kind = FILL_ZERO, .start = start, .bytes = bytes, .flags = flags },
		present);
}

static int write_protect(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes,
			 uint64_t mode)
{
	struct uffdio_writeprotect request = {
		.range = { .start = start, .len = bytes },
		.mode = mode,
	};

	return ioctl(userfault->descriptor, UFFDIO_WRITEPROTECT, &request) ? error_of(errno) : 0;
}

int gmm_userfault_protect(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes)
{
	return write_protect(userfault, start, bytes, UFFDIO_WRITEPROTECT_MODE_WP);
}

int gmm_userfault_unprotect(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes,
			    uint32_t flags)
{
	return write_protect(userfault, start, bytes,
			     flags & GMM_USERFAULT_NO_WAKE ? UFFDIO_WRITEPROTECT_MODE_DONTWAKE : 0);
}

int gmm_userfault_wake(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes)
{
	struct uffdio_range range = { .start = start, .len = bytes };

	return ioctl(userfault->descriptor, UFFDIO_WAKE, &range) ? error_of(errno) : 0;
}

int gmm_userfault_drop_mapping(struct gmm_userfault *userfault, gmm_hva_t start, uint64_t bytes)
{
	bool told = userfault->abilities & GMM_USERFAULT_EVENTS;
	struct gmm_own_change change;
	int error;

	if (told)
		gmm_own_change_begin(&userfault->own, &change, start, bytes);
	error = madvise((void *)(uintptr_t)start, bytes, MADV_DONTNEED) ? error_of(errno) : 0;
	if (told)
		gmm_own_change_end(&userfault->own, &change);
	return error;
}

/* Returns false for a message that is not for us. */
static bool decode(const struct uffd_msg *message, struct gmm_userfault_event *event)
{
	uint64_t flags;

	memset(event, 0, sizeof(*event));
	switch (message->event) {
	case UFFD_EVENT_PAGEFAULT:
		flags = message->arg.pagefault.flags;
		event->start = message->arg.pagefault.address & ~(uint64_t)(PAGE_BYTES - 1);
		event->access = GMM_ACCESS_READ;
		if (flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP))
			event->access |= GMM_ACCESS_WRITE;
		if (flags & UFFD_PAGEFAULT_FLAG_WP)
			event->kind = GMM_USERFAULT_EVENT_WP;
		else if (flags & UFFD_PAGEFAULT_FLAG_MINOR)
			event->kind = GMM_USERFAULT_EVENT_MINOR;
		else
			event->kind = GMM_USERFAULT_EVENT_MISSING;
		return true;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		event->kind = message->event == UFFD_EVENT_REMOVE ? GMM_USERFAULT_EVENT_REMOVED :
								    GMM_USERFAULT_EVENT_UNMAPPED;
		event->start = message->arg.remove.start;
		event->bytes = message->arg.remove.end - message->arg.remove.start;
		return true;
	case UFFD_EVENT_REMAP:
		event->kind = GMM_USERFAULT_EVENT_MOVED;
		event->start = message->arg.remap.from;
		event->target = message->arg.remap.to;
		event->bytes = message->arg.remap.len;
		return true;
	default:
		return false;
	}
}

/* One system call. Returns how many messages it gave, or -errno; *count grows by the events of them. */
static int read_once(struct gmm_userfault *userfault, struct gmm_userfault_event *events, int asked,
		     int *count)
{
	struct uffd_msg messages[READ_BATCH];
	uint32_t turn = gmm_own_changes_read_begin(&userfault->own);
	ssize_t bytes = read(userfault->descriptor, messages, (size_t)asked * sizeof(messages[0]));
	int got = bytes < 0 ? -errno : (int)((size_t)bytes / sizeof(messages[0]));
	int i;

	for (i = 0; i < got; i++) {
		struct gmm_userfault_event *event = &events[*count];

		if (!decode(&messages[i], event))
			continue;
		if (event->kind != GMM_USERFAULT_EVENT_REMOVED ||
		    !gmm_own_changes_has(&userfault->own, event->start, event->bytes))
			(*count)++;
	}
	gmm_own_changes_read_end(&userfault->own, turn);
	return got;
}

int gmm_userfault_read(struct gmm_userfault *userfault, struct gmm_userfault_event *events, int max)
{
	int count = 0, asked, got;

	if (max <= 0)
		return -GMM_EINVAL;
	/* A read that gives all that was asked for may have left some. */
	do {
		asked = max - count < READ_BATCH ? max - count : READ_BATCH;
		got = read_once(userfault, events, asked, &count);
		if (got < 0)
			return count || got == -EAGAIN || got == -EINTR ? count : error_of(-got);
	} while (got == asked && count < max);
	return count;
}
