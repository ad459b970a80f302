/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * One thread touches guest memory as a vCPU would; this one serves its faults with the operations,
 * in the order that a script expects. It shows that the two mappings of a memfd do what
 * guestmm/linux/memory.h says: a page that is filled is a MINOR fault until it is mapped, a protected one
 * a WP fault, an evicted one MISSING again, and no contents are lost on the way.
 */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory_world.h"

enum fault {
	NO_FAULT,
	MISSING,
	MINOR,
	PROTECTED,
};

/* What the vCPU does, and the fault that it must meet. */
struct access {
	uint64_t page;
	int write; /* -1: read */
	enum fault fault;
};

struct vcpu {
	volatile char *bytes;
	const struct access *access;
	char seen; /* first byte of the page after the access */
};

static void *vcpu_run(void *argument)
{
	struct vcpu *vcpu = argument;
	volatile char *byte = vcpu->bytes + vcpu->access->page * PAGE_SIZE;

	if (vcpu->access->write >= 0)
		*byte = (char)vcpu->access->write;
	vcpu->seen = *byte;
	return NULL;
}

static void uffd(struct world *world, unsigned long request, void *argument)
{
	if (ioctl(world->userfaultfd, request, argument) != 0)
		fail_msg("userfaultfd request %lu failed", request & 0xff);
}

static struct uffdio_range range_of(struct world *world, uint64_t page)
{
	return (struct uffdio_range){
		.start = (uintptr_t)gmm_memory_vcpu_address(world->memory) + page * PAGE_SIZE,
		.len = PAGE_SIZE,
	};
}

static void protect(struct world *world, uint64_t page, bool on)
{
	userfault_protect(world->userfaultfd, (void *)(uintptr_t)range_of(world, page).start,
			  PAGE_SIZE, on);
}

/* The owner of the second stage: makes a resident page readable, and wakes. */
static void map_readable(struct world *world, uint64_t page)
{
	struct uffdio_range range = range_of(world, page);
	struct uffdio_continue resume = { .range = range, .mode = UFFDIO_CONTINUE_MODE_DONTWAKE };

	if (world->backing->kind == GMM_MEMORY_KIND_MEMFD) {
		uffd(world, UFFDIO_CONTINUE, &resume);
		protect(world, page, true);
	}
	uffd(world, UFFDIO_WAKE, &range);
}

static enum fault next_fault(struct world *world, uint64_t page)
{
	struct pollfd poll_fd = { .fd = world->userfaultfd, .events = POLLIN };
	struct uffd_msg message;

	if (poll(&poll_fd, 1, 60000) != 1)
		fail_msg("no fault came for page %llu", (unsigned long long)page);
	assert_int_equal(read(world->userfaultfd, &message, sizeof(message)), sizeof(message));
	assert_int_equal(message.event, UFFD_EVENT_PAGEFAULT);
	assert_int_equal(message.arg.pagefault.address & ~(PAGE_SIZE - 1),
			 range_of(world, page).start);
	if (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
		return PROTECTED;
	return message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR ? MINOR : MISSING;
}

/*
 * Lets the vCPU make one access and serves it; `origin` is where an absent page is. Returns what it
 * saw.
 */
static char run(struct world *world, const struct access *access, enum gmm_page_origin origin)
{
	struct vcpu vcpu = { gmm_memory_vcpu_address(world->memory), access, 0 };
	enum fault fault = access->fault;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, vcpu_run, &vcpu), 0);
	if (fault != NO_FAULT) {
		assert_int_equal(next_fault(world, access->page), fault);
		if (fault == MISSING)
			fill(world, access->page, 1, origin);
		if (fault == MISSING || fault == MINOR)
			map_readable(world, access->page);
		if (access->write >= 0) {
			if (fault != PROTECTED)
				assert_int_equal(next_fault(world, access->page), PROTECTED);
			protect(world, access->page, false);
		}
	}
	pthread_join(thread, NULL);
	return vcpu.seen;
}

static void evict(struct world *world, uint64_t page)
{
	struct uffdio_range range = range_of(world, page);

	protect(world, page, true);
	assert_int_equal(world->ops->write_out(world->memory, page, 1), 0);
	assert_int_equal(world->ops->discard(world->memory, page, 1), 0);
	uffd(world, UFFDIO_WAKE, &range);
}

static char first_byte(struct world *world, uint64_t page)
{
	return world->expected[page * PAGE_SIZE];
}

/* A page of the source that is not zero, so that a zero page would show. */
static uint64_t telling_page(struct world *world, uint64_t from)
{
	while (first_byte(world, from) == 0)
		from++;
	return from;
}

