/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "step.h"

#include <stddef.h>

#include "entry.h"

_Static_assert(GUEST_EXIT_PORT == GUEST_EXIT_PORT_VALUE, "entry.h");
_Static_assert(GUEST_IMAGE_MAGIC == GUEST_IMAGE_MAGIC_VALUE, "entry.h");
_Static_assert(GUEST_PAGE_SHIFT == GUEST_PAGE_SHIFT_VALUE, "entry.h");
_Static_assert(offsetof(struct guest_mailbox, frame_number) == 0, "entry.S");
_Static_assert(sizeof(struct guest_mailbox) <= GUEST_PAGE_BYTES, "the mailbox is one page");
_Static_assert(sizeof(struct guest_cpu) <= GUEST_PAGE_BYTES, "the state is one page");

/* Accesses in a row that found the report ring full before the host is asked to come. */
#define RING_MISSES_MAX 64u

#ifdef GUEST_IMAGE
uint64_t guest_frame_increment(const uint64_t *frame_number, uint64_t counter_of_frame_0);
#else
/* Between two steps only can this vCPU leave guest mode. */
static uint64_t guest_frame_increment(const uint64_t *frame_number, uint64_t counter_of_frame_0)
{
	uint64_t frame = __atomic_load_n(frame_number, __ATOMIC_RELAXED);
	uint64_t *counter =
		(uint64_t *)(uintptr_t)(counter_of_frame_0 + (frame << GUEST_PAGE_SHIFT));
	uint64_t old = *counter;

	*counter = old + 1;
	return old;
}
#endif

static int prepare(struct guest_view *view)
{
	struct guest_cpu *cpu = view->cpu;
	const struct guest_boot *boot = view->boot;
	uint64_t blocks, mine, last_pages;

	if (boot->magic != GUEST_ABI_MAGIC || boot->version != GUEST_ABI_VERSION ||
	    boot->vcpus == 0 || boot->vcpus > GUEST_VCPUS_MAX || cpu->index >= boot->vcpus)
		return 0;
	blocks = (boot->snapshot_pages + GUEST_BLOCK_PAGES - 1) / GUEST_BLOCK_PAGES;
	mine = blocks / boot->vcpus + (blocks % boot->vcpus > cpu->index);
	cpu->owned_pages = mine * GUEST_BLOCK_PAGES;
	last_pages = boot->snapshot_pages % GUEST_BLOCK_PAGES;
	if (mine && last_pages && (blocks - 1) % boot->vcpus == cpu->index)
		cpu->owned_pages -= GUEST_BLOCK_PAGES - last_pages;
	cpu->random = guest_mix(boot->seed + cpu->index) | 1;
	cpu->next_page = 0;
	cpu->ready = 1;
	return 1;
}

/* Page number `n` of this vCPU's share. */
static uint64_t share_page(const struct guest_view *view, uint64_t n)
{
	return (n / GUEST_BLOCK_PAGES * view->boot->vcpus + view->cpu->index) * GUEST_BLOCK_PAGES +
	       n % GUEST_BLOCK_PAGES;
}

static uint64_t choose_page(struct guest_view *view)
{
	struct guest_cpu *cpu = view->cpu;
	const struct guest_mailbox *mailbox = &view->area->mailbox;
	uint64_t sequential = guest_host_word(&mailbox->weight_sequential);
	uint64_t random = guest_host_word(&mailbox->weight_random);
	uint64_t hot = guest_host_word(&mailbox->weight_hot);
	uint64_t hot_pages = guest_host_word(&mailbox->hot_pages);
	uint64_t dice = sequential + random + hot;

	if (hot_pages == 0 || hot_pages > cpu->owned_pages)
		hot_pages = cpu->owned_pages;
	dice = dice ? guest_random(cpu) % dice : 0;
	if (dice < random)
		return share_page(view, guest_random(cpu) % cpu->owned_pages);
	if (dice < random + hot)
		return share_page(view, guest_random(cpu) % hot_pages);
	if (cpu->next_page >= cpu->owned_pages)
		cpu->next_page = 0;
	return share_page(view, cpu->next_page++);
}

static void use_frame(struct guest_view *view)
{
	struct guest_cpu *cpu = view->cpu;
	struct guest_mailbox *mailbox = &view->area->mailbox;
	uint64_t frame = guest_host_word(&mailbox->frame_number);
	uint64_t found;

	if (frame >= view->boot->frame_window_pages)
		return;
	found = guest_frame_increment(&mailbox->frame_number,
				      cpu->base + view->boot->frame_window_gpa +
					      GUEST_FRAME_COUNTER_OFFSET(cpu->index));
	if (cpu->frame_known && found != cpu->frame_count) {
		guest_loss_push(view, &(struct guest_loss){
					      .kind = GUEST_LOSS_FRAME,
					      .page = frame,
					      .expected_version = cpu->frame_count,
					      .found_version = found,
				      });
	}
	cpu->frame_count = found + 1;
	cpu->frame_known = 1;
	guest_count(&mailbox->statistics.frame_uses, 1);
}

static void access_pages(struct guest_view *view)
{
	struct guest_cpu *cpu = view->cpu;
	const struct guest_mailbox *mailbox = &view->area->mailbox;
	uint32_t accesses = guest_host_word(&mailbox->accesses_per_step);
	uint32_t i;

	if (cpu->owned_pages == 0)
		return;
	for (i = 0; i < (accesses ? accesses : 1); i++) {
		uint64_t dice = guest_random(cpu);

		if (dice % 1000 < guest_host_word(&mailbox->io_per_mille) &&
		    guest_io_in_flight(view) < guest_host_word(&mailbox->io_depth))
			guest_io_post(view);
		else
			guest_access(view, choose_page(view),
				     dice / 1000 % 100 < guest_host_word(&mailbox->write_percent));
	}
}

static uint32_t step_result(struct guest_view *view)
{
	struct guest_cpu *cpu = view->cpu;

	if (cpu->ring_misses >= RING_MISSES_MAX) {
		cpu->ring_misses = 0;
		return GUEST_EXIT_RING_FULL;
	}
	if (cpu->lost && guest_host_word(&view->area->mailbox.exit_on_loss))
		return GUEST_EXIT_LOSS;
	if (view->area->mailbox.statistics.steps ==
	    guest_host_word(&view->area->mailbox.pause_at_step))
		return GUEST_EXIT_PAUSED;
	return GUEST_EXIT_NONE;
}

uint32_t guest_step(struct guest_cpu *cpu)
{
	struct guest_view view = {
		.cpu = cpu,
		.boot = guest_at(cpu, cpu->boot_gpa),
		.area = guest_at(cpu, cpu->area_gpa),
	};

	view.pages = guest_at(cpu, cpu->boot_gpa + view.boot->pages_offset);
	view.regions = guest_at(cpu, cpu->boot_gpa + view.boot->regions_offset);
	if (!cpu->ready && !prepare(&view))
		return GUEST_EXIT_BROKEN;
	cpu->lost = 0;
	guest_region_acknowledge(&view);
	use_frame(&view);
	guest_io_reap(&view);
	if (guest_host_word(&view.area->mailbox.stop)) {
		if (guest_io_in_flight(&view) == 0)
			return GUEST_EXIT_STOPPED;
	} else {
		access_pages(&view);
		guest_region_use(&view);
	}
	guest_count(&view.area->mailbox.statistics.steps, 1);
	return step_result(&view);
}
