/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The live second stage and the fault service, with this file in the place of the engine. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/userfault.h>
#include <guestmm/slot.h>

#include "accel/accel.h"

#define PAGE 4096u
#define PAGES 16u
#define GFN 64u
#define SLOT 5u

/* What serve() does with the next fault. */
enum answer {
	MAP_AS_ASKED,
	MAP_READ_ONLY,
	HOLD,
	FAIL
};

struct world {
	struct gmm_userfault *userfault;
	struct gmm_accel *accel;
	struct gmm_accel_stage2 stage2;
	struct gmm_fault_service *service;
	struct gmm_memory_ops memory_ops;
	struct gmm_slot_info slot;
	uint8_t *memory;
	int file;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum answer answer;
	uint32_t served; /* calls of serve */
	uint32_t failed; /* calls of failed */
	gmm_gfn_t gfn;
	uint32_t access;
};

static struct gmm_span span_of(struct world *world, uint32_t page, uint32_t count)
{
	return (struct gmm_span){ .slot = SLOT,
				  .page = page,
				  .gfn = GFN + page,
				  .hva = (uintptr_t)world->memory + page * PAGE,
				  .count = count,
				  .memory_ops = &world->memory_ops };
}

static int serve(void *opaque, gmm_hva_t hva, uint32_t access)
{
	struct world *world = opaque;
	uint32_t page = (uint32_t)((hva - (uintptr_t)world->memory) / PAGE);
	struct gmm_span span = span_of(world, page, 1);
	const struct gmm_stage2_ops *ops = world->stage2.ops;
	enum answer answer;

	pthread_mutex_lock(&world->lock);
	answer = world->answer;
	world->served++;
	world->gfn = GFN + page;
	world->access = access;
	pthread_cond_broadcast(&world->changed);
	pthread_mutex_unlock(&world->lock);
	if (answer == HOLD)
		return GMM_FAULT_HELD;
	if (answer == FAIL)
		return -GMM_EIO;
	if (answer == MAP_READ_ONLY)
		access = GMM_ACCESS_READ;
	return ops->map(world->stage2.owner, &span, access);
}

static void failed(void *opaque, gmm_hva_t hva, uint32_t access, int error)
{
	struct world *world = opaque;
	gmm_gfn_t gfn = GFN + (hva - (uintptr_t)world->memory) / PAGE;

	pthread_mutex_lock(&world->lock);
	if (error == -GMM_EIO && gfn == world->gfn && access == world->access)
		world->failed++;
	pthread_cond_broadcast(&world->changed);
	pthread_mutex_unlock(&world->lock);
}

static void set_answer(struct world *world, enum answer answer)
{
	pthread_mutex_lock(&world->lock);
	world->answer = answer;
	pthread_mutex_unlock(&world->lock);
}

static void wait_for(struct world *world, const uint32_t *number, uint32_t least)
{
	pthread_mutex_lock(&world->lock);
	while (*number < least)
		pthread_cond_wait(&world->changed, &world->lock);
	pthread_mutex_unlock(&world->lock);
}

static uint32_t served(struct world *world)
{
	uint32_t number;

	pthread_mutex_lock(&world->lock);
	number = world->served;
	pthread_mutex_unlock(&world->lock);
	return number;
}

static int change_slot(struct world *world, const struct gmm_slot_info *old,
		       const struct gmm_slot_info *now)
{
	struct gmm_slot_info none = { .id = SLOT };

	return world->stage2.ops->slot_change(world->stage2.owner, old ? old : &none,
					      now ? now : &none);
}

/* Abilities that the kernel is said to lack, for the tests that hold without them. */
static uint32_t lacking;

static bool maps_protected(const struct world *world)
{
	return world->stage2.ops->flags & GMM_STAGE2_MAPS_PROTECTED;
}

