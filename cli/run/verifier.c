/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Empties the guest's rings. A first touch is compared with the source, read by its own operation
 * and not through guest memory; only then the guest may take the page over. Losses that the guest
 * found are named.
 */
#include <stdlib.h>

#include "../command.h"
#include "device.h"
#include "run.h"

#include "guest/hash.h"

#define IDLE_NS 300000u
#define BATCH 64u
/* Of so many pages one stays as it is in the snapshot, and is only read. */
#define KEPT_ONE_OF 16u

/* Copies reports out; the guest may use their entries again. */
static int take_reports(struct run *run, struct gmm_reader *reader, uint32_t vcpu,
			struct guest_report *reports)
{
	struct guest_vcpu_area *area = run_area_enter(run, reader, vcpu, NULL);
	struct guest_report_ring *ring;
	uint64_t tail, head;
	int count = 0;

	if (!area)
		return -1;
	ring = &area->reports;
	tail = ring->tail;
	head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
	while (tail != head && count < (int)BATCH)
		reports[count++] = ring->entry[tail++ % GUEST_REPORTS];
	__atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
	gmm_section_exit(reader);
	return count;
}

static int take_losses(struct run *run, struct gmm_reader *reader, uint32_t vcpu,
		       struct guest_loss *losses)
{
	struct guest_vcpu_area *area = run_area_enter(run, reader, vcpu, NULL);
	struct guest_loss_ring *ring;
	uint64_t tail, head;
	int count = 0;

	if (!area)
		return -1;
	ring = &area->losses;
	tail = ring->tail;
	head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
	while (tail != head && count < (int)GUEST_LOSSES)
		losses[count++] = ring->entry[tail++ % GUEST_LOSSES];
	__atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
	gmm_section_exit(reader);
	return count;
}

static void answer(struct run *run, struct gmm_reader *reader, uint64_t page,
		   enum guest_page_state state)
{
	struct guest_page *meta = run_page_enter(run, reader, page);

	if (!meta)
		return;
	__atomic_store_n(&meta->state, (uint32_t)state, __ATOMIC_RELEASE);
	gmm_section_exit(reader);
}

/* What becomes of a page that is as it should be. */
static enum guest_page_state choose_state(const struct run *run, uint64_t page)
{
	if (run_device_wants_page(run, page))
		return GUEST_PAGE_REFUSED;
	return guest_mix(page ^ run->options.seed) % KEPT_ONE_OF ? GUEST_PAGE_MAY_TAKE :
								   GUEST_PAGE_KEEP;
}

static void verify(struct run *run, struct gmm_reader *reader, uint32_t vcpu,
		   const struct guest_report *report)
{
	_Alignas(8) uint8_t expected[RUN_PAGE_BYTES];
	enum guest_page_state state = GUEST_PAGE_REFUSED;
	uint64_t hash;

	if (report->page >= run->page_count) {
		run_lost(run, "vCPU %u reported page %llu of %llu", vcpu,
			 (unsigned long long)report->page, (unsigned long long)run->page_count);
		return;
	}
	if (run->source.ops->read(run->source.source, report->page, 1, expected)) {
		run_source_failed(run);
		return;
	}
	hash = guest_hash(expected);
	if (hash == report->hash) {
		run_count(&run->verifier.verified, 1);
		state = choose_state(run, report->page);
	} else {
		run_lost(
			run,
			"page %llu (GPA 0x%llx), vCPU %u, first touch: expected hash %016llx of the "
			"snapshot, found %016llx",
			(unsigned long long)report->page,
			(unsigned long long)(run->snapshot.gpa + report->page * RUN_PAGE_BYTES),
			vcpu, (unsigned long long)hash, (unsigned long long)report->hash);
	}
	answer(run, reader, report->page, state);
	if (hash == report->hash && state == GUEST_PAGE_REFUSED)
		run_device_give_page(run, report->page);
}

