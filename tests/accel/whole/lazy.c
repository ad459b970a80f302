/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The guest program on lazily filled memory: engine, fault service and accelerator together. vCPUs
 * write while this thread evicts; every page is verified by the program on each access and here at
 * the end.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/memory.h>
#include <guestmm/linux/source.h>
#include <guestmm/linux/userfault.h>
#include <guestmm/slot.h>

#include "accel/accel.h"
#include "accel/program.h"
#include "guest/page.h"

#define PAGE GUEST_PAGE_BYTES
#define PAGES 1024u
#define RESIDENT 300u
#define VCPUS 2u
#define SEED 7u

enum {
	SNAPSHOT_SLOT,
	PROGRAM_SLOT,
	SLOTS
};

struct whole {
	const struct gmm_accel_ops *ops;
	struct gmm_accel *accel;
	struct gmm_userfault *userfault;
	struct gmm_guest *guest;
	struct gmm_fault_service *service;
	struct gmm_source source;
	struct gmm_memory *memory[SLOTS];
	void *address[SLOTS]; /* where vCPUs access it */
	struct gmm_program program;
	uint32_t failures; /* atomic: faults that could not be served */
};

static void log_line(void *opaque, enum gmm_log_level level, const char *text)
{
	print_message("log %d: %s\n", level, text);
}

static void fault_failed(void *opaque, gmm_hva_t hva, uint32_t access, int error)
{
	struct whole *whole = opaque;

	print_message("fault at %llx, access %u: error %d\n", (unsigned long long)hva, access,
		      error);
	__atomic_fetch_add(&whole->failures, 1, __ATOMIC_RELAXED);
}

static void add_memory(struct whole *whole, uint32_t slot, enum gmm_memory_kind kind, gmm_gpa_t gpa,
		       uint64_t pages, uint32_t flags)
{
	struct gmm_memory_config config = { .kind = kind, .page_count = pages, .page_shift = 12 };
	struct gmm_slot_config added = {
		.id = slot, .flags = flags, .gfn = gpa / PAGE, .count = pages
	};
	char text[GMM_BACKING_TEXT_SIZE] = "";

	if (kind != GMM_MEMORY_KIND_PLAIN)
		config.source = whole->source;
	config.vcpu_address = whole->ops->vcpu_address(whole->accel, gpa, pages * PAGE);
	if (gmm_memory_create(&config, &whole->memory[slot], text, sizeof(text)))
		fail_msg("%s", text);
	whole->address[slot] = gmm_memory_vcpu_address(whole->memory[slot]);
	added.hva = (uintptr_t)whole->address[slot];
	added.memory = whole->memory[slot];
	added.memory_ops = gmm_memory_ops_of(whole->memory[slot]);
	assert_int_equal(gmm_slot_add(whole->guest, &added), 0);
	gmm_memory_attach_userfault(whole->memory[slot],
				    gmm_userfault_descriptor(whole->userfault));
}

/* Abilities that the kernel is said to lack, for the runs that do without them. */
static uint32_t lacking;

static void setup(struct whole *whole, const struct gmm_accel_ops *ops, enum gmm_memory_kind kind,
		  enum gmm_accel_dirty dirty)
{
	struct gmm_program_config program = {
		.vcpus = VCPUS,
		.seed = SEED,
		.program_gpa = gmm_program_gpa(PAGES * PAGE),
		.snapshot_pages = PAGES,
	};
	uint64_t program_bytes = gmm_program_bytes(&program);
	struct gmm_accel_config accel = { .gpa_bytes = program.program_gpa + program_bytes,
					  .vcpus = VCPUS,
					  .dirty = dirty };
	struct gmm_guest_config guest = { .max_vcpus = VCPUS, .log = log_line };
	struct gmm_fault_service_config service = { .busy_threads = VCPUS, .opaque = whole };
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct gmm_accel_stage2 stage2;

