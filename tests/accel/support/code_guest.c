/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "code_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <guestmm/slot.h>

/* Pages of the slot. */
enum {
	TASK,
	ROOT,
	DIRECTORIES,
	LEAVES, /* two pages: two GiB */
	TEXT = LEAVES + 2,
	ARGUMENTS,
	STACK,
	PAGES
};

/* Of x86 page tables: present, writable, user, accessed; leaves are dirty and of 2 MiB. */
#define LINK 0x27ull
#define LEAF 0xe7ull
#define BIG_PAGE (2ull << 20)
/* In the task state segment: where its map of forbidden ports begins; none is. */
#define PORT_MAP_FIELD 102u
#define PORT_MAP 104u

static uint64_t gpa_of(uint32_t page)
{
	return CODE_GPA + page * CODE_PAGE;
}

static void fill_program(struct code_guest *guest)
{
	uint8_t *memory = gmm_memory_engine_address(guest->program);
	uint64_t *root = (uint64_t *)(memory + ROOT * CODE_PAGE);
	uint64_t *directories = (uint64_t *)(memory + DIRECTORIES * CODE_PAGE);
	uint64_t *leaves = (uint64_t *)(memory + LEAVES * CODE_PAGE);
	size_t bytes = (size_t)(guest->code_end - guest->code);
	uint32_t i;

	assert_true(bytes <= CODE_PAGE);
	memory[TASK * CODE_PAGE + PORT_MAP_FIELD] = PORT_MAP;
	root[0] = gpa_of(DIRECTORIES) | LINK;
	directories[0] = gpa_of(LEAVES) | LINK;
	directories[1] = gpa_of(LEAVES + 1) | LINK;
	for (i = 0; i < 2 * CODE_PAGE / sizeof(*leaves); i++)
		leaves[i] = i * BIG_PAGE | LEAF;
	memcpy(memory + TEXT * CODE_PAGE, guest->code, bytes);
	guest->arguments = (uint64_t *)(memory + ARGUMENTS * CODE_PAGE);
}

static void open_accel(struct code_guest *guest)
{
	struct gmm_accel_config config = {
		.gpa_bytes = CODE_GPA_BYTES,
		.vcpus = 1,
		.dirty = guest->dirty,
	};
	struct gmm_guest_config engine = { .max_vcpus = 1 };
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	int error = gmm_accel_kvm.probe(text);

	if (!error && guest->lazy)
		error = gmm_userfault_open(GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP |
						   GMM_USERFAULT_KERNEL,
					   0, &guest->userfault, text);
	config.userfault = guest->userfault;
	if (!error)
		error = gmm_accel_kvm.create(&config, &guest->accel, text);
	if (error == -GMM_ENOSYS) {
		print_message("%s\n", text);
		if (guest->userfault)
			gmm_userfault_close(guest->userfault);
		skip();
	}
	if (error)
		fail_msg("%s", text);
	gmm_accel_kvm.stage2(guest->accel, &guest->stage2);
	engine.stage2_ops = guest->stage2.ops;
	engine.stage2_owner = guest->stage2.owner;
	assert_int_equal(gmm_guest_create(&engine, &guest->guest), 0);
}

static void add_program(struct code_guest *guest)
{
	struct gmm_memory_config config = {
		.kind = GMM_MEMORY_KIND_PLAIN,
		.page_count = PAGES,
		.page_shift = 12,
	};
	struct gmm_slot_config slot = {
		.id = CODE_SLOT,
		.gfn = CODE_GPA / CODE_PAGE,
		.count = PAGES,
	};

	assert_int_equal(gmm_memory_create(&config, &guest->program, NULL, 0), 0);
	fill_program(guest);
	slot.hva = (uintptr_t)gmm_memory_vcpu_address(guest->program);
	slot.memory = guest->program;
	slot.memory_ops = gmm_memory_ops_of(guest->program);
	assert_int_equal(gmm_slot_add(guest->guest, &slot), 0);
}

void code_guest_open(struct code_guest *guest)
{
	struct gmm_accel_vcpu_start start = {
		.cpu_gpa = gpa_of(ARGUMENTS),
		.mailbox = &guest->mailbox,
		.entry_gpa = gpa_of(TEXT),
		.stack_gpa = gpa_of(STACK + 1),
		.page_table_gpa = gpa_of(ROOT),
		.tss_gpa = gpa_of(TASK),
		.frame_restart_gpa = gpa_of(TEXT) + guest->restart,
		.frame_commit_gpa = gpa_of(TEXT) + guest->commit,
	};
	char text[GMM_ACCEL_TEXT_BYTES] = "";

	open_accel(guest);
	add_program(guest);
	if (gmm_accel_kvm.vcpu_create(guest->accel, &start, &guest->vcpu, text))
		fail_msg("%s", text);
}

void code_guest_close(struct code_guest *guest)
{
	gmm_accel_kvm.vcpu_destroy(guest->vcpu);
	assert_int_equal(gmm_slot_remove(guest->guest, CODE_SLOT), 0);
	assert_int_equal(gmm_guest_destroy(guest->guest), 0);
	gmm_accel_kvm.destroy(guest->accel);
	gmm_memory_close(guest->program);
	if (guest->userfault)
		gmm_userfault_close(guest->userfault);
}

bool code_guest_run(struct code_guest *guest)
{
	gmm_accel_kvm.vcpu_run(guest->vcpu, &guest->exit);
	if (guest->exit.kind != GMM_ACCEL_EXIT_GUEST && guest->exit.kind != GMM_ACCEL_EXIT_MMIO)
		fail_msg("exit %d: %s", guest->exit.kind, guest->exit.text);
	return guest->exit.kind == GMM_ACCEL_EXIT_GUEST && guest->exit.code == GUEST_EXIT_PAUSED;
}
