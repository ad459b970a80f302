/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * accel/kvm: instructions that make several accesses to MMIO. Each access is an exit, in order, also
 * when the frame is set in between, for which the instruction has to be brought to its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "code_guest.h"

#define DEVICE_GPA 0x10000000ull
#define DEVICE_BYTES 8192u
#define ACCESSES 32u

/* A word to a page's end, and one over it. */
#define CROSSING 4092u

CODE(add, "mov (%rdi), %rsi\n"
	  "addl $1, (%rsi)\n");
CODE(xchg, "mov (%rdi), %rsi\n"
	   "mov $0x11223344, %eax\n"
	   "xchg %eax, (%rsi)\n"
	   "mov %eax, 8(%rdi)\n");
CODE(move, "mov %rdi, %r8\n"
	   "mov (%r8), %rsi\n"
	   "lea 64(%rsi), %rdi\n"
	   "movsq\n"
	   "mov %r8, %rdi\n");
CODE(cross_read, "mov (%rdi), %rsi\n"
		 "mov 4092(%rsi), %rax\n"
		 "mov %rax, 8(%rdi)\n");
CODE(cross_write, "mov (%rdi), %rsi\n"
		  "movabs $0x1122334455667788, %rax\n"
		  "mov %rax, 4092(%rsi)\n");
CODE(cross_add, "mov (%rdi), %rsi\n"
		"addq $1, 4092(%rsi)\n");

struct access {
	uint64_t offset;
	uint32_t length;
	bool is_write;
};

struct scene {
	struct code_guest guest;
	uint8_t device[DEVICE_BYTES];
	struct access access[ACCESSES];
	uint32_t accesses;
	uint64_t frame;
};

static void emulate(struct scene *scene)
{
	const struct gmm_accel_exit *exit = &scene->guest.exit;
	uint64_t offset = exit->mmio.gpa - DEVICE_GPA;

	assert_int_equal(exit->kind, GMM_ACCEL_EXIT_MMIO);
	assert_true(offset < DEVICE_BYTES && exit->mmio.length <= DEVICE_BYTES - offset);
	assert_true(scene->accesses < ACCESSES);
	scene->access[scene->accesses++] =
		(struct access){ offset, exit->mmio.length, exit->mmio.is_write };
	if (exit->mmio.is_write)
		memcpy(scene->device + offset, exit->mmio.data, exit->mmio.length);
	else
		memcpy(exit->mmio.data, scene->device + offset, exit->mmio.length);
}

static void set_frame(struct scene *scene)
{
	assert_int_equal(gmm_accel_kvm.vcpu_set_frame(scene->guest.vcpu, ++scene->frame), 0);
}

static void open_scene(struct scene *scene, const uint8_t *code, const uint8_t *code_end)
{
	uint32_t i;

	memset(scene, 0, sizeof(*scene));
	for (i = 0; i < DEVICE_BYTES; i++)
		scene->device[i] = (uint8_t)(i * 7 + 1);
	scene->guest.code = code;
	scene->guest.code_end = code_end;
	code_guest_open(&scene->guest);
	scene->guest.arguments[0] = DEVICE_GPA;
}

/* One round; at each exit the frame is another, when that is asked for. */
static void play(struct scene *scene, bool frames)
{
	scene->accesses = 0;
	while (!code_guest_run(&scene->guest)) {
		emulate(scene);
		if (frames)
			set_frame(scene);
	}
	/* It is in force as soon as there is no access left. */
	if (frames) {
		set_frame(scene);
		assert_int_equal(scene->guest.mailbox.frame_number, scene->frame);
	}
}

static void assert_access(const struct scene *scene, uint32_t index, bool is_write, uint64_t offset,
			  uint32_t length)
{
	const struct access *access = &scene->access[index];

	assert_true(index < scene->accesses);
	assert_int_equal(access->is_write, is_write);
	assert_int_equal(access->offset, offset);
	assert_int_equal(access->length, length);
}

static uint64_t word_at(const struct scene *scene, uint64_t offset, size_t length)
{
	uint64_t word = 0;

	memcpy(&word, scene->device + offset, length);
	return word;
}

#define READ false
#define WRITE true

static void check_add(bool frames)
{
	struct scene scene;
	uint64_t before;
	int round;

	open_scene(&scene, add_code, add_code_end);
	before = word_at(&scene, 0, 4);
	for (round = 1; round <= 3; round++) {
		play(&scene, frames);
		assert_int_equal(scene.accesses, 2);
		assert_access(&scene, 0, READ, 0, 4);
		assert_access(&scene, 1, WRITE, 0, 4);
		assert_int_equal(word_at(&scene, 0, 4), before + (uint64_t)round);
	}
	code_guest_close(&scene.guest);
}

static void check_xchg(bool frames)
{
	struct scene scene;
	uint64_t before;

	open_scene(&scene, xchg_code, xchg_code_end);
	before = word_at(&scene, 0, 4);
	play(&scene, frames);
	assert_int_equal(scene.accesses, 2);
	assert_access(&scene, 0, READ, 0, 4);
	assert_access(&scene, 1, WRITE, 0, 4);
	assert_int_equal(word_at(&scene, 0, 4), 0x11223344);
	assert_int_equal((uint32_t)scene.guest.arguments[1], before);
	code_guest_close(&scene.guest);
}

