/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "memory.h"

#define WORDS (MODEL_PAGE_BYTES / sizeof(uint64_t))

static uint8_t arena[MODEL_MEMORIES][MODEL_FRAMES][MODEL_PAGE_BYTES]
	__attribute__((aligned(MODEL_PAGE_BYTES)));

uint64_t *model_frame(const struct model_memory *memory, uint32_t frame)
{
	return (uint64_t *)(memory->frames + (size_t)frame * MODEL_PAGE_BYTES);
}

/* Only the first and the last word of a page are looked at. */
void model_set_frame(const struct model_memory *memory, uint32_t frame, uint64_t word)
{
	model_frame(memory, frame)[0] = word;
	model_frame(memory, frame)[WORDS - 1] = word;
}

gmm_hva_t model_hva(const struct model_memory *memory, uint32_t page)
{
	return MODEL_HVA + memory->id * MODEL_HVA_BETWEEN + (gmm_hva_t)page * MODEL_PAGE_BYTES;
}

void model_memory_init(struct model_memory *memory, uint32_t id, struct model_calls *calls)
{
	uint32_t i;

	*memory = (struct model_memory){ .calls = calls, .id = id, .frames = arena[id][0] };
	for (i = 0; i < MODEL_FRAMES; i++)
		model_set_frame(memory, i, MODEL_POISON);
	for (i = 0; i < MODEL_PAGES; i++) {
		struct model_page *page = &memory->pages[i];

		page->frame = i;
		page->source = page->word = 0x1000 * (id + 1) + i;
		page->resident = id == MODEL_RESIDENT;
		if (page->resident)
			model_set_frame(memory, i, page->word);
	}
}

static int enter_op(struct model_calls *calls, const char *name)
{
	fuzz_say("    %s", name);
	if (!calls->fail_at || --calls->fail_at)
		return 0;
	calls->failed = true;
	return calls->fail_with;
}

/* Whether somebody else is changing the mapping just now. */
static bool is_busy(struct model_calls *calls)
{
	if (!calls->busy_at || --calls->busy_at)
		return false;
	calls->failed = true;
	return true;
}

static void check_pages(const struct model_memory *memory, uint64_t page, uint64_t count)
{
	fuzz_check(count && page < MODEL_PAGES && count <= MODEL_PAGES - page,
		   "pages %llu + %llu are not in the memory", (unsigned long long)page,
		   (unsigned long long)count);
}

static int resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->calls, "resolve");
	uint32_t i;

	check_pages(memory, page, count);
	if (error)
		return error;
	for (i = 0; i < count; i++)
		fuzz_check(memory->pages[page + i].resident, "page %llu is resolved but not there",
			   (unsigned long long)page + i);
	for (i = 0; i < count; i++) {
		pfns[i] = memory->pages[page + i].frame;
		memory->references[pfns[i]]++;
	}
	return 0;
}

static int resolve_address(void *opaque, uint64_t page, uint32_t count, uint32_t access,
			   gmm_pfn_t *pfns)
{
	uint64_t first = page - model_hva(opaque, 0) / MODEL_PAGE_BYTES;

	if (first >= MODEL_PAGES || count > MODEL_PAGES - first)
		return -GMM_EFAULT;
	return resolve(opaque, first, count, access, pfns);
}

static void put(void *opaque, const gmm_pfn_t *pfns, uint32_t count)
{
	struct model_memory *memory = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		fuzz_check(pfns[i] < MODEL_FRAMES, "a frame that was never resolved is put");
		fuzz_check(--memory->references[pfns[i]] >= 0,
			   "a frame is put more often than resolved");
	}
}

static int map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->calls, "map");
	uint32_t i;

	for (i = 1; i < count && !error; i++)
		if (pfns[i] != pfns[0] + i)
			error = -GMM_EXDEV;
	if (error)
		return error;
	for (i = 0; i < count; i++)
		memory->mappings[pfns[i]]++;
	*pointer = model_frame(memory, (uint32_t)pfns[0]);
	return 0;
}

static void unmap(void *opaque, void *pointer, uint32_t count)
{
	struct model_memory *memory = opaque;
	size_t offset = (size_t)((uint8_t *)pointer - memory->frames);
	uint32_t i;

	fuzz_check(offset % MODEL_PAGE_BYTES == 0, "unmap of an address that map did not give");
	offset /= MODEL_PAGE_BYTES;
	fuzz_check(offset < MODEL_FRAMES && count <= MODEL_FRAMES - offset,
		   "unmap of an address that map did not give");
	for (i = 0; i < count; i++)
		fuzz_check(--memory->mappings[offset + i] >= 0,
			   "a frame is unmapped but was not mapped");
}

