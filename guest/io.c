/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The guest's end of the I/O ring: buffers in pages that this vCPU owns. */
#include "step.h"

uint32_t guest_io_in_flight(const struct guest_view *view)
{
	return view->area->io.posted - view->cpu->io_reaped;
}

static void buffer_fill(uint64_t *words, uint64_t count, uint64_t key)
{
	uint64_t i;

	for (i = 0; i < count; i++)
		words[i] = guest_io_word(key, i);
}

/* Index of the first wrong word, or count. */
static uint64_t buffer_check(const uint64_t *words, uint64_t count, uint64_t key)
{
	uint64_t i;

	for (i = 0; i < count && words[i] == guest_io_word(key, i); i++)
		;
	return i;
}

/* A run of owned pages within one random block of this vCPU's share, or 0 pages. */
static void choose_run(struct guest_view *view, struct guest_io_reservation *run)
{
	struct guest_cpu *cpu = view->cpu;
	uint64_t n = guest_random(cpu) % cpu->owned_pages;
	uint64_t block = n / GUEST_BLOCK_PAGES * view->boot->vcpus + cpu->index;
	uint64_t page = block * GUEST_BLOCK_PAGES + n % GUEST_BLOCK_PAGES;
	uint64_t end = (block + 1) * GUEST_BLOCK_PAGES;
	uint64_t want = 1 + guest_random(cpu) % 3;

	if (end > view->boot->snapshot_pages)
		end = view->boot->snapshot_pages;
	run->first_page = page;
	for (run->pages = 0; run->pages < want && page < end; run->pages++, page++)
		if (guest_page_state_get(&view->pages[page]) != GUEST_PAGE_OWNED ||
		    !guest_owned_verify(view, page))
			return;
}

/* Offset and length such that the buffer touches each page of the run, in words of 8 bytes. */
static void choose_buffer(struct guest_view *view, struct guest_io_reservation *run)
{
	struct guest_cpu *cpu = view->cpu;
	uint32_t first = guest_random(cpu) % GUEST_PAGE_WORDS;
	uint32_t last = guest_random(cpu) % GUEST_PAGE_WORDS;

	if (run->pages == 1 && last < first) {
		uint32_t other = first;

		first = last;
		last = other;
	}
	run->offset = first * 8;
	run->length = ((run->pages - 1) * GUEST_PAGE_WORDS + last + 1 - first) * 8;
}

void guest_io_post(struct guest_view *view)
{
	struct guest_cpu *cpu = view->cpu;
	struct guest_io_ring *ring = &view->area->io;
	struct guest_statistics *statistics = &view->area->mailbox.statistics;
	uint64_t sequence = ring->posted;
	struct guest_io_reservation *run = &cpu->reservation[sequence % GUEST_IO_ENTRIES];
	struct guest_io *io = &ring->entry[sequence % GUEST_IO_ENTRIES];
	uint32_t i;

	if (guest_io_in_flight(view) >= GUEST_IO_ENTRIES)
		return;
	choose_run(view, run);
	if (run->pages == 0) {
		guest_count(&statistics->skipped, 1);
		return;
	}
	choose_buffer(view, run);
	*io = (struct guest_io){
		.gpa = view->boot->snapshot_gpa + run->first_page * GUEST_PAGE_BYTES + run->offset,
		.length = run->length,
		.operation = guest_random(cpu) & 1 ? GUEST_IO_READ : GUEST_IO_WRITE,
		.sequence = sequence,
		.seed = guest_mix(view->boot->seed ^ guest_random(cpu)),
		.status = GUEST_IO_PENDING,
	};
	if (io->operation == GUEST_IO_WRITE)
		buffer_fill(guest_at(cpu, io->gpa), io->length / 8,
			    guest_io_key(io->seed, sequence));
	for (i = 0; i < run->pages; i++)
		guest_page_state_set(&view->pages[run->first_page + i], GUEST_PAGE_IO);
	__atomic_store_n(&ring->posted, sequence + 1, __ATOMIC_RELEASE);
	guest_count(io->operation == GUEST_IO_READ ? &statistics->io_reads : &statistics->io_writes,
		    1);
	guest_count(&statistics->io_bytes, run->length);
}

static void io_loss(struct guest_view *view, const struct guest_io *io, uint32_t kind,
		    uint64_t page, uint32_t wrong_byte)
{
	guest_loss_push(view, &(struct guest_loss){
				      .kind = kind,
				      .page = page,
				      .expected_version = io->sequence,
				      .first_wrong_byte = wrong_byte,
			      });
}

/* Everything around the buffer must be as before. */
static void check_outside(struct guest_view *view, const struct guest_io *io,
			  const struct guest_io_reservation *run)
{
	uint64_t first_word = run->offset / 8;
	uint64_t end_word = first_word + run->length / 8;
	uint64_t last_page = run->first_page + run->pages - 1;
	uint32_t tail = end_word - (run->pages - 1) * GUEST_PAGE_WORDS;
	struct guest_page_expect expect = guest_page_expected(view, run->first_page);
	uint32_t wrong = 0;

	if (!guest_page_verify_words(guest_page_at(view, run->first_page), &expect, 0, first_word,
				     &wrong))
		io_loss(view, io, GUEST_LOSS_DEVICE_STRAY, run->first_page, wrong * 8);
	expect = guest_page_expected(view, last_page);
	if (!guest_page_verify_words(guest_page_at(view, last_page), &expect, tail,
				     GUEST_PAGE_WORDS, &wrong))
		io_loss(view, io, GUEST_LOSS_DEVICE_STRAY, last_page, wrong * 8);
}

static void finish(struct guest_view *view, const struct guest_io *io,
		   const struct guest_io_reservation *run)
{
	uint64_t words = io->length / 8;
	uint64_t wrong = words;
	uint64_t byte;
	uint32_t i;

	if (io->status != GUEST_IO_REFUSED || io->operation == GUEST_IO_WRITE)
		wrong = buffer_check(guest_at(view->cpu, io->gpa), words,
				     guest_io_key(io->seed, io->sequence));
	if (wrong < words) {
		byte = run->offset + wrong * 8;
		io_loss(view, io,
			io->operation == GUEST_IO_READ ? GUEST_LOSS_DEVICE_READ :
							 GUEST_LOSS_DEVICE_STRAY,
			run->first_page + byte / GUEST_PAGE_BYTES, byte % GUEST_PAGE_BYTES);
	}
	if (io->status == GUEST_IO_BAD)
		io_loss(view, io, GUEST_LOSS_DEVICE_WRITE, run->first_page, run->offset);
	check_outside(view, io, run);
	for (i = 0; i < run->pages; i++) {
		guest_owned_rewrite(view, run->first_page + i);
		guest_page_state_set(&view->pages[run->first_page + i], GUEST_PAGE_OWNED);
	}
}

void guest_io_reap(struct guest_view *view)
{
	struct guest_cpu *cpu = view->cpu;
	struct guest_io_ring *ring = &view->area->io;
	uint64_t completed = __atomic_load_n(&ring->completed, __ATOMIC_ACQUIRE);

	if (completed > ring->posted)
		return;
	/* One a step: the step stays short. */
	if (cpu->io_reaped < completed) {
		finish(view, &ring->entry[cpu->io_reaped % GUEST_IO_ENTRIES],
		       &cpu->reservation[cpu->io_reaped % GUEST_IO_ENTRIES]);
		cpu->io_reaped++;
	}
}