static void pages_come_are_written_go_and_come_back(void **state)
{
	struct world *world = *state;
	uint64_t page = telling_page(world, 10);
	const struct access read_absent = { page, -1, MISSING };
	const struct access read_present = { page, -1, NO_FAULT };
	const struct access first_write = { page, 0x21, PROTECTED };
	const struct access second_write = { page, 0x22, NO_FAULT };
	const struct access write_absent = { page, 0x23, MISSING };

	assert_int_equal(run(world, &read_absent, GMM_ORIGIN_SOURCE), first_byte(world, page));
	assert_int_equal(run(world, &read_present, GMM_ORIGIN_SOURCE), first_byte(world, page));
	assert_int_equal(run(world, &first_write, GMM_ORIGIN_SOURCE), 0x21);
	assert_int_equal(run(world, &second_write, GMM_ORIGIN_SOURCE), 0x22);
	evict(world, page);
	assert_int_equal(run(world, &read_absent, GMM_ORIGIN_STORE), 0x22);
	evict(world, page);
	assert_int_equal(run(world, &write_absent, GMM_ORIGIN_STORE), 0x23);
	evict(world, page);
	assert_int_equal(run(world, &read_absent, GMM_ORIGIN_STORE), 0x23);
	/* The rest of the page came through all of this. */
	assert_memory_equal((char *)gmm_memory_vcpu_address(world->memory) + page * PAGE_SIZE + 1,
			    world->expected + page * PAGE_SIZE + 1, PAGE_SIZE - 1);
}

static void first_write_to_a_zero_page_is_seen(void **state)
{
	struct world *world = *state;
	const struct access read_absent = { 150, -1, MISSING };
	const struct access first_write = { 150, 0x31, PROTECTED };

	assert_int_equal(run(world, &read_absent, GMM_ORIGIN_ZERO), 0);
	assert_int_equal(run(world, &first_write, GMM_ORIGIN_ZERO), 0x31);
}

static void filled_ahead_is_a_minor_fault(void **state)
{
	struct world *world = *state;
	uint64_t page = telling_page(world, 40);
	const struct access read_filled = { page, -1, MINOR };
	const struct access write_filled = { page + 1, 0x41, MINOR };

	fill(world, page, 2, GMM_ORIGIN_SOURCE);
	assert_int_equal(run(world, &read_filled, GMM_ORIGIN_SOURCE), first_byte(world, page));
	assert_int_equal(run(world, &write_filled, GMM_ORIGIN_SOURCE), 0x41);
}

static void dropped_mapping_is_a_minor_fault(void **state)
{
	struct world *world = *state;
	uint64_t page = telling_page(world, 70);
	const struct access write_absent = { page, 0x51, MISSING };
	const struct access read_dropped = { page, -1, MINOR };

	assert_int_equal(run(world, &write_absent, GMM_ORIGIN_SOURCE), 0x51);
	assert_int_equal(madvise((void *)(uintptr_t)range_of(world, page).start, PAGE_SIZE,
				 MADV_DONTNEED),
			 0);
	assert_int_equal(run(world, &read_dropped, GMM_ORIGIN_SOURCE), 0x51);
}

static void reading_absent_pages_loses_nothing(void **state)
{
	struct world *world = *state;
	uint64_t page = telling_page(world, 90);
	const struct access read_absent = { page, -1, MISSING };
	char buffer[PAGE_SIZE];

	assert_int_equal(world->ops->read(world->memory, page, false, GMM_ORIGIN_SOURCE, buffer),
			 0);
	assert_int_equal(world->ops->read(world->memory, page, false, GMM_ORIGIN_ZERO, buffer), 0);
	assert_int_equal(run(world, &read_absent, GMM_ORIGIN_SOURCE), first_byte(world, page));
}

static const struct backing memfd = { "memfd", GMM_MEMORY_KIND_MEMFD, FROM_FILE, MEMFD_FLAGS, 0 };
static const struct backing anonymous = { "anonymous", GMM_MEMORY_KIND_ANONYMOUS, FROM_FILE,
					  ANONYMOUS_FLAGS, 0 };

static int registered_set_up(void **state)
{
	struct world *world;
	int result = world_set_up(state);

	world = *state;
	if (world->userfaultfd < 0)
		world_register(world);
	return result;
}

#define CASE(backing, function)                                                    \
	{                                                                          \
		.name = #backing ": " #function, .test_func = (function),          \
		.setup_func = registered_set_up, .teardown_func = world_tear_down, \
		.initial_state = (void *)&(backing),                               \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(memfd, pages_come_are_written_go_and_come_back),
		CASE(memfd, first_write_to_a_zero_page_is_seen),
		CASE(memfd, filled_ahead_is_a_minor_fault),
		CASE(memfd, dropped_mapping_is_a_minor_fault),
		CASE(memfd, reading_absent_pages_loses_nothing),
		CASE(anonymous, pages_come_are_written_go_and_come_back),
		CASE(anonymous, first_write_to_a_zero_page_is_seen),
		CASE(anonymous, reading_absent_pages_loses_nothing),
	};
	const char *reason = "";
	int userfaultfd = userfault_open(USERFAULT_MEMFD_FEATURES, &reason);

	if (userfaultfd < 0) {
		printf("1..0 # SKIP %s\n", reason);
		return 0;
	}
	close(userfaultfd);
	return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