static uint64_t word_at(const struct model_page *page, enum gmm_page_origin origin)
{
	return origin == GMM_ORIGIN_SOURCE ? page->source :
	       origin == GMM_ORIGIN_STORE  ? page->store :
					     0;
}

static int fill(void *opaque, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->calls, "fill");
	uint32_t i;

	check_pages(memory, page, count);
	if (!error && is_busy(memory->calls))
		error = -GMM_EAGAIN;
	for (i = 0; i < count && !error; i++) {
		struct model_page *filled = &memory->pages[page + i];

		fuzz_check(!filled->resident, "page %llu is filled over what it holds",
			   (unsigned long long)page + i);
		filled->resident = true;
		model_set_frame(memory, filled->frame, word_at(filled, origin));
	}
	return error;
}

static int write_out(void *opaque, uint64_t page, uint32_t count)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->calls, "write_out");
	uint32_t i;

	check_pages(memory, page, count);
	for (i = 0; i < count && !error; i++) {
		struct model_page *written = &memory->pages[page + i];

		fuzz_check(written->resident && !written->writable,
			   "page %llu is written out, but is not there or can be written",
			   (unsigned long long)page + i);
		fuzz_check(!memory->private || !written->taken,
			   "page %llu is written out through a mapping that would fault",
			   (unsigned long long)page + i);
		written->store = *model_frame(memory, written->frame);
	}
	return error;
}

/* A hole takes the pages out of every mapping. */
void model_drop_page(struct model_memory *memory, struct model_page *page)
{
	page->accessible = false;
	page->writable = false;
	page->resident = false;
	page->taken = false;
	model_set_frame(memory, page->frame, MODEL_POISON);
}

void model_take_page(struct model_memory *memory, uint32_t number)
{
	struct model_page *page = &memory->pages[number];

	if (memory->id != MODEL_LAZY || !page->resident || page->taken)
		return;
	page->accessible = false;
	page->writable = false;
	page->taken = true;
	page->may_be_lost = true;
	model_set_frame(memory, page->frame, 0);
}

void model_move_page(struct model_memory *memory, uint32_t number)
{
	struct model_page *page = &memory->pages[number];
	uint32_t to = (page->frame + MODEL_PAGES) % MODEL_FRAMES;

	if (!page->resident || page->taken)
		return;
	model_set_frame(memory, to, *model_frame(memory, page->frame));
	model_set_frame(memory, page->frame, MODEL_POISON);
	page->frame = to;
}

static int discard(void *opaque, uint64_t page, uint32_t count)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->calls, "discard");
	uint32_t i;

	check_pages(memory, page, count);
	for (i = 0; i < count && !error; i++)
		model_drop_page(memory, &memory->pages[page + i]);
	return error;
}

static int read_page(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
		     void *buffer)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->calls, "read");
	const struct model_page *from = &memory->pages[page];
	uint64_t *words = buffer;

	check_pages(memory, page, 1);
	if (error)
		return error;
	fuzz_check(resident == from->resident, "page %llu is read from where it is not",
		   (unsigned long long)page);
	fuzz_check(!resident || !memory->private || !from->taken,
		   "page %llu is read through a mapping that would fault",
		   (unsigned long long)page);
	words[0] = resident ? *model_frame(memory, from->frame) : word_at(from, origin);
	words[WORDS - 1] = words[0];
	return 0;
}

static int lost(void *opaque, uint64_t page, uint32_t count, uint64_t *gone)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->calls, "lost");
	uint32_t i;

	check_pages(memory, page, count);
	fuzz_check(count <= 64 && !*gone, "more is asked for than can be said");
	for (i = 0; i < count && !error; i++) {
		struct model_page *asked = &memory->pages[page + i];

		fuzz_check(asked->resident, "page %llu is asked for, but was not there",
			   (unsigned long long)page + i);
		if (!asked->taken)
			continue;
		model_drop_page(memory, asked);
		*gone |= (uint64_t)1 << i;
	}
	return error;
}

const struct gmm_memory_ops model_resident_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "model, resident",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.read = read_page,
};

const struct gmm_memory_ops model_adopted_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "model, by address",
	.resolve = resolve_address,
	.put = put,
	.map = map,
	.unmap = unmap,
};

#define LAZY_OPS(its_name, its_flags)                                                              \
	{                                                                                          \
		.version = GMM_MEMORY_OPS_VERSION,                                                 \
		.flags = GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE | (its_flags), .name = (its_name), \
		.resolve = resolve, .put = put, .map = map, .unmap = unmap, .fill = fill,          \
		.write_out = write_out, .discard = discard, .read = read_page, .lost = lost,       \
	}

