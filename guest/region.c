/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Memory that comes, moves, goes and is discarded while it is used, and where it is not. */
#include "step.h"

static uint64_t host_acquire(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* What was read before stays before the next reading of a generation. */
static uint64_t generation_again(const uint64_t *generation)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(generation, __ATOMIC_RELAXED);
}

/* What this vCPU saw of a region, all of one generation. */
struct use {
	struct guest_region *region;
	struct guest_region_page *meta;
	uint64_t generation;
	uint32_t number; /* of the region */
	uint32_t page;
	void *memory;
};

/* What the page must carry. */
enum contents {
	CONTENTS_ZERO,
	CONTENTS_VERSION,
	CONTENTS_UNKNOWN
};

static enum contents expected_contents(const struct use *use)
{
	if (host_acquire(&use->meta->zeroed) > use->meta->known)
		return CONTENTS_ZERO;
	if (use->meta->state == GUEST_REGION_PAGE_UNKNOWN)
		return CONTENTS_UNKNOWN;
	return use->meta->version ? CONTENTS_VERSION : CONTENTS_ZERO;
}

static struct guest_page_expect expected(const struct guest_view *view, const struct use *use)
{
	return guest_region_expect(view->boot->seed, use->number, use->page, use->meta->version);
}

static int verify(const struct guest_view *view, const struct use *use, enum contents contents,
		  uint32_t *wrong)
{
	struct guest_page_expect expect = expected(view, use);

	if (contents == CONTENTS_UNKNOWN)
		return 1;
	if (contents == CONTENTS_ZERO)
		return guest_page_is_zero(use->memory, wrong);
	return guest_page_verify(use->memory, &expect, wrong);
}

static void push_loss(struct guest_view *view, const struct use *use, enum contents contents,
		      uint32_t wrong)
{
	const struct guest_page_header *header = use->memory;

	guest_loss_push(view, &(struct guest_loss){
				      .kind = GUEST_LOSS_REGION,
				      .page = GUEST_REGION_PAGE_ID(use->number, use->page),
				      .expected_version =
					      contents == CONTENTS_ZERO ? 0 : use->meta->version,
				      .found_version = header->version,
				      .first_wrong_byte = wrong * 8,
			      });
}

static void write_page(struct guest_view *view, const struct use *use)
{
	struct guest_statistics *statistics = &view->area->mailbox.statistics;
	struct guest_page_expect expect;
	uint64_t again;

	use->meta->version++;
	use->meta->state = GUEST_REGION_PAGE_UNKNOWN;
	expect = expected(view, use);
	guest_page_write_full(use->memory, &expect);
	/* The stores are done before the generation is read. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	again = __atomic_load_n(&use->region->generation, __ATOMIC_RELAXED);
	if (again == use->generation) {
		use->meta->state = GUEST_REGION_PAGE_WRITTEN;
		use->meta->known = again;
		guest_count(&statistics->region_writes[use->number], 1);
	} else {
		/* Only a change that began later can have made it zero for certain. */
		use->meta->known = (again + 1) & ~1ull;
		guest_count(&statistics->region_overtaken[use->number], 1);
	}
}

static void access_page(struct guest_view *view, const struct use *use, uint32_t write)
{
	struct guest_statistics *statistics = &view->area->mailbox.statistics;
	enum contents contents = expected_contents(use);
	uint32_t wrong = 0;
	int good = verify(view, use, contents, &wrong);

	if (generation_again(&use->region->generation) != use->generation) {
		guest_count(&statistics->region_overtaken[use->number], 1);
		return;
	}
	if (!good)
		push_loss(view, use, contents, wrong);
	else if (contents == CONTENTS_ZERO)
		guest_count(&statistics->region_zeros[use->number], 1);
	else if (contents == CONTENTS_VERSION)
		guest_count(&statistics->region_reads[use->number], 1);
	if (write || !good)
		write_page(view, use);
}