	memset(whole, 0, sizeof(*whole));
	whole->ops = ops;
	if (ops->probe(text) ||
	    gmm_userfault_open_lacking(lacking,
				       (ops == &gmm_accel_kvm ? GMM_USERFAULT_KERNEL : 0) |
					       GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP |
					       GMM_USERFAULT_PRIVATE_WP,
				       0, &whole->userfault, text)) {
		print_message("%s\n", text);
		skip();
	}
	accel.userfault = whole->userfault;
	if (ops->create(&accel, &whole->accel, text))
		fail_msg("%s", text);
	ops->stage2(whole->accel, &stage2);
	guest.stage2_ops = stage2.ops;
	guest.stage2_owner = stage2.owner;
	assert_int_equal(gmm_guest_create(&guest, &whole->guest), 0);
	assert_int_equal(
		gmm_source_open_generated(&whole->source, SEED, PAGES, 12, text, sizeof(text)), 0);
	add_memory(whole, SNAPSHOT_SLOT, kind, 0, PAGES, GMM_SLOT_LOG_DIRTY);
	add_memory(whole, PROGRAM_SLOT, GMM_MEMORY_KIND_PLAIN, program.program_gpa,
		   program_bytes / PAGE, 0);
	assert_int_equal(gmm_program_init(&whole->program, &program, whole->address[PROGRAM_SLOT],
					  ops->vcpu_address(whole->accel, 0, 0)),
			 0);
	service.guest = whole->guest;
	service.userfault = whole->userfault;
	service.failed = fault_failed;
	assert_int_equal(gmm_fault_service_start(&service, &whole->service), 0);
}

static void teardown(struct whole *whole)
{
	uint32_t i;

	gmm_fault_service_stop(whole->service);
	for (i = 0; i < SLOTS; i++) {
		assert_int_equal(gmm_slot_remove(whole->guest, i), 0);
		gmm_memory_attach_userfault(whole->memory[i], -1);
		gmm_memory_close(whole->memory[i]);
	}
	assert_int_equal(gmm_guest_destroy(whole->guest), 0);
	whole->ops->destroy(whole->accel);
	gmm_userfault_close(whole->userfault);
	gmm_source_close(&whole->source);
}

struct vcpu_thread {
	pthread_t thread;
	struct whole *whole;
	uint32_t index;
	uint32_t left; /* atomic */
	struct gmm_accel_exit exit;
};

