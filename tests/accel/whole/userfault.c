/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The userfaultfd wrapper: each call on shared and on private memory, and what the kernel answers.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/linux/userfault.h>

#define PAGE 4096u
#define PAGES 8u

struct area {
	struct gmm_userfault *userfault;
	int file; /* -1: private */
	uint8_t *memory;
	uint64_t start;
};

/* Abilities that the kernel is said to lack, for the tests that hold without them. */
static uint32_t lacking;

static void open_area(struct area *area, bool shared, uint32_t modes)
{
	char text[GMM_USERFAULT_TEXT_BYTES] = "";
	uint32_t required = shared ? GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP :
				     GMM_USERFAULT_PRIVATE_WP;
	int error;

	area->userfault = NULL;
	error = gmm_userfault_open_lacking(lacking, required, 0, &area->userfault, text);
	if (error == -GMM_ENOSYS) {
		print_message("%s\n", text);
		skip();
	}
	if (error)
		fail_msg("%s", text);
	area->file = shared ? memfd_create("test", MFD_CLOEXEC) : -1;
	if (shared)
		assert_int_equal(ftruncate(area->file, PAGES * PAGE), 0);
	area->memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
			    shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, area->file, 0);
	assert_true(area->memory != MAP_FAILED);
	area->start = (uintptr_t)area->memory;
	assert_int_equal(gmm_userfault_register(area->userfault, area->start, PAGES * PAGE, modes),
			 0);
}

static void close_area(struct area *area)
{
	assert_int_equal(gmm_userfault_unregister(area->userfault, area->start, PAGES * PAGE), 0);
	munmap(area->memory, PAGES * PAGE);
	if (area->file >= 0)
		close(area->file);
	gmm_userfault_close(area->userfault);
}

static void put_page(struct area *area, uint32_t page, uint8_t value)
{
	uint8_t contents[PAGE];

	memset(contents, value, PAGE);
	assert_int_equal(pwrite(area->file, contents, PAGE, page * PAGE), PAGE);
}

static uint64_t at(const struct area *area, uint32_t page)
{
	return area->start + page * PAGE;
}

/* An access that may have to wait for the test to answer it. */
struct access {
	pthread_t thread;
	uint8_t *address;
	int write; /* -1: read */
	uint8_t read;
	uint32_t done; /* atomic */
};