static void name_loss(struct run *run, const struct guest_loss *loss)
{
	unsigned long long page = loss->page;
	unsigned long long gpa = run->snapshot.gpa + loss->page * RUN_PAGE_BYTES;
	unsigned long long expected = loss->expected_version;
	unsigned long long found = loss->found_version;

	switch (loss->kind) {
	case GUEST_LOSS_PAGE:
		run_lost(
			run,
			"page %llu (GPA 0x%llx), vCPU %u: expected version %llu, found version %llu "
			"(checksum %016llx, found %016llx), wrong from byte %u on, at step %llu",
			page, gpa, loss->vcpu, expected, found,
			(unsigned long long)loss->expected_checksum,
			(unsigned long long)loss->found_checksum, loss->first_wrong_byte,
			(unsigned long long)loss->step);
		return;
	case GUEST_LOSS_UNTAKEN:
		run_lost(
			run,
			"page %llu (GPA 0x%llx), vCPU %u: not taken over, expected hash %016llx of its "
			"first touch, found %016llx",
			page, gpa, loss->vcpu, (unsigned long long)loss->expected_checksum,
			(unsigned long long)loss->found_checksum);
		return;
	case GUEST_LOSS_FRAME:
		run_lost(run, "frame %llu, vCPU %u: expected count %llu, found %llu", page,
			 loss->vcpu, expected, found);
		return;
	case GUEST_LOSS_DEVICE_READ:
	case GUEST_LOSS_DEVICE_STRAY:
	case GUEST_LOSS_DEVICE_WRITE:
		run_lost(run,
			 "page %llu (GPA 0x%llx), vCPU %u, device buffer %llu: %s, from byte %u on",
			 page, gpa, loss->vcpu, expected,
			 loss->kind == GUEST_LOSS_DEVICE_READ ?
				 "expected what the device stored, found "
				 "something else" :
			 loss->kind == GUEST_LOSS_DEVICE_WRITE ?
				 "expected what the guest stored, the "
				 "device found something else" :
				 "bytes outside the buffer changed",
			 loss->first_wrong_byte);
		return;
	case GUEST_LOSS_REGION:
		run_lost(
			run,
			"region %u, page %u, vCPU %u: expected %s%.0llu, found version %llu, wrong "
			"from byte %u on, at step %llu",
			GUEST_REGION_OF_ID(page), GUEST_REGION_PAGE_OF_ID(page), loss->vcpu,
			expected ? "version " : "zero", expected, found, loss->first_wrong_byte,
			(unsigned long long)loss->step);
		return;
	case GUEST_LOSS_TOUCH:
		run_lost(run,
			 "GPA 0x%llx, vCPU %u: no memory, expected %016llx of MMIO, found %016llx",
			 page, loss->vcpu, (unsigned long long)loss->expected_checksum,
			 (unsigned long long)loss->found_checksum);
		return;
	default:
		run_lost(run, "page %llu, vCPU %u: a loss of unknown kind %u", page, loss->vcpu,
			 loss->kind);
	}
}

/* One round over all vCPUs. Returns how many records there were, or -1. */
static int64_t round_of_vcpus(struct run *run, struct gmm_reader *reader,
			      struct guest_report *reports, struct guest_loss *losses)
{
	int64_t total = 0;
	uint32_t vcpu;
	int count, i;

	for (vcpu = 0; vcpu < run->vcpu_count; vcpu++) {
		count = take_reports(run, reader, vcpu, reports);
		if (count < 0)
			return -1;
		for (i = 0; i < count && !run_abandoned(run); i++)
			verify(run, reader, vcpu, &reports[i]);
		total += count;
		count = take_losses(run, reader, vcpu, losses);
		if (count < 0)
			return -1;
		for (i = 0; i < count; i++)
			name_loss(run, &losses[i]);
		total += count;
	}
	return total;
}

void *run_verifier_thread(void *opaque)
{
	struct run *run = opaque;
	struct gmm_reader *reader = run_reader_register(run);
	struct guest_report *reports = calloc(BATCH, sizeof(*reports));
	struct guest_loss *losses = calloc(GUEST_LOSSES, sizeof(*losses));
	int64_t found = 0;

	if (reader && (!reports || !losses))
		run_abandon(run, GMM_EXIT_LOST, "out of memory for the verifier");
	while (reader && reports && losses && found >= 0) {
		enum run_phase phase = run_phase(run);

		found = round_of_vcpus(run, reader, reports, losses);
		if (found == 0 && phase >= RUN_QUIET)
			break;
		if (found == 0)
			run_pause(run, phase, IDLE_NS);
	}
	free(reports);
	free(losses);
	if (reader)
		gmm_reader_unregister(reader);
	return NULL;
}
