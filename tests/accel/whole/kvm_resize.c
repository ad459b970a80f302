/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * accel/kvm: a slot changes its size under a vCPU that writes. KVM deletes it and adds it again, so
 * for a moment accesses are MMIO, which the host makes here; and its log must not lose what is
 * written at any moment.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <guestmm/slot.h>

#include "plain_guest.h"

#define PAGE GUEST_PAGE_BYTES
#define PAGES 2048u
#define KEPT 1984u /* pages that the slot always has */
#define ROUNDS 60u
#define SNAPSHOT_GPA (3ull << 30)

struct scene {
	struct plain_guest guest;
	pthread_barrier_t barrier;
	uint32_t over; /* written before the barrier */
	uint32_t bad;  /* atomic: an exit that cannot be */
	/* Pages that the host wrote for the vCPU; of the vCPU's thread between two barriers. */
	uint8_t host_wrote[PAGES];
	uint64_t mmio;
};

static bool emulate(struct scene *scene, const struct gmm_accel_exit *exit)
{
	uint64_t offset = exit->mmio.gpa - SNAPSHOT_GPA;
	uint8_t *memory = scene->guest.snapshot + offset;

	if (exit->kind != GMM_ACCEL_EXIT_MMIO || offset >= PAGES * PAGE)
		return false;
	scene->mmio++;
	if (exit->mmio.is_write) {
		memcpy(memory, exit->mmio.data, exit->mmio.length);
		scene->host_wrote[offset / PAGE] = 1;
	} else {
		memcpy(exit->mmio.data, memory, exit->mmio.length);
	}
	return true;
}

static void *vcpu_thread(void *opaque)
{
	struct scene *scene = opaque;
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	struct gmm_accel_vcpu_start start;
	struct gmm_accel_vcpu *vcpu = NULL;
	struct gmm_accel_exit exit;

	gmm_program_vcpu_start(&scene->guest.program, 0, &start);
	if (gmm_accel_kvm.vcpu_create(scene->guest.accel, &start, &vcpu, text))
		__atomic_store_n(&scene->bad, 1, __ATOMIC_RELAXED);
	for (;;) {
		pthread_barrier_wait(&scene->barrier);
		if (scene->over)
			break;
		do {
			if (vcpu)
				gmm_accel_kvm.vcpu_run(vcpu, &exit);
		} while (vcpu && emulate(scene, &exit));
		if (vcpu && (exit.kind != GMM_ACCEL_EXIT_GUEST || exit.code != GUEST_EXIT_STOPPED))
			__atomic_store_n(&scene->bad, 1, __ATOMIC_RELAXED);
		pthread_barrier_wait(&scene->barrier);
	}
	if (vcpu)
		gmm_accel_kvm.vcpu_destroy(vcpu);
	return NULL;
}

static uint64_t steps(const struct scene *scene)
{
	const struct guest_mailbox *mailbox = &scene->guest.program.vcpus[0].mailbox;

	return __atomic_load_n(&mailbox->statistics.steps, __ATOMIC_RELAXED);
}

static void start(struct scene *scene)
{
	gmm_program_stop(&scene->guest.program, 0, false);
	pthread_barrier_wait(&scene->barrier);
}

static void stop(struct scene *scene)
{
	gmm_program_stop(&scene->guest.program, 0, true);
	pthread_barrier_wait(&scene->barrier);
	assert_int_equal(__atomic_load_n(&scene->bad, __ATOMIC_RELAXED), 0);
}

static void pass_steps(const struct scene *scene, uint64_t count)
{
	uint64_t until = steps(scene) + count;

	while (steps(scene) < until && !__atomic_load_n(&scene->bad, __ATOMIC_RELAXED))
		sched_yield();
}

static void resize(struct scene *scene, uint64_t pages)
{
	struct gmm_slot_info now = scene->guest.snapshot_slot;

	now.count = pages;
	assert_int_equal(plain_slot(&scene->guest, &scene->guest.snapshot_slot, &now), 0);
	scene->guest.snapshot_slot = now;
}