/* A page of this vCPU's in a random region. Returns 0 when there is none now. */
static int choose(struct guest_view *view, struct use *use)
{
	struct guest_cpu *cpu = view->cpu;
	uint32_t owners = view->boot->vcpus + 1;
	uint64_t most, mine, pages, gpa;

	use->number = guest_random(cpu) % GUEST_REGIONS;
	use->region = &view->regions->region[use->number];
	most = guest_host_word(&use->region->most_pages);
	if (most <= cpu->index)
		return 0;
	mine = (most - cpu->index - 1) / owners + 1;
	use->page = cpu->index + guest_random(cpu) % mine * owners;
	use->meta = &view->regions->page[use->number][use->page];
	use->generation = host_acquire(&use->region->generation);
	pages = guest_host_word(&use->region->pages);
	gpa = guest_host_word(&use->region->gpa);
	use->memory = guest_at(cpu, gpa + (uint64_t)use->page * GUEST_PAGE_BYTES);
	return !(use->generation & 1) && use->page < pages &&
	       generation_again(&use->region->generation) == use->generation;
}

static void access_region(struct guest_view *view)
{
	struct guest_mailbox *mailbox = &view->area->mailbox;
	struct use use;

	mailbox->touch.layout = host_acquire(&view->regions->layout);
	if (!choose(view, &use)) {
		guest_count(&mailbox->statistics.region_absent[use.number], 1);
		return;
	}
	mailbox->touch.kind = GUEST_TOUCH_PAGE;
	access_page(view, &use,
		    guest_random(view->cpu) % 100 < guest_host_word(&mailbox->write_percent));
	mailbox->touch.kind = GUEST_TOUCH_NONE;
}

static int in_a_region(const struct guest_view *view, uint64_t gpa)
{
	uint32_t i;

	for (i = 0; i < GUEST_REGIONS; i++) {
		const struct guest_region *region = &view->regions->region[i];
		uint64_t start = guest_host_word(&region->gpa);

		if (gpa >= start &&
		    gpa - start < guest_host_word(&region->pages) * GUEST_PAGE_BYTES)
			return 1;
	}
	return 0;
}

/*
 * Any word of the regions' space. Reading does no harm and is done at any time, also while
 * something changes there; written is only where nothing is, and nothing comes before the end of
 * this step.
 */
static void touch(struct guest_view *view)
{
	const struct guest_regions *regions = view->regions;
	struct guest_mailbox *mailbox = &view->area->mailbox;
	struct guest_touch *record = &mailbox->touch;
	uint64_t words = guest_host_word(&regions->space_bytes) / 8;
	uint64_t *at, found;
	int removed;

	if (!words)
		return;
	record->layout = host_acquire(&regions->layout);
	record->gpa = guest_host_word(&regions->space_gpa) + guest_random(view->cpu) % words * 8;
	at = guest_at(view->cpu, record->gpa);
	removed = !(record->layout & 1) && !in_a_region(view, record->gpa) &&
		  generation_again(&regions->layout) == record->layout;
	if (removed && guest_random(view->cpu) % 4 == 0) {
		record->value = guest_random(view->cpu);
		record->kind = GUEST_TOUCH_WRITE;
		__atomic_store_n(at, record->value, __ATOMIC_RELAXED);
		guest_count(&mailbox->statistics.touch_writes, 1);
	} else {
		record->kind = GUEST_TOUCH_READ;
		found = __atomic_load_n(at, __ATOMIC_RELAXED);
		if (removed && generation_again(&regions->layout) == record->layout) {
			uint64_t must = guest_touch_word(view->boot->seed, record->gpa);

			guest_count(&mailbox->statistics.touch_reads, 1);
			if (found != must)
				guest_loss_push(view, &(struct guest_loss){
							      .kind = GUEST_LOSS_TOUCH,
							      .page = record->gpa,
							      .expected_checksum = must,
							      .found_checksum = found,
						      });
		}
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	record->kind = GUEST_TOUCH_NONE;
}

void guest_region_acknowledge(struct guest_view *view)
{
	struct guest_mailbox *mailbox = &view->area->mailbox;
	uint64_t asked = host_acquire(&mailbox->announced);

	if (asked != mailbox->acknowledged)
		__atomic_store_n(&mailbox->acknowledged, asked, __ATOMIC_RELEASE);
}

void guest_region_use(struct guest_view *view)
{
	const struct guest_mailbox *mailbox = &view->area->mailbox;
	uint32_t accesses = guest_host_word(&mailbox->region_per_mille);
	uint32_t touches = guest_host_word(&mailbox->touch_per_mille);

	for (; accesses >= 1000; accesses -= 1000)
		access_region(view);
	if (accesses && guest_random(view->cpu) % 1000 < accesses)
		access_region(view);
	if (touches && guest_random(view->cpu) % 1000 < touches)
		touch(view);
}
