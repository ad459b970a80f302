/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "plain_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define PAGE GUEST_PAGE_BYTES

void plain_skip_unless_usable(const struct gmm_accel_ops *ops)
{
	char reason[GMM_ACCEL_TEXT_BYTES];

	if (ops->probe(reason)) {
		print_message("%s\n", reason);
		skip();
	}
}

/* Plain memory where the accelerator wants it. */
static void *map_plain(struct plain_guest *guest, uint64_t gpa, uint64_t bytes)
{
	void *address = guest->ops->vcpu_address(guest->accel, gpa, bytes);
	void *memory = mmap(address, bytes, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | (address ? MAP_FIXED : 0), -1, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

static void unmap_plain(struct plain_guest *guest, void *memory, uint64_t gpa, uint64_t bytes)
{
	if (guest->ops->vcpu_address(guest->accel, gpa, bytes))
		guest->ops->vcpu_address_release(guest->accel, memory, bytes);
	else
		munmap(memory, bytes);
}

int plain_slot(struct plain_guest *guest, const struct gmm_slot_info *old,
	       const struct gmm_slot_info *now)
{
	struct gmm_slot_info none = { .id = old ? old->id : now->id };

	return guest->stage2.ops->slot_change(guest->stage2.owner, old ? old : &none,
					      now ? now : &none);
}

static void add_slot(struct plain_guest *guest, struct gmm_slot_info *slot, uint32_t id,
		     uint32_t flags, uint64_t gpa, uint64_t bytes, const void *memory)
{
	*slot = (struct gmm_slot_info){
		.id = id,
		.flags = flags,
		.gfn = gpa / PAGE,
		.count = bytes / PAGE,
		.hva = (uintptr_t)memory,
	};
	assert_int_equal(plain_slot(guest, NULL, slot), 0);
}

static void fill_snapshot(struct plain_guest *guest)
{
	uint64_t *words = (uint64_t *)guest->original;
	uint64_t i;

	for (i = 0; i < guest->pages * PAGE / 8; i++)
		words[i] = guest_mix(i);
	memcpy(guest->snapshot, guest->original, guest->pages * PAGE);
}

void plain_setup(struct plain_guest *guest, const struct plain_config *config)
{
	uint64_t snapshot_end = config->snapshot_gpa + config->pages * PAGE;
	struct gmm_program_config program = {
		.vcpus = config->vcpus,
		.seed = 42,
		.program_gpa = gmm_program_gpa(snapshot_end + PLAIN_FRAMES * PAGE),
		.snapshot_gpa = config->snapshot_gpa,
		.snapshot_pages = config->pages,
		.frame_window_gpa = snapshot_end,
		.frame_window_pages = PLAIN_FRAMES,
	};
	uint64_t program_bytes = gmm_program_bytes(&program);
	struct gmm_accel_config accel = {
		.gpa_bytes = program.program_gpa + program_bytes,
		.vcpus = config->vcpus,
		.dirty = config->dirty,
		.dirty_ring_entries = config->ring_entries,
	};
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	void *memory;

	assert_true(program_bytes > 0);
	memset(guest, 0, sizeof(*guest));
	guest->ops = config->ops;
	guest->pages = config->pages;
	guest->gpa_bytes = accel.gpa_bytes;
	if (config->ops->create(&accel, &guest->accel, text))
		fail_msg("%s", text);
	config->ops->stage2(guest->accel, &guest->stage2);
	guest->snapshot = map_plain(guest, config->snapshot_gpa, config->pages * PAGE);
	guest->frames = map_plain(guest, snapshot_end, PLAIN_FRAMES * PAGE);
	memory = map_plain(guest, program.program_gpa, program_bytes);
	guest->original = malloc(config->pages * PAGE);
	assert_non_null(guest->original);
	fill_snapshot(guest);
	add_slot(guest, &guest->snapshot_slot, PLAIN_SNAPSHOT_SLOT, config->snapshot_flags,
		 config->snapshot_gpa, config->pages * PAGE, guest->snapshot);
	add_slot(guest, &guest->frame_slot, PLAIN_FRAME_SLOT, 0, snapshot_end, PLAIN_FRAMES * PAGE,
		 guest->frames);
	add_slot(guest, &guest->program_slot, PLAIN_PROGRAM_SLOT, 0, program.program_gpa,
		 program_bytes, memory);
	assert_int_equal(gmm_program_init(&guest->program, &program, memory,
					  config->ops->vcpu_address(guest->accel, 0, 0)),
			 0);
}

static void remove_slot(struct plain_guest *guest, struct gmm_slot_info *slot)
{
	assert_int_equal(plain_slot(guest, slot, NULL), 0);
	unmap_plain(guest, (void *)(uintptr_t)slot->hva, slot->gfn * PAGE, slot->count * PAGE);
}

void plain_teardown(struct plain_guest *guest)
{
	remove_slot(guest, &guest->snapshot_slot);
	remove_slot(guest, &guest->frame_slot);
	remove_slot(guest, &guest->program_slot);
	guest->ops->destroy(guest->accel);
	free(guest->original);
}

uint64_t plain_answer_reports(struct plain_guest *guest, uint32_t vcpu, enum guest_page_state state)
{
	struct guest_report report;
	uint64_t number = 0;

	while (gmm_program_report_pop(&guest->program, vcpu, &report)) {
		assert_true(report.page < guest->pages);
		assert_true(report.hash == guest_hash(guest->original + report.page * PAGE));
		gmm_program_page_answer(&guest->program, report.page, state);
		number++;
	}
	guest->answered += number;
	return number;
}

uint64_t plain_serve_io(struct plain_guest *guest, uint32_t vcpu)
{
	struct guest_io io;
	uint64_t number = 0;

	while (gmm_program_io_peek(&guest->program, vcpu, &io)) {
		uint64_t *buffer =
			(uint64_t *)(guest->snapshot + io.gpa - guest->program.config.snapshot_gpa);
		uint64_t key = guest_io_key(io.seed, io.sequence);
		enum guest_io_status status = GUEST_IO_OK;
		uint64_t i;

		for (i = 0; i < io.length / 8; i++) {
			if (io.operation == GUEST_IO_READ)
				buffer[i] = guest_io_word(key, i);
			else if (buffer[i] != guest_io_word(key, i))
				status = GUEST_IO_BAD;
		}
		gmm_program_io_complete(&guest->program, vcpu, status);
		number++;
	}
	return number;
}

void plain_verify_all(const struct plain_guest *guest)
{
	uint64_t page;
	uint32_t wrong = 0;

	for (page = 0; page < guest->pages; page++) {
		const struct guest_page *meta = &guest->program.pages[page];
		const uint8_t *found = guest->snapshot + page * PAGE;
		struct guest_page_expect expect = {
			.seed = guest->program.config.seed,
			.page = page,
			.version = meta->version,
			.full_version = meta->detail,
		};

		if (meta->state != GUEST_PAGE_OWNED)
			assert_memory_equal(found, guest->original + page * PAGE, PAGE);
		else if (!guest_page_verify(found, &expect, &wrong))
			fail_msg("page %llu: word %u is wrong", (unsigned long long)page, wrong);
	}
}

void plain_assert_no_loss(struct plain_guest *guest)
{
	struct guest_loss loss;
	uint32_t i;

	for (i = 0; i < guest->program.config.vcpus; i++)
		if (gmm_program_loss_pop(&guest->program, i, &loss))
			fail_msg("loss %u: page %llu vCPU %u expected %llu found %llu byte %u",
				 loss.kind, (unsigned long long)loss.page, loss.vcpu,
				 (unsigned long long)loss.expected_version,
				 (unsigned long long)loss.found_version, loss.first_wrong_byte);
}
