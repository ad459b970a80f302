/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Accesses to snapshot pages: first touch, take-over, verify, write. */
#include "step.h"

_Static_assert(sizeof(struct guest_page_header) == GUEST_LINE_BYTES, "the header is one line");
_Static_assert(GUEST_BODY_GROUPS *GUEST_GROUP_LINES == GUEST_PAGE_BYTES / GUEST_LINE_BYTES - 1,
	       "the groups are the body");

uint32_t guest_page_state_get(const struct guest_page *meta)
{
	return __atomic_load_n(&meta->state, __ATOMIC_ACQUIRE);
}

void guest_page_state_set(struct guest_page *meta, uint32_t state)
{
	__atomic_store_n(&meta->state, state, __ATOMIC_RELEASE);
}

struct guest_page_expect guest_page_expected(const struct guest_view *view, uint64_t page)
{
	return (struct guest_page_expect){
		.seed = view->boot->seed,
		.page = page,
		.version = view->pages[page].version,
		.full_version = view->pages[page].detail,
	};
}

void guest_loss_push(struct guest_view *view, const struct guest_loss *loss)
{
	struct guest_loss_ring *ring = &view->area->losses;
	struct guest_statistics *statistics = &view->area->mailbox.statistics;
	uint64_t head = ring->head;
	struct guest_loss *entry = &ring->entry[head % GUEST_LOSSES];

	view->cpu->lost = 1;
	guest_count(&statistics->losses, 1);
	if (head - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) >= GUEST_LOSSES) {
		guest_count(&statistics->losses_dropped, 1);
		return;
	}
	*entry = *loss;
	entry->vcpu = view->cpu->index;
	entry->step = statistics->steps;
	__atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
}

/* Returns 0 when the ring is full. */
static int report_push(struct guest_view *view, uint64_t page, uint64_t hash)
{
	struct guest_report_ring *ring = &view->area->reports;
	uint64_t head = ring->head;

	if (head - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) >= GUEST_REPORTS)
		return 0;
	ring->entry[head % GUEST_REPORTS] = (struct guest_report){ .page = page, .hash = hash };
	__atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
	return 1;
}

static void first_touch(struct guest_view *view, uint64_t page)
{
	struct guest_page *meta = &view->pages[page];
	struct guest_report_ring *ring = &view->area->reports;
	struct guest_statistics *statistics = &view->area->mailbox.statistics;

	if (ring->head - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) >= GUEST_REPORTS) {
		view->cpu->ring_misses++;
		guest_count(&statistics->report_ring_full, 1);
		return;
	}
	view->cpu->ring_misses = 0;
	meta->detail = guest_hash(guest_page_at(view, page));
	/* Before the report: the host answers by setting the state. */
	guest_page_state_set(meta, GUEST_PAGE_REPORTED);
	report_push(view, page, meta->detail);
	guest_count(&statistics->first_touches, 1);
}

/* A page that is not taken over must look as it did at the first touch. */
static int untaken_verify(struct guest_view *view, uint64_t page)
{
	struct guest_page *meta = &view->pages[page];
	uint64_t found = guest_hash(guest_page_at(view, page));

	if (found == meta->detail)
		return 1;
	guest_loss_push(view, &(struct guest_loss){
				      .kind = GUEST_LOSS_UNTAKEN,
				      .page = page,
				      .expected_checksum = meta->detail,
				      .found_checksum = found,
			      });
	/* Once is enough for the report: the host sees it in the statistics and the ring. */
	guest_page_state_set(meta, GUEST_PAGE_REFUSED);
	return 0;
}

static void take(struct guest_view *view, uint64_t page)
{
	struct guest_page *meta = &view->pages[page];
	struct guest_page_expect expect;

	meta->version = 1;
	meta->detail = 1;
	expect = guest_page_expected(view, page);
	guest_page_write_full(guest_page_at(view, page), &expect);
	guest_page_state_set(meta, GUEST_PAGE_OWNED);
	guest_count(&view->area->mailbox.statistics.takes, 1);
}

void guest_owned_rewrite(struct guest_view *view, uint64_t page)
{
	struct guest_page *meta = &view->pages[page];
	struct guest_page_expect expect;

	meta->version++;
	meta->detail = meta->version;
	expect = guest_page_expected(view, page);
	guest_page_write_full(guest_page_at(view, page), &expect);
}

int guest_owned_verify(struct guest_view *view, uint64_t page)
{
	struct guest_page_expect expect = guest_page_expected(view, page);
	const struct guest_page_header *header = guest_page_at(view, page);
	uint32_t wrong = 0;

	if (guest_page_verify(header, &expect, &wrong))
		return 1;
	guest_loss_push(view, &(struct guest_loss){
				      .kind = GUEST_LOSS_PAGE,
				      .page = page,
				      .expected_version = expect.version,
				      .found_version = header->version,
				      .expected_checksum = guest_body_checksum(&expect),
				      .found_checksum = guest_body_sum(header),
				      .first_wrong_byte = wrong * 8,
			      });
	guest_owned_rewrite(view, page);
	return 0;
}

static void access_owned(struct guest_view *view, uint64_t page, uint32_t write)
{
	struct guest_page *meta = &view->pages[page];
	struct guest_statistics *statistics = &view->area->mailbox.statistics;
	struct guest_page_expect expect;

	if (!guest_owned_verify(view, page))
		return;
	if (!write) {
		guest_count(&statistics->reads, 1);
		return;
	}
	meta->version++;
	expect = guest_page_expected(view, page);
	guest_page_write(guest_page_at(view, page), &expect);
	guest_count(&statistics->writes, 1);
}

void guest_access(struct guest_view *view, uint64_t page, uint32_t write)
{
	struct guest_page *meta = &view->pages[page];
	struct guest_statistics *statistics = &view->area->mailbox.statistics;

	switch (guest_page_state_get(meta)) {
	case GUEST_PAGE_UNSEEN:
		first_touch(view, page);
		return;
	case GUEST_PAGE_MAY_TAKE:
		if (untaken_verify(view, page)) {
			if (write)
				take(view, page);
			else
				guest_count(&statistics->kept_reads, 1);
		}
		return;
	case GUEST_PAGE_KEEP:
		if (untaken_verify(view, page))
			guest_count(&statistics->kept_reads, 1);
		return;
	case GUEST_PAGE_OWNED:
		access_owned(view, page, write);
		return;
	default:
		guest_count(&statistics->skipped, 1);
	}
}