static void check_move(bool frames)
{
	struct scene scene;
	int round;

	open_scene(&scene, move_code, move_code_end);
	for (round = 0; round < 2; round++) {
		scene.device[0]++;
		play(&scene, frames);
		assert_int_equal(scene.accesses, 2);
		assert_access(&scene, 0, READ, 0, 8);
		assert_access(&scene, 1, WRITE, 64, 8);
		assert_int_equal(word_at(&scene, 64, 8), word_at(&scene, 0, 8));
	}
	code_guest_close(&scene.guest);
}

static void check_crossing_read(bool frames)
{
	struct scene scene;

	open_scene(&scene, cross_read_code, cross_read_code_end);
	play(&scene, frames);
	assert_int_equal(scene.accesses, 2);
	assert_access(&scene, 0, READ, CROSSING, 4);
	assert_access(&scene, 1, READ, CROSSING + 4, 4);
	assert_int_equal(scene.guest.arguments[1], word_at(&scene, CROSSING, 8));
	code_guest_close(&scene.guest);
}

static void check_crossing_write(bool frames)
{
	struct scene scene;

	open_scene(&scene, cross_write_code, cross_write_code_end);
	play(&scene, frames);
	assert_int_equal(scene.accesses, 2);
	assert_access(&scene, 0, WRITE, CROSSING, 4);
	assert_access(&scene, 1, WRITE, CROSSING + 4, 4);
	assert_true(word_at(&scene, CROSSING, 8) == 0x1122334455667788);
	code_guest_close(&scene.guest);
}

static void check_crossing_add(bool frames)
{
	struct scene scene;
	uint64_t before;

	open_scene(&scene, cross_add_code, cross_add_code_end);
	before = word_at(&scene, CROSSING, 8);
	play(&scene, frames);
	assert_int_equal(scene.accesses, 4);
	assert_access(&scene, 0, READ, CROSSING, 4);
	assert_access(&scene, 1, READ, CROSSING + 4, 4);
	assert_access(&scene, 2, WRITE, CROSSING, 4);
	assert_access(&scene, 3, WRITE, CROSSING + 4, 4);
	assert_true(word_at(&scene, CROSSING, 8) == before + 1);
	code_guest_close(&scene.guest);
}

/* A frame's use that is nothing but the instruction is not made twice. */
static void test_a_use_is_not_made_twice(void **state)
{
	struct scene scene = { 0 };
	uint64_t before;

	scene.guest.code = add_code;
	scene.guest.code_end = add_code_end;
	/* The first instruction is 3 bytes long, the second 3. */
	scene.guest.restart = 3;
	scene.guest.commit = 6;
	code_guest_open(&scene.guest);
	scene.guest.arguments[0] = DEVICE_GPA;
	before = word_at(&scene, 0, 4);
	play(&scene, true);
	assert_int_equal(scene.accesses, 2);
	assert_int_equal(word_at(&scene, 0, 4), before + 1);
	code_guest_close(&scene.guest);
}

/* A kick in the middle is answered, and takes nothing away. */
static void test_a_kick_in_the_middle(void **state)
{
	struct gmm_accel_exit *exit;
	struct scene scene;
	uint32_t kicked = 0;
	uint64_t before;

	open_scene(&scene, cross_add_code, cross_add_code_end);
	exit = &scene.guest.exit;
	before = word_at(&scene, CROSSING, 8);
	for (;;) {
		gmm_accel_kvm.vcpu_run(scene.guest.vcpu, exit);
		if (exit->kind == GMM_ACCEL_EXIT_GUEST)
			break;
		if (exit->kind == GMM_ACCEL_EXIT_KICKED) {
			kicked++;
			continue;
		}
		emulate(&scene);
		gmm_accel_kvm.vcpu_kick(scene.guest.vcpu);
		set_frame(&scene);
	}
	assert_in_range(kicked, 1, 4);
	assert_int_equal(scene.accesses, 4);
	assert_true(word_at(&scene, CROSSING, 8) == before + 1);
	code_guest_close(&scene.guest);
}

#define CASE(name)                                         \
	static void test_##name(void **state)              \
	{                                                  \
		check_##name(false);                       \
	}                                                  \
	static void test_##name##_and_frames(void **state) \
	{                                                  \
		check_##name(true);                        \
	}

CASE(add)
CASE(xchg)
CASE(move)
CASE(crossing_read)
CASE(crossing_write)
CASE(crossing_add)

#define LISTED(name) cmocka_unit_test(test_##name), cmocka_unit_test(test_##name##_and_frames)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LISTED(add),
		LISTED(xchg),
		LISTED(move),
		LISTED(crossing_read),
		LISTED(crossing_write),
		LISTED(crossing_add),
		cmocka_unit_test(test_a_use_is_not_made_twice),
		cmocka_unit_test(test_a_kick_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