static void collect(struct scene *scene, uint64_t *words)
{
	struct gmm_span span = {
		.slot = PLAIN_SNAPSHOT_SLOT,
		.gfn = SNAPSHOT_GPA / PAGE,
		.hva = (uintptr_t)scene->guest.snapshot,
		.count = KEPT,
	};

	memset(words, 0, KEPT / 8);
	assert_int_equal(
		scene->guest.stage2.ops->collect_dirty(scene->guest.stage2.owner, &span, words), 0);
}

/* The vCPU stands: every page that changed is in the log, or the host wrote it. */
static uint64_t check_log(struct scene *scene, uint8_t *copy)
{
	uint64_t words[KEPT / 64];
	uint64_t page, changed = 0;

	collect(scene, words);
	for (page = 0; page < KEPT; page++) {
		const uint8_t *now = scene->guest.snapshot + page * PAGE;

		if (!memcmp(copy + page * PAGE, now, PAGE))
			continue;
		changed++;
		if (!(words[page / 64] >> page % 64 & 1) && !scene->host_wrote[page])
			fail_msg("page %u was written and is not in the log", (unsigned int)page);
		memcpy(copy + page * PAGE, now, PAGE);
	}
	memset(scene->host_wrote, 0, sizeof(scene->host_wrote));
	return changed;
}

static void own_all_pages(struct scene *scene)
{
	uint64_t answered = 0;

	start(scene);
	while (answered < PAGES && !__atomic_load_n(&scene->bad, __ATOMIC_RELAXED))
		answered += plain_answer_reports(&scene->guest, 0, GUEST_PAGE_MAY_TAKE);
	pass_steps(scene, PAGES);
	stop(scene);
}

static void check_resizes(enum gmm_accel_dirty dirty)
{
	struct guest_mailbox *mailbox;
	uint64_t changed = 0;
	struct scene *scene;
	pthread_t thread;
	uint8_t *copy;
	uint32_t round;

	plain_skip_unless_usable(&gmm_accel_kvm);
	scene = calloc(1, sizeof(*scene));
	copy = malloc(PAGES * PAGE);
	assert_true(scene && copy);
	plain_setup(&scene->guest, &(struct plain_config){ .ops = &gmm_accel_kvm,
							   .vcpus = 1,
							   .pages = PAGES,
							   .dirty = dirty,
							   .snapshot_flags = GMM_SLOT_LOG_DIRTY,
							   .snapshot_gpa = SNAPSHOT_GPA });
	mailbox = &scene->guest.program.vcpus[0].mailbox;
	mailbox->weight_random = mailbox->weight_hot = 0;
	mailbox->write_percent = 100;
	mailbox->accesses_per_step = 1;
	pthread_barrier_init(&scene->barrier, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, vcpu_thread, scene), 0);
	own_all_pages(scene);
	memcpy(copy, scene->guest.snapshot, PAGES * PAGE);
	for (round = 0; round < ROUNDS; round++) {
		start(scene);
		pass_steps(scene, 20);
		resize(scene, round % 2 ? PAGES : KEPT);
		stop(scene);
		changed += check_log(scene, copy);
	}
	assert_true(changed > ROUNDS);
	print_message("%u pages changed, %u accesses were MMIO\n", (unsigned int)changed,
		      (unsigned int)scene->mmio);
	scene->over = 1;
	pthread_barrier_wait(&scene->barrier);
	pthread_join(thread, NULL);
	plain_assert_no_loss(&scene->guest);
	plain_verify_all(&scene->guest);
	plain_teardown(&scene->guest);
	pthread_barrier_destroy(&scene->barrier);
	free(copy);
	free(scene);
}

static void test_bitmap(void **state)
{
	check_resizes(GMM_ACCEL_DIRTY_BITMAP);
}

static void test_ring(void **state)
{
	check_resizes(GMM_ACCEL_DIRTY_RING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bitmap),
		cmocka_unit_test(test_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