static void *vcpu_main(void *opaque)
{
	struct vcpu_thread *thread = opaque;
	struct whole *whole = thread->whole;
	struct gmm_accel_vcpu_start start;
	struct gmm_accel_vcpu *vcpu = NULL;

	gmm_program_vcpu_start(&whole->program, thread->index, &start);
	thread->exit.kind = GMM_ACCEL_EXIT_ERROR;
	if (whole->ops->vcpu_create(whole->accel, &start, &vcpu, thread->exit.text) == 0) {
		whole->ops->vcpu_run(vcpu, &thread->exit);
		whole->ops->vcpu_destroy(vcpu);
	}
	__atomic_store_n(&thread->left, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void answer_reports(struct whole *whole, uint32_t vcpu)
{
	uint64_t contents[PAGE / 8];
	struct guest_report report;

	while (gmm_program_report_pop(&whole->program, vcpu, &report)) {
		bool good;

		assert_int_equal(
			whole->source.ops->read(whole->source.source, report.page, 1, contents), 0);
		good = guest_hash(contents) == report.hash;
		assert_true(good);
		/* One in eight is only read, so that clean pages are evicted too. */
		gmm_program_page_answer(&whole->program, report.page,
					report.page % 8 ? GUEST_PAGE_MAY_TAKE : GUEST_PAGE_KEEP);
	}
}

/* Evicts and answers until there was enough of everything. */
static void run(struct whole *whole, struct vcpu_thread *threads)
{
	struct gmm_guest_counters counters;
	struct guest_statistics statistics;
	/* Where pages cannot be mapped protected, each one that was mapped counts as changed. */
	bool maps_protected = gmm_userfault_abilities(whole->userfault) & GMM_USERFAULT_CONTINUE_WP;
	uint64_t touched, takes;
	bool enough = false;
	uint32_t i, left = 0;

	while (left < VCPUS) {
		touched = takes = left = 0;
		for (i = 0; i < VCPUS; i++) {
			answer_reports(whole, i);
			gmm_program_statistics(&whole->program, i, &statistics);
			touched += statistics.first_touches;
			takes += statistics.takes;
			left += __atomic_load_n(&threads[i].left, __ATOMIC_ACQUIRE);
		}
		assert_int_equal(__atomic_load_n(&whole->failures, __ATOMIC_RELAXED), 0);
		assert_true(gmm_resident_trim(whole->guest, RESIDENT) >= 0);
		gmm_guest_read_counters(whole->guest, &counters);
		enough = touched == PAGES && takes == PAGES - PAGES / 8 &&
			 counters.evicted > 3000 && counters.refaulted > 1000 &&
			 (counters.evicted_clean > 100 || !maps_protected);
		for (i = 0; enough && i < VCPUS; i++)
			gmm_program_stop(&whole->program, i, true);
	}
	assert_true(enough);
	if (!maps_protected)
		assert_int_equal(counters.evicted_clean, 0);
}

static void verify_all(struct whole *whole)
{
	uint64_t found[PAGE / 8], original[PAGE / 8];
	uint64_t page;
	uint32_t wrong = 0;

	for (page = 0; page < PAGES; page++) {
		const struct guest_page *meta = &whole->program.pages[page];
		struct guest_page_expect expect = {
			.seed = SEED,
			.page = page,
			.version = meta->version,
			.full_version = meta->detail,
		};

		assert_int_equal(gmm_page_read(whole->guest, page, found), 0);
		if (meta->state == GUEST_PAGE_OWNED) {
			if (!guest_page_verify(found, &expect, &wrong))
				fail_msg("page %llu: word %u is wrong", (unsigned long long)page,
					 wrong);
			continue;
		}
		assert_int_equal(whole->source.ops->read(whole->source.source, page, 1, original),
				 0);
		assert_memory_equal(found, original, PAGE);
	}
}

static void print_service(struct whole *whole)
{
	static const char *const names[] = { "missing", "minor", "protected" };
	struct gmm_fault_service_statistics statistics;
	uint32_t i;

	gmm_fault_service_read_statistics(whole->service, &statistics);
	for (i = 0; i < GMM_FAULT_SERVICE_KINDS; i++)
		print_message("%s: served %llu held %llu p50 %llu ns p99 %llu ns\n", names[i],
			      (unsigned long long)statistics.kind[i].served,
			      (unsigned long long)statistics.kind[i].held,
			      (unsigned long long)gmm_latency_percentile(
				      &statistics.kind[i].latency, 500),
			      (unsigned long long)gmm_latency_percentile(
				      &statistics.kind[i].latency, 990));
}

static void write_while_evicting(const struct gmm_accel_ops *ops, enum gmm_memory_kind kind,
				 enum gmm_accel_dirty dirty)
{
	struct vcpu_thread threads[VCPUS];
	struct guest_statistics statistics;
	struct whole whole;
	uint32_t i;

	setup(&whole, ops, kind, dirty);
	for (i = 0; i < VCPUS; i++) {
		whole.program.vcpus[i].mailbox.weight_hot = 0;
		threads[i] = (struct vcpu_thread){ .whole = &whole, .index = i };
		assert_int_equal(pthread_create(&threads[i].thread, NULL, vcpu_main, &threads[i]),
				 0);
	}
	run(&whole, threads);
	for (i = 0; i < VCPUS; i++) {
		pthread_join(threads[i].thread, NULL);
		if (threads[i].exit.kind != GMM_ACCEL_EXIT_GUEST ||
		    threads[i].exit.code != GUEST_EXIT_STOPPED)
			fail_msg("exit %d code %u: %s", threads[i].exit.kind, threads[i].exit.code,
				 threads[i].exit.text);
		gmm_program_statistics(&whole.program, i, &statistics);
		assert_int_equal(statistics.losses, 0);
	}
	print_service(&whole);
	verify_all(&whole);
	teardown(&whole);
}

static void test_kvm_memfd(void **state)
{
	write_while_evicting(&gmm_accel_kvm, GMM_MEMORY_KIND_MEMFD, GMM_ACCEL_DIRTY_BITMAP);
}

static void test_kvm_memfd_ring(void **state)
{
	write_while_evicting(&gmm_accel_kvm, GMM_MEMORY_KIND_MEMFD, GMM_ACCEL_DIRTY_RING);
}

static void test_kvm_anonymous(void **state)
{
	write_while_evicting(&gmm_accel_kvm, GMM_MEMORY_KIND_ANONYMOUS, GMM_ACCEL_DIRTY_BITMAP);
}

static void test_process_memfd(void **state)
{
	write_while_evicting(&gmm_accel_process, GMM_MEMORY_KIND_MEMFD, GMM_ACCEL_DIRTY_BITMAP);
}

static void test_process_anonymous(void **state)
{
	write_while_evicting(&gmm_accel_process, GMM_MEMORY_KIND_ANONYMOUS, GMM_ACCEL_DIRTY_BITMAP);
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
#define WITHOUT_CONTINUE_WP(test) \
	cmocka_unit_test_setup_teardown(test, lack_continue_wp, lack_nothing)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process_memfd),	 cmocka_unit_test(test_process_anonymous),
		cmocka_unit_test(test_kvm_memfd),	 cmocka_unit_test(test_kvm_memfd_ring),
		cmocka_unit_test(test_kvm_anonymous),	 WITHOUT_CONTINUE_WP(test_process_memfd),
		WITHOUT_CONTINUE_WP(test_kvm_memfd),	 WITHOUT_CONTINUE_WP(test_kvm_memfd_ring),
		WITHOUT_CONTINUE_WP(test_kvm_anonymous),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