static void *access_thread(void *opaque)
{
	struct access *access = opaque;

	if (access->write >= 0)
		__atomic_store_n(access->address, (uint8_t)access->write, __ATOMIC_RELAXED);
	else
		access->read = __atomic_load_n(access->address, __ATOMIC_RELAXED);
	__atomic_store_n(&access->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void start_access(struct access *access, struct area *area, uint32_t page, int write)
{
	*access = (struct access){ .address = area->memory + page * PAGE + 5, .write = write };
	assert_int_equal(pthread_create(&access->thread, NULL, access_thread, access), 0);
}

/* The next event; the test hangs, and its time limit ends it, when there is none. */
static struct gmm_userfault_event next_event(struct area *area)
{
	struct pollfd wait = { .fd = gmm_userfault_descriptor(area->userfault), .events = POLLIN };
	struct gmm_userfault_event event;

	while (gmm_userfault_read(area->userfault, &event, 1) != 1)
		poll(&wait, 1, -1);
	return event;
}

static void expect_event(struct area *area, uint32_t page, enum gmm_userfault_event_kind kind,
			 uint32_t access)
{
	struct gmm_userfault_event event = next_event(area);

	assert_int_equal(event.kind, kind);
	assert_int_equal(event.start, at(area, page));
	assert_int_equal(event.access, access);
}

static bool can(const struct area *area, uint32_t ability)
{
	return gmm_userfault_abilities(area->userfault) & ability;
}

static void skip_without(struct area *area, uint32_t ability)
{
	if (can(area, ability))
		return;
	close_area(area);
	print_message("userfaultfd of this kernel cannot map protected: Linux 6.4 can\n");
	skip();
}

#define READ GMM_ACCESS_READ
#define WRITE (GMM_ACCESS_READ | GMM_ACCESS_WRITE)

static void test_missing_copy(void **state)
{
	uint8_t contents[3 * PAGE];
	struct access access;
	struct area area;
	uint64_t present;
	int shared;

	for (shared = 0; shared < 2; shared++) {
		open_area(&area, shared, GMM_USERFAULT_MISSING | GMM_USERFAULT_WP);
		memset(contents, 0x11, PAGE);
		memset(contents + PAGE, 0x22, PAGE);
		memset(contents + 2 * PAGE, 0x33, PAGE);
		start_access(&access, &area, 1, -1);
		expect_event(&area, 1, GMM_USERFAULT_EVENT_MISSING, READ);
		assert_int_equal(gmm_userfault_copy(area.userfault, at(&area, 1), PAGE,
						    contents + PAGE, 0, &present),
				 0);
		assert_int_equal(present, 0);
		pthread_join(access.thread, NULL);
		assert_int_equal(access.read, 0x22);

		/*
		 * Over a page that is there: it keeps its contents, the others come, also behind
		 * it.
		 */
		area.memory[PAGE] = 0x77;
		assert_int_equal(gmm_userfault_copy(area.userfault, at(&area, 0), 3 * PAGE,
						    contents, 0, &present),
				 0);
		assert_int_equal(present, 1);
		assert_int_equal(area.memory[0], 0x11);
		assert_int_equal(area.memory[PAGE], 0x77);
		assert_int_equal(area.memory[2 * PAGE], 0x33);

		/* Protected from the start; NO_WAKE leaves the waiting one waiting. */
		start_access(&access, &area, 4, 0x44);
		expect_event(&area, 4, GMM_USERFAULT_EVENT_MISSING, WRITE);
		assert_int_equal(gmm_userfault_copy(area.userfault, at(&area, 4), PAGE, contents,
						    GMM_USERFAULT_PROTECTED | GMM_USERFAULT_NO_WAKE,
						    NULL),
				 0);
		assert_int_equal(__atomic_load_n(&access.done, __ATOMIC_ACQUIRE), 0);
		assert_int_equal(area.memory[4 * PAGE], 0x11);
		assert_int_equal(gmm_userfault_wake(area.userfault, at(&area, 4), PAGE), 0);
		expect_event(&area, 4, GMM_USERFAULT_EVENT_WP, WRITE);
		assert_int_equal(gmm_userfault_unprotect(area.userfault, at(&area, 4), PAGE, 0), 0);
		pthread_join(access.thread, NULL);
		assert_int_equal(area.memory[4 * PAGE + 5], 0x44);
		close_area(&area);
	}
}

static void test_present_page_is_woken(void **state)
{
	uint8_t contents[PAGE] = { 0 };
	struct access access;
	struct area area;
	uint64_t present;

	open_area(&area, false, GMM_USERFAULT_MISSING);
	start_access(&access, &area, 2, -1);
	expect_event(&area, 2, GMM_USERFAULT_EVENT_MISSING, READ);
	contents[5] = 9;
	assert_int_equal(gmm_userfault_copy(area.userfault, at(&area, 2), PAGE, contents,
					    GMM_USERFAULT_NO_WAKE, NULL),
			 0);
	/* The second one finds it there, and wakes who waits. */
	assert_int_equal(
		gmm_userfault_copy(area.userfault, at(&area, 2), PAGE, contents, 0, &present), 0);
	assert_int_equal(present, 1);
	pthread_join(access.thread, NULL);
	assert_int_equal(access.read, 9);
	close_area(&area);
}

static void test_zero(void **state)
{
	struct access access;
	struct area area;
	uint64_t present;

	open_area(&area, false, GMM_USERFAULT_MISSING);
	start_access(&access, &area, 3, -1);
	expect_event(&area, 3, GMM_USERFAULT_EVENT_MISSING, READ);
	assert_int_equal(gmm_userfault_zero(area.userfault, at(&area, 3), PAGE, 0, NULL), 0);
	pthread_join(access.thread, NULL);
	assert_int_equal(access.read, 0);
	assert_int_equal(
		gmm_userfault_zero(area.userfault, at(&area, 0), PAGES * PAGE, 0, &present), 0);
	assert_int_equal(present, 1);
	assert_int_equal(area.memory[0] | area.memory[7 * PAGE], 0);
	assert_int_equal(gmm_userfault_zero(area.userfault, at(&area, 0), PAGE,
					    GMM_USERFAULT_PROTECTED, NULL),
			 -GMM_EINVAL);
	close_area(&area);
}

static void test_minor_continue(void **state)
{
	struct access access, second;
	struct area area;
	uint64_t present;

	open_area(&area, true, GMM_USERFAULT_MISSING | GMM_USERFAULT_MINOR | GMM_USERFAULT_WP);
	skip_without(&area, GMM_USERFAULT_CONTINUE_WP);
	/* A hole is missing; a page of the file that is not mapped is minor. */
	start_access(&access, &area, 1, -1);
	expect_event(&area, 1, GMM_USERFAULT_EVENT_MISSING, READ);
	assert_int_equal(gmm_userfault_continue(area.userfault, at(&area, 1), PAGE, 0, NULL),
			 -GMM_EFAULT);
	put_page(&area, 1, 0x21);
	assert_int_equal(gmm_userfault_wake(area.userfault, at(&area, 1), PAGE), 0);
	expect_event(&area, 1, GMM_USERFAULT_EVENT_MINOR, READ);
	assert_int_equal(gmm_userfault_continue(area.userfault, at(&area, 1), PAGE,
						GMM_USERFAULT_PROTECTED, &present),
			 0);
	assert_int_equal(present, 0);
	pthread_join(access.thread, NULL);
	assert_int_equal(access.read, 0x21);

	/* It was mapped protected: a write is an event. */
	start_access(&access, &area, 1, 0x22);
	expect_event(&area, 1, GMM_USERFAULT_EVENT_WP, WRITE);
	assert_int_equal(gmm_userfault_unprotect(area.userfault, at(&area, 1), PAGE, 0), 0);
	pthread_join(access.thread, NULL);

	/* A range with a page that is mapped in the middle. */
	put_page(&area, 0, 0x20);
	put_page(&area, 2, 0x23);
	assert_int_equal(
		gmm_userfault_continue(area.userfault, at(&area, 0), 3 * PAGE, 0, &present), 0);
	assert_int_equal(present, 1);
	assert_int_equal(area.memory[5], 0x20);
	assert_int_equal(area.memory[PAGE + 5], 0x22);
	assert_int_equal(area.memory[2 * PAGE + 5], 0x23);
	/* These were mapped writable. */
	area.memory[2 * PAGE + 5] = 1;

	/* Up to a hole: what is before it is mapped, then the error. */
	put_page(&area, 3, 0x24);
	assert_int_equal(gmm_userfault_continue(area.userfault, at(&area, 3), 2 * PAGE, 0,
						&present),
			 -GMM_EFAULT);
	assert_int_equal(area.memory[3 * PAGE], 0x24);

	/* Dropping the mapping keeps the page: minor again, for both who touch it. */
	assert_int_equal(madvise(area.memory + PAGE, PAGE, MADV_DONTNEED), 0);
	start_access(&access, &area, 1, -1);
	expect_event(&area, 1, GMM_USERFAULT_EVENT_MINOR, READ);
	start_access(&second, &area, 1, 0x55);
	expect_event(&area, 1, GMM_USERFAULT_EVENT_MINOR, WRITE);
	assert_int_equal(gmm_userfault_continue(area.userfault, at(&area, 1), PAGE, 0, NULL), 0);
	pthread_join(access.thread, NULL);
	pthread_join(second.thread, NULL);
	assert_true(access.read == 0x22 || access.read == 0x55);
	close_area(&area);
}

static void test_write_protect(void **state)
{
	struct access access;
	struct area area;
	int shared;

	for (shared = 0; shared < 2; shared++) {
		open_area(&area, shared, GMM_USERFAULT_WP);
		memset(area.memory, 7, PAGES * PAGE);
		assert_int_equal(gmm_userfault_protect(area.userfault, at(&area, 2), 3 * PAGE), 0);
		area.memory[PAGE] = 8;
		area.memory[5 * PAGE] = 8;
		assert_int_equal(area.memory[3 * PAGE], 7);
		start_access(&access, &area, 3, 9);
		expect_event(&area, 3, GMM_USERFAULT_EVENT_WP, WRITE);
		assert_int_equal(__atomic_load_n(&area.memory[3 * PAGE + 5], __ATOMIC_RELAXED), 7);
		/* Without the wake it would wait on. */
		assert_int_equal(gmm_userfault_unprotect(area.userfault, at(&area, 3), PAGE,
							 GMM_USERFAULT_NO_WAKE),
				 0);
		assert_int_equal(__atomic_load_n(&access.done, __ATOMIC_ACQUIRE), 0);
		assert_int_equal(gmm_userfault_wake(area.userfault, at(&area, 3), PAGE), 0);
		pthread_join(access.thread, NULL);
		assert_int_equal(area.memory[3 * PAGE + 5], 9);
		close_area(&area);
	}
}

/* A hole can be protected, and who continues chooses anew; so does who fills what was evicted. */
static void test_protect_what_is_not_mapped(void **state)
{
	struct access access;
	struct area area;

	open_area(&area, true, GMM_USERFAULT_MISSING | GMM_USERFAULT_MINOR | GMM_USERFAULT_WP);
	skip_without(&area, GMM_USERFAULT_CONTINUE_WP);
	assert_int_equal(gmm_userfault_protect(area.userfault, at(&area, 0), 2 * PAGE), 0);
	put_page(&area, 0, 1);
	start_access(&access, &area, 0, 2);
	expect_event(&area, 0, GMM_USERFAULT_EVENT_MINOR, WRITE);
	assert_int_equal(gmm_userfault_continue(area.userfault, at(&area, 0), PAGE,
						GMM_USERFAULT_PROTECTED, NULL),
			 0);
	expect_event(&area, 0, GMM_USERFAULT_EVENT_WP, WRITE);
	assert_int_equal(gmm_userfault_unprotect(area.userfault, at(&area, 0), PAGE, 0), 0);
	pthread_join(access.thread, NULL);
	close_area(&area);
}

/*
 * What eviction and the dirty log do, on kernels that map protected and on those that do not: the
 * page is protected, written out, dropped or discarded, and continued writable.
 */
static void test_protect_and_continue_writable(void **state)
{
	struct access access;
	struct area area;
	uint64_t present;

	open_area(&area, true, GMM_USERFAULT_MISSING | GMM_USERFAULT_MINOR | GMM_USERFAULT_WP);
	put_page(&area, 0, 1);
	put_page(&area, 1, 1);
	/* Protected while only the file has it. */
	assert_int_equal(gmm_userfault_protect(area.userfault, at(&area, 0), 3 * PAGE), 0);
	start_access(&access, &area, 0, 2);
	expect_event(&area, 0, GMM_USERFAULT_EVENT_MINOR, WRITE);
	assert_int_equal(gmm_userfault_continue(area.userfault, at(&area, 0), PAGE, 0, &present),
			 0);
	pthread_join(access.thread, NULL);
	assert_int_equal(present, 0);
	assert_int_equal(area.memory[5], 2);
	/* Protected while mapped. */
	assert_int_equal(gmm_userfault_protect(area.userfault, at(&area, 0), PAGE), 0);
	start_access(&access, &area, 0, 3);
	expect_event(&area, 0, GMM_USERFAULT_EVENT_WP, WRITE);
	assert_int_equal(gmm_userfault_unprotect(area.userfault, at(&area, 0), PAGE, 0), 0);
	pthread_join(access.thread, NULL);
	assert_int_equal(area.memory[5], 3);
	/* Its mapping dropped while protected: the protection stays behind, and continue ends it. */
	assert_int_equal(gmm_userfault_protect(area.userfault, at(&area, 0), PAGE), 0);
	assert_int_equal(madvise(area.memory, PAGE, MADV_DONTNEED), 0);
	start_access(&access, &area, 0, 4);
	expect_event(&area, 0, GMM_USERFAULT_EVENT_MINOR, WRITE);
	assert_int_equal(gmm_userfault_continue(area.userfault, at(&area, 0), PAGE, 0, NULL), 0);
	pthread_join(access.thread, NULL);
	assert_int_equal(area.memory[5], 4);
	/* Evicted while protected: missing. */
	assert_int_equal(gmm_userfault_protect(area.userfault, at(&area, 0), PAGE), 0);
	assert_int_equal(fallocate(area.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE),
			 0);
	start_access(&access, &area, 0, 5);
	expect_event(&area, 0, GMM_USERFAULT_EVENT_MISSING, WRITE);
	put_page(&area, 0, 6);
	assert_int_equal(gmm_userfault_continue(area.userfault, at(&area, 0), PAGE, 0, NULL), 0);
	pthread_join(access.thread, NULL);
	assert_int_equal(area.memory[5], 5);
	assert_int_equal(area.memory[6], 6);
	/* Unprotected while not mapped: it stays a minor fault. */
	assert_int_equal(gmm_userfault_unprotect(area.userfault, at(&area, 1), PAGE, 0), 0);
	start_access(&access, &area, 1, -1);
	expect_event(&area, 1, GMM_USERFAULT_EVENT_MINOR, READ);
	assert_int_equal(gmm_userfault_continue(area.userfault, at(&area, 1), PAGE, 0, NULL), 0);
	pthread_join(access.thread, NULL);
	assert_int_equal(access.read, 1);
	close_area(&area);
}

static int lack_continue_wp(void **state)
{
	lacking = GMM_USERFAULT_CONTINUE_WP;
	return 0;
}

static int lack_nothing(void **state)
{
	lacking = 0;
	return 0;
}

/* As on Linux 5.19 to 6.3, Debian 12's among them. */
static void test_without_protecting_continue(void **state)
{
	struct gmm_userfault *userfault = NULL;
	char text[GMM_USERFAULT_TEXT_BYTES] = "";
	struct area area;

	open_area(&area, true, GMM_USERFAULT_MISSING | GMM_USERFAULT_MINOR | GMM_USERFAULT_WP);
	assert_true(can(&area, GMM_USERFAULT_SHARED_WP));
	assert_false(can(&area, GMM_USERFAULT_CONTINUE_WP));
	put_page(&area, 0, 1);
	assert_int_equal(gmm_userfault_continue(area.userfault, at(&area, 0), PAGE,
						GMM_USERFAULT_PROTECTED, NULL),
			 -GMM_EINVAL);
	close_area(&area);
	test_protect_and_continue_writable(state);
	test_write_protect(state);
	assert_int_equal(gmm_userfault_open_lacking(lacking, GMM_USERFAULT_CONTINUE_WP, 0,
						    &userfault, text),
			 -GMM_ENOSYS);
	assert_non_null(strstr(text, "6.4"));
}

/* Who asks for one half gets the other where the kernel has it: nobody needs to know both names. */
static void test_protection_comes_whole(void **state)
{
	const uint32_t both = GMM_USERFAULT_SHARED_WP | GMM_USERFAULT_CONTINUE_WP;
	struct gmm_userfault *userfault = NULL;
	char text[GMM_USERFAULT_TEXT_BYTES] = "";

	if (gmm_userfault_open(GMM_USERFAULT_CONTINUE_WP, 0, &userfault, text)) {
		print_message("%s\n", text);
		skip();
	}
	assert_int_equal(gmm_userfault_abilities(userfault) & both, both);
	gmm_userfault_close(userfault);
	assert_int_equal(gmm_userfault_open(0, GMM_USERFAULT_SHARED_WP, &userfault, text), 0);
	assert_int_equal(gmm_userfault_abilities(userfault) & both, both);
	gmm_userfault_close(userfault);
}

/* As before Linux 5.19. */
static void test_without_shared_protection(void **state)
{
	struct gmm_userfault *userfault = NULL;
	char text[GMM_USERFAULT_TEXT_BYTES] = "";

	assert_int_equal(gmm_userfault_open_lacking(GMM_USERFAULT_SHARED_WP, GMM_USERFAULT_SHARED,
						    GMM_USERFAULT_SHARED_WP, &userfault, text),
			 0);
	assert_int_equal(gmm_userfault_abilities(userfault) &
				 (GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP |
				  GMM_USERFAULT_CONTINUE_WP),
			 GMM_USERFAULT_SHARED);
	gmm_userfault_close(userfault);
	assert_int_equal(gmm_userfault_open_lacking(GMM_USERFAULT_SHARED_WP,
						    GMM_USERFAULT_SHARED_WP, 0, &userfault, text),
			 -GMM_ENOSYS);
	assert_non_null(strstr(text, "5.19"));
}

static void *drop_thread(void *opaque)
{
	struct area *area = opaque;

	madvise(area->memory + PAGE, 2 * PAGE, MADV_DONTNEED);
	return NULL;
}

static void test_foreign_events(void **state)
{
	char text[GMM_USERFAULT_TEXT_BYTES] = "";
	struct gmm_userfault_event event;
	struct area area = { .file = -1 };
	pthread_t thread;

	if (gmm_userfault_open(GMM_USERFAULT_EVENTS, 0, &area.userfault, text)) {
		print_message("%s\n", text);
		skip();
	}
	area.memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	assert_true(area.memory != MAP_FAILED);
	area.start = (uintptr_t)area.memory;
	assert_int_equal(gmm_userfault_register(area.userfault, area.start, PAGES * PAGE,
						GMM_USERFAULT_MISSING),
			 0);
	assert_int_equal(pthread_create(&thread, NULL, drop_thread, &area), 0);
	event = next_event(&area);
	pthread_join(thread, NULL);
	assert_int_equal(event.kind, GMM_USERFAULT_EVENT_REMOVED);
	assert_int_equal(event.start, at(&area, 1));
	assert_int_equal(event.bytes, 2 * PAGE);
	close_area(&area);
}

static void test_refusals(void **state)
{
	uint8_t contents[PAGE] = { 0 };
	struct area area;

	open_area(&area, false, GMM_USERFAULT_MISSING | GMM_USERFAULT_WP);
	assert_int_equal(gmm_userfault_copy(area.userfault, area.start + 1, PAGE, contents, 0,
					    NULL),
			 -GMM_EINVAL);
	assert_int_equal(gmm_userfault_zero(area.userfault, area.start, 0, 0, NULL), -GMM_EINVAL);
	/* MINOR is for files. */
	assert_int_equal(gmm_userfault_register(area.userfault, area.start, PAGES * PAGE,
						GMM_USERFAULT_MINOR),
			 -GMM_EINVAL);
	assert_int_equal(gmm_userfault_copy(area.userfault, at(&area, 0), PAGE, (void *)8, 0, NULL),
			 -GMM_EFAULT);
	/* Gone. */
	assert_int_equal(gmm_userfault_unregister(area.userfault, area.start, PAGES * PAGE), 0);
	assert_int_equal(gmm_userfault_copy(area.userfault, area.start, PAGE, contents, 0, NULL),
			 -GMM_ENOENT);
	assert_int_equal(gmm_userfault_protect(area.userfault, area.start, PAGE), -GMM_ENOENT);
	assert_int_equal(gmm_userfault_register(area.userfault, area.start, PAGES * PAGE,
						GMM_USERFAULT_MISSING),
			 0);
	{
		struct gmm_userfault *other = NULL;
		char text[GMM_USERFAULT_TEXT_BYTES];

		assert_int_equal(gmm_userfault_open(0, 0, &other, text), 0);
		assert_int_equal(gmm_userfault_register(other, area.start, PAGES * PAGE,
							GMM_USERFAULT_MISSING),
				 -GMM_EBUSY);
		gmm_userfault_close(other);
	}
	close_area(&area);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_missing_copy),
		cmocka_unit_test(test_present_page_is_woken),
		cmocka_unit_test(test_zero),
		cmocka_unit_test(test_minor_continue),
		cmocka_unit_test(test_write_protect),
		cmocka_unit_test(test_protect_what_is_not_mapped),
		cmocka_unit_test(test_protect_and_continue_writable),
		cmocka_unit_test_setup_teardown(test_without_protecting_continue, lack_continue_wp,
						lack_nothing),
		cmocka_unit_test(test_protection_comes_whole),
		cmocka_unit_test(test_without_shared_protection),
		cmocka_unit_test(test_foreign_events),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