static void setup(struct world *world, uint32_t threads)
{
	struct gmm_accel_config config = { .gpa_bytes = 1 << 20, .vcpus = 1 };
	struct gmm_fault_service_config service = {
		.threads = threads, .failed = failed, .opaque = world, .serve = serve
	};
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	void *address;
	uint32_t i;

	memset(world, 0, sizeof(*world));
	if (gmm_userfault_open_lacking(lacking,
				       GMM_USERFAULT_SHARED | (GMM_USERFAULT_SHARED_WP & ~lacking),
				       0, &world->userfault, text)) {
		print_message("%s\n", text);
		skip();
	}
	pthread_mutex_init(&world->lock, NULL);
	pthread_cond_init(&world->changed, NULL);
	config.userfault = world->userfault;
	assert_int_equal(gmm_accel_process.create(&config, &world->accel, text), 0);
	gmm_accel_process.stage2(world->accel, &world->stage2);
	assert_int_equal(world->stage2.ops->flags,
			 gmm_userfault_abilities(world->userfault) & GMM_USERFAULT_CONTINUE_WP ?
				 GMM_STAGE2_MAPS_PROTECTED :
				 0);
	world->file = memfd_create("test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(world->file, PAGES * PAGE), 0);
	for (i = 0; i < PAGES; i++)
		assert_int_equal(pwrite(world->file, &i, 1, i * PAGE), 1);
	address = gmm_accel_process.vcpu_address(world->accel, GFN * PAGE, PAGES * PAGE);
	world->memory = mmap(address, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			     world->file, 0);
	assert_ptr_equal(world->memory, address);
	world->memory_ops.flags = GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE | GMM_MEMORY_AGEABLE;
	world->slot = (struct gmm_slot_info){ .id = SLOT,
					      .gfn = GFN,
					      .count = PAGES,
					      .hva = (uintptr_t)world->memory,
					      .memory_ops = &world->memory_ops };
	assert_int_equal(change_slot(world, NULL, &world->slot), 0);
	service.userfault = world->userfault;
	assert_int_equal(gmm_fault_service_start(&service, &world->service), 0);
}

static void teardown(struct world *world)
{
	gmm_fault_service_stop(world->service);
	if (world->slot.count)
		assert_int_equal(change_slot(world, &world->slot, NULL), 0);
	gmm_accel_process.vcpu_address_release(world->accel, world->memory, PAGES * PAGE);
	close(world->file);
	gmm_accel_process.destroy(world->accel);
	gmm_userfault_close(world->userfault);
	pthread_cond_destroy(&world->changed);
	pthread_mutex_destroy(&world->lock);
}

struct access {
	pthread_t thread;
	uint8_t *address;
	uint8_t value;
};

static void *read_thread(void *opaque)
{
	struct access *access = opaque;

	access->value = __atomic_load_n(access->address, __ATOMIC_RELAXED);
	return NULL;
}

static void *write_thread(void *opaque)
{
	struct access *access = opaque;

	__atomic_store_n(access->address, access->value, __ATOMIC_RELAXED);
	return NULL;
}

static void start_read(struct access *access, struct world *world, uint32_t page)
{
	access->address = world->memory + page * PAGE;
	assert_int_equal(pthread_create(&access->thread, NULL, read_thread, access), 0);
}

static void start_write(struct access *access, struct world *world, uint32_t page, uint8_t value)
{
	access->address = world->memory + page * PAGE;
	access->value = value;
	assert_int_equal(pthread_create(&access->thread, NULL, write_thread, access), 0);
}

static void test_read_then_write(void **state)
{
	struct access access;
	struct world world;

	setup(&world, 1);
	if (!maps_protected(&world)) {
		teardown(&world);
		print_message("userfaultfd of this kernel cannot map protected: Linux 6.4 can\n");
		skip();
	}
	start_read(&access, &world, 3);
	pthread_join(access.thread, NULL);
	assert_int_equal(access.value, 3);
	assert_int_equal(served(&world), 1);
	assert_int_equal(world.gfn, GFN + 3);
	assert_int_equal(world.access, GMM_ACCESS_READ);
	/*
	 * It was mapped read-only: the write is a fault, and mapping it again for writing is
	 * enough.
	 */
	start_write(&access, &world, 3, 33);
	pthread_join(access.thread, NULL);
	assert_int_equal(served(&world), 2);
	assert_int_equal(world.access, GMM_ACCESS_READ | GMM_ACCESS_WRITE);
	start_write(&access, &world, 3, 34);
	pthread_join(access.thread, NULL);
	assert_int_equal(served(&world), 2);
	assert_int_equal(world.memory[3 * PAGE], 34);
	teardown(&world);
}

static void test_unmap_and_protect(void **state)
{
	const struct gmm_stage2_ops *ops;
	struct access access;
	struct gmm_span span;
	struct world world;

	setup(&world, 1);
	ops = world.stage2.ops;
	span = span_of(&world, 0, PAGES);
	assert_int_equal(ops->map(world.stage2.owner, &span, GMM_ACCESS_READ | GMM_ACCESS_WRITE),
			 0);
	world.memory[7 * PAGE] = 77;
	assert_int_equal(served(&world), 0);
	/* Mapping what is mapped is no error. */
	assert_int_equal(ops->map(world.stage2.owner, &span, GMM_ACCESS_READ), 0);
	span = span_of(&world, 6, 2);
	assert_int_equal(ops->unmap(world.stage2.owner, &span), 0);
	start_read(&access, &world, 7);
	pthread_join(access.thread, NULL);
	assert_int_equal(access.value, 77);
	assert_int_equal(served(&world), 1);
	/* Page 5 was not touched by that. */
	assert_int_equal(world.memory[5 * PAGE], 5);
	assert_int_equal(served(&world), 1);
	span = span_of(&world, 4, 2);
	assert_int_equal(ops->protect(world.stage2.owner, &span), 0);
	assert_int_equal(world.memory[5 * PAGE], 5);
	start_write(&access, &world, 5, 55);
	pthread_join(access.thread, NULL);
	assert_int_equal(served(&world), 2);
	/* Unprotect lets page 4 be written without a fault. */
	assert_int_equal(ops->unprotect(world.stage2.owner, &span), 0);
	world.memory[4 * PAGE] = 44;
	assert_int_equal(served(&world), 2);
	teardown(&world);
}

static void test_held_until_woken(void **state)
{
	struct access access;
	struct gmm_span span;
	struct world world;

	setup(&world, 1);
	set_answer(&world, HOLD);
	start_read(&access, &world, 1);
	wait_for(&world, &world.served, 1);
	set_answer(&world, MAP_AS_ASKED);
	span = span_of(&world, 0, 4);
	world.stage2.ops->wake(world.stage2.owner, &span);
	pthread_join(access.thread, NULL);
	assert_int_equal(access.value, 1);
	assert_int_equal(served(&world), 2);
	teardown(&world);
}

static void test_failure_is_told(void **state)
{
	struct gmm_fault_service_statistics statistics;
	struct access access;
	struct gmm_span span;
	struct world world;

	setup(&world, 1);
	set_answer(&world, FAIL);
	start_write(&access, &world, 2, 22);
	wait_for(&world, &world.failed, 1);
	gmm_fault_service_read_statistics(world.service, &statistics);
	assert_int_equal(statistics.kind[GMM_FAULT_SERVICE_MINOR].failed, 1);
	assert_int_equal(statistics.kind[GMM_FAULT_SERVICE_MINOR].served, 0);
	/* The owner repairs it. */
	span = span_of(&world, 2, 1);
	assert_int_equal(world.stage2.ops->map(world.stage2.owner, &span,
					       GMM_ACCESS_READ | GMM_ACCESS_WRITE),
			 0);
	pthread_join(access.thread, NULL);
	assert_int_equal(world.memory[2 * PAGE], 22);
	teardown(&world);
}

/* A slot that goes away lets go who waits in it. */
static void test_slot_removed_under_a_fault(void **state)
{
	struct access access;
	struct world world;

	setup(&world, 1);
	set_answer(&world, HOLD);
	start_read(&access, &world, 9);
	wait_for(&world, &world.served, 1);
	assert_int_equal(change_slot(&world, &world.slot, NULL), 0);
	pthread_join(access.thread, NULL);
	assert_int_equal(access.value, 9);
	world.slot.count = 0;
	teardown(&world);
}

static void test_slot_rules(void **state)
{
	struct gmm_slot_info other, plain;
	struct gmm_memory_ops resident = { .flags = 0 };
	struct gmm_live_range range;
	struct world world;
	gmm_gfn_t gfn = 0;

	setup(&world, 1);
	assert_true(gmm_live_stage2_find(world.stage2.live, world.slot.hva + 5 * PAGE + 7, &range,
					 &gfn));
	assert_int_equal(gfn, GFN + 5);
	assert_int_equal(range.slot, SLOT);
	assert_false(gmm_live_stage2_find(world.stage2.live, world.slot.hva - 1, &range, &gfn));
	assert_false(gmm_live_stage2_find(world.stage2.live, world.slot.hva + PAGES * PAGE, &range,
					  &gfn));
	/* Memory is where its GPA is. */
	other = world.slot;
	other.id = SLOT + 1;
	other.gfn = GFN + PAGES;
	assert_int_equal(change_slot(&world, NULL, &other), -GMM_EOPNOTSUPP);
	assert_int_equal(change_slot(&world, &world.slot, &other), -GMM_EOPNOTSUPP);
	other.gfn = (1 << 20) / PAGE;
	assert_int_equal(change_slot(&world, NULL, &other), -GMM_ERANGE);
	other = world.slot;
	other.id = SLOT + 1;
	assert_int_equal(change_slot(&world, NULL, &other), -GMM_EEXIST);
	/* Without faults nobody sees writes. */
	plain = (struct gmm_slot_info){
		.id = 1, .gfn = 0, .count = 1, .memory_ops = &resident, .flags = GMM_SLOT_LOG_DIRTY
	};
	plain.hva = (uintptr_t)gmm_accel_process.vcpu_address(world.accel, 0, PAGE);
	assert_int_equal(change_slot(&world, NULL, &plain), -GMM_EOPNOTSUPP);
	plain.flags = GMM_SLOT_READ_ONLY;
	assert_int_equal(change_slot(&world, NULL, &plain), -GMM_EOPNOTSUPP);
	plain.flags = 0;
	assert_int_equal(change_slot(&world, NULL, &plain), 0);
	assert_int_equal(change_slot(&world, &plain, NULL), 0);
	/* Shorter: what was cut off is registered no more, the rest is. */
	other = world.slot;
	other.count = 4;
	assert_int_equal(change_slot(&world, &world.slot, &other), 0);
	world.slot = other;
	assert_int_equal(world.memory[10 * PAGE], 10);
	assert_int_equal(served(&world), 0);
	assert_int_equal(world.memory[2 * PAGE], 2);
	assert_int_equal(served(&world), 1);
	teardown(&world);
}

static int lack_continue_wp(void **state)
{
	lacking = GMM_USERFAULT_CONTINUE_WP;
	return 0;
}

static int lack_shared_wp(void **state)
{
	lacking = GMM_USERFAULT_SHARED_WP;
	return 0;
}

static int lack_nothing(void **state)
{
	lacking = 0;
	return 0;
}

/*
 * As on Linux 5.19 to 6.3: pages are mapped writable, and the owner says so; protection of mapped
 * pages holds until they are mapped again; memory that must never be written is refused.
 */
static void test_without_protecting_map(void **state)
{
	const struct gmm_stage2_ops *ops;
	struct gmm_slot_info read_only;
	struct access access;
	struct gmm_span span;
	struct world world;

	setup(&world, 1);
	ops = world.stage2.ops;
	assert_false(maps_protected(&world));
	set_answer(&world, MAP_READ_ONLY);
	start_read(&access, &world, 3);
	pthread_join(access.thread, NULL);
	assert_int_equal(served(&world), 1);
	world.memory[3 * PAGE] = 33;
	assert_int_equal(served(&world), 1);
	/* Mapping it again for writing ends the protection, and so does unprotect. */
	set_answer(&world, MAP_AS_ASKED);
	span = span_of(&world, 2, 3);
	assert_int_equal(ops->protect(world.stage2.owner, &span), 0);
	start_write(&access, &world, 3, 34);
	pthread_join(access.thread, NULL);
	assert_int_equal(served(&world), 2);
	assert_int_equal(world.access, GMM_ACCESS_READ | GMM_ACCESS_WRITE);
	assert_int_equal(ops->protect(world.stage2.owner, &span), 0);
	assert_int_equal(ops->unprotect(world.stage2.owner, &span), 0);
	world.memory[3 * PAGE] = 35;
	assert_int_equal(served(&world), 2);
	/* What was protected without being mapped (2, 4) is one fault, not two. */
	assert_int_equal(ops->protect(world.stage2.owner, &span), 0);
	start_write(&access, &world, 4, 44);
	pthread_join(access.thread, NULL);
	assert_int_equal(served(&world), 3);
	assert_int_equal(world.memory[4 * PAGE], 44);

	read_only = world.slot;
	read_only.flags = GMM_SLOT_READ_ONLY;
	assert_int_equal(change_slot(&world, &world.slot, &read_only), -GMM_EOPNOTSUPP);
	read_only.flags = GMM_SLOT_LOG_DIRTY;
	assert_int_equal(change_slot(&world, &world.slot, &read_only), 0);
	world.slot = read_only;
	teardown(&world);
}

/* As before Linux 5.19: faults are served, but what needs protection is refused. */
static void test_without_protection(void **state)
{
	struct gmm_slot_info logged;
	struct access access;
	struct gmm_span span;
	struct world world;

	setup(&world, 1);
	assert_false(maps_protected(&world));
	start_write(&access, &world, 3, 33);
	pthread_join(access.thread, NULL);
	assert_int_equal(world.memory[3 * PAGE], 33);
	span = span_of(&world, 3, 1);
	assert_int_equal(world.stage2.ops->protect(world.stage2.owner, &span), -GMM_EOPNOTSUPP);
	logged = world.slot;
	logged.flags = GMM_SLOT_LOG_DIRTY;
	assert_int_equal(change_slot(&world, &world.slot, &logged), -GMM_EOPNOTSUPP);
	logged.flags = GMM_SLOT_READ_ONLY;
	assert_int_equal(change_slot(&world, &world.slot, &logged), -GMM_EOPNOTSUPP);
	teardown(&world);
}

static void test_lazy_needs_a_userfault(void **state)
{
	struct gmm_memory_ops lazy = { .flags = GMM_MEMORY_LAZY | GMM_MEMORY_AGEABLE };
	struct gmm_accel_config config = { .gpa_bytes = 1 << 20, .vcpus = 1 };
	struct gmm_slot_info none = { .id = 1 };
	struct gmm_slot_info slot = { .id = 1, .count = 1, .memory_ops = &lazy };
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	struct gmm_accel_stage2 stage2;
	struct gmm_accel *accel = NULL;

	assert_int_equal(gmm_accel_process.create(&config, &accel, text), 0);
	gmm_accel_process.stage2(accel, &stage2);
	slot.hva = (uintptr_t)gmm_accel_process.vcpu_address(accel, 0, PAGE);
	assert_int_equal(stage2.ops->slot_change(stage2.owner, &none, &slot), -GMM_EOPNOTSUPP);
	gmm_accel_process.destroy(accel);
}

/* Memory that no vCPU reaches: its slot is taken, also with a log, and there is nothing to do for it. */
static void test_host_only(void **state)
{
	struct gmm_memory_ops host_only = { .flags = GMM_MEMORY_HOST_ONLY };
	struct gmm_slot_info none = { .id = 1 };
	struct gmm_slot_info slot = {
		.id = 1,
		.flags = GMM_SLOT_LOG_DIRTY,
		.gfn = 5,
		.count = 2,
		.hva = 16 * PAGE,
		.memory_ops = &host_only,
	};
	struct gmm_span span = { .gfn = 5, .hva = 16 * PAGE, .count = 2, .memory_ops = &host_only };
	const struct gmm_stage2_ops *ops;
	struct gmm_live_stage2 *live;
	struct gmm_live_range range;
	gmm_gfn_t gfn;

	assert_int_equal(gmm_live_stage2_create(NULL, &live), 0);
	ops = gmm_live_stage2_ops(live);
	assert_int_equal(ops->slot_change(live, &none, &slot), 0);
	assert_false(gmm_live_stage2_find(live, slot.hva, &range, &gfn));
	assert_int_equal(ops->protect(live, &span), 0);
	assert_int_equal(ops->unprotect(live, &span), 0);
	assert_int_equal(ops->unmap(live, &span), 0);
	assert_int_equal(ops->map(live, &span, GMM_ACCESS_WRITE), 0);
	ops->wake(live, &span);
	assert_int_equal(ops->slot_change(live, &slot, &none), 0);
	gmm_live_stage2_destroy(live);
}

/*
 * Many accesses, several service threads: each page is served, and the end does not wait for
 * events.
 */
static void *touch_all(void *opaque)
{
	struct world *world = opaque;
	uint32_t i;

	for (i = 0; i < PAGES; i++)
		__atomic_fetch_add(&world->memory[i * PAGE + 1], 1, __ATOMIC_RELAXED);
	return NULL;
}

static void test_many(void **state)
{
	struct gmm_fault_service_statistics statistics;
	struct gmm_latency *latency = &statistics.kind[GMM_FAULT_SERVICE_MINOR].latency;
	const struct gmm_stage2_ops *ops;
	pthread_t threads[3];
	struct gmm_span span;
	struct world world;
	uint32_t i, round;

	setup(&world, 3);
	ops = world.stage2.ops;
	span = span_of(&world, 0, PAGES);
	for (round = 0; round < 50; round++) {
		assert_int_equal(ops->unmap(world.stage2.owner, &span), 0);
		for (i = 0; i < 3; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, touch_all, &world), 0);
		for (i = 0; i < 3; i++)
			pthread_join(threads[i], NULL);
	}
	for (i = 0; i < PAGES; i++)
		assert_int_equal(world.memory[i * PAGE + 1], 150);
	gmm_fault_service_read_statistics(world.service, &statistics);
	assert_true(statistics.kind[GMM_FAULT_SERVICE_MINOR].served >= 50 * PAGES);
	assert_int_equal(latency->count, statistics.kind[GMM_FAULT_SERVICE_MINOR].served);
	assert_true(gmm_latency_percentile(latency, 500) > 0);
	assert_true(gmm_latency_percentile(latency, 990) >= gmm_latency_percentile(latency, 500));
	assert_int_equal(statistics.unknown, 0);
	assert_int_equal(statistics.foreign, 0);
	teardown(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_then_write),
		cmocka_unit_test(test_unmap_and_protect),
		cmocka_unit_test(test_held_until_woken),
		cmocka_unit_test(test_failure_is_told),
		cmocka_unit_test(test_slot_removed_under_a_fault),
		cmocka_unit_test(test_slot_rules),
		cmocka_unit_test(test_lazy_needs_a_userfault),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_host_only),
		cmocka_unit_test_setup_teardown(test_without_protecting_map, lack_continue_wp,
						lack_nothing),
		cmocka_unit_test_setup_teardown(test_unmap_and_protect, lack_continue_wp,
						lack_nothing),
		cmocka_unit_test_setup_teardown(test_many, lack_continue_wp, lack_nothing),
		cmocka_unit_test_setup_teardown(test_without_protection, lack_shared_wp,
						lack_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