const struct gmm_memory_ops model_lazy_ops = LAZY_OPS("model, lazy", GMM_MEMORY_AGEABLE);
const struct gmm_memory_ops model_private_ops = LAZY_OPS("model, private", 0);

/* The live second stage */

static void check_span(const struct gmm_span *span)
{
	const struct model_memory *memory = span->memory;

	check_pages(memory, span->page, span->count);
	fuzz_check(span->hva == model_hva(memory, (uint32_t)span->page),
		   "a span has the address of another page");
}

static int live_map(void *owner, const struct gmm_span *span, uint32_t access)
{
	struct model_memory *memory = span->memory;
	int error = enter_op(owner, "live map");
	uint64_t i;

	check_span(span);
	if (!error && is_busy(owner))
		error = -GMM_EAGAIN;
	for (i = 0; i < span->count && !error; i++)
		if (memory->pages[span->page + i].taken)
			error = -GMM_EFAULT;
	for (i = 0; i < span->count && !error; i++) {
		struct model_page *page = &memory->pages[span->page + i];

		fuzz_check(page->resident, "a page that is not there is mapped");
		page->accessible = true;
		page->writable |= (access & GMM_ACCESS_WRITE) != 0;
	}
	return error;
}

static int live_unmap(void *owner, const struct gmm_span *span)
{
	struct model_memory *memory = span->memory;
	int error = enter_op(owner, "live unmap");
	uint64_t i;

	check_span(span);
	for (i = 0; i < span->count && !error; i++) {
		memory->pages[span->page + i].accessible = false;
		memory->pages[span->page + i].writable = false;
	}
	return error;
}

static int live_protect(void *owner, const struct gmm_span *span)
{
	struct model_memory *memory = span->memory;
	int error = enter_op(owner, "live protect");
	uint64_t i;

	check_span(span);
	for (i = 0; i < span->count && !error; i++)
		memory->pages[span->page + i].writable = false;
	return error;
}

static int live_unprotect(void *owner, const struct gmm_span *span)
{
	struct model_memory *memory = span->memory;
	int error = enter_op(owner, "live unprotect");
	uint64_t i;

	check_span(span);
	for (i = 0; i < span->count && !error; i++) {
		struct model_page *page = &memory->pages[span->page + i];

		page->writable = page->accessible;
	}
	return error;
}

static void live_wake(void *owner, const struct gmm_span *span)
{
}

/* What fails has lost the first half of its log; the words hold what it had. */
static int live_collect(void *owner, const struct gmm_span *span, uint64_t *words)
{
	struct model_memory *memory = span->memory;
	int error = enter_op(owner, "live collect");
	uint64_t i;

	check_span(span);
	for (i = 0; i < (span->count + 63) / 64; i++)
		words[i] = 0;
	for (i = 0; i < (error ? span->count / 2 : span->count); i++) {
		struct model_page *page = &memory->pages[span->page + i];

		words[i / 64] |= (uint64_t)page->logged << (i % 64);
		page->logged = false;
	}
	return error;
}

/* An owner that logs begins with an empty log. */
static int live_slot_change(void *owner, const struct gmm_slot_info *old,
			    const struct gmm_slot_info *now)
{
	struct model_memory *memory = now->memory;
	int error = enter_op(owner, "slot change");
	uint64_t i;

	for (i = 0; !error && i < now->count; i++)
		if (now->flags & ~old->flags & GMM_SLOT_LOG_DIRTY)
			memory->pages[now->memory_page + i].logged = false;
	return error;
}

#define LIVE_OPS(its_name, its_flags)                                                          \
	{                                                                                      \
		.version = GMM_STAGE2_OPS_VERSION, .flags = (its_flags), .name = (its_name),   \
		.map = live_map, .unmap = live_unmap, .protect = live_protect,                 \
		.unprotect = live_unprotect, .wake = live_wake, .collect_dirty = live_collect, \
		.slot_change = live_slot_change,                                               \
	}

const struct gmm_stage2_ops model_owner_ops[] = {
	[MODEL_OWNER_PROTECTS] = LIVE_OPS("model, protects", GMM_STAGE2_MAPS_PROTECTED),
	[MODEL_OWNER_MAPS_WRITABLE] = LIVE_OPS("model, maps writable", 0),
	[MODEL_OWNER_LOGS] =
		LIVE_OPS("model, logs", GMM_STAGE2_MAPS_PROTECTED | GMM_STAGE2_LOGS_WRITES),
};
