/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <gmm_port/alloc.h>

#define WORDS (MODEL_PAGE_BYTES / sizeof(uint64_t))

static uint8_t arena[MODEL_MEMORIES][MODEL_FRAMES][MODEL_PAGE_BYTES]
	__attribute__((aligned(MODEL_PAGE_BYTES)));

void fuzz_failed(const char *file, int line, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	abort();
}

void fuzz_say(const char *format, ...)
{
	static int wanted = -1;
	va_list arguments;

	if (wanted < 0)
		wanted = getenv("GMM_FUZZ_TRACE") != NULL;
	if (!wanted)
		return;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

void fuzz_expect(struct fuzz_errors *expected, int error)
{
	fuzz_check(expected->count < 8, "too many errors are expected");
	expected->errors[expected->count++] = error;
}

void fuzz_check_answer(const struct fuzz_errors *expected, int64_t answer, bool injected,
		       const char *what)
{
	uint32_t i;

	fuzz_say("  %s: %lld", what, (long long)answer);
	if (injected && (answer == -GMM_EIO || answer == -GMM_ENOMEM))
		return;
	for (i = 0; i < expected->count; i++)
		if (answer == -expected->errors[i])
			return;
	if (expected->count)
		fuzz_failed(__FILE__, __LINE__, "%s answered %lld, expected -%d", what,
			    (long long)answer, expected->errors[0]);
	fuzz_check(answer >= 0, "%s answered %lld", what, (long long)answer);
}

/* The memory */

uint64_t *model_frame(const struct model_memory *memory, uint32_t frame)
{
	return (uint64_t *)(memory->frames + (size_t)frame * MODEL_PAGE_BYTES);
}

/* Only the first and the last word of a page are looked at. */
static void set_frame(const struct model_memory *memory, uint32_t frame, uint64_t word)
{
	model_frame(memory, frame)[0] = word;
	model_frame(memory, frame)[WORDS - 1] = word;
}

static int enter_op(struct model *model, const char *name)
{
	fuzz_say("    %s", name);
	if (!model->fail_at || --model->fail_at)
		return 0;
	model->failed = true;
	return model->fail_with;
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
	int error = enter_op(memory->model, "resolve");
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
	int error = enter_op(memory->model, "map");
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
	int error = enter_op(memory->model, "fill");
	uint32_t i;

	check_pages(memory, page, count);
	for (i = 0; i < count && !error; i++) {
		struct model_page *filled = &memory->pages[page + i];

		fuzz_check(!filled->resident, "page %llu is filled over what it holds",
			   (unsigned long long)page + i);
		filled->resident = true;
		set_frame(memory, filled->frame, word_at(filled, origin));
	}
	return error;
}

static int write_out(void *opaque, uint64_t page, uint32_t count)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->model, "write_out");
	uint32_t i;

	check_pages(memory, page, count);
	for (i = 0; i < count && !error; i++) {
		struct model_page *written = &memory->pages[page + i];

		fuzz_check(written->resident && !written->writable,
			   "page %llu is written out, but is not there or can be written",
			   (unsigned long long)page + i);
		written->store = *model_frame(memory, written->frame);
	}
	return error;
}

/* A hole takes the pages out of every mapping. */
static void drop_page(struct model_memory *memory, struct model_page *page)
{
	page->accessible = false;
	page->writable = false;
	page->resident = false;
	page->taken = false;
	set_frame(memory, page->frame, MODEL_POISON);
}

static int discard(void *opaque, uint64_t page, uint32_t count)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->model, "discard");
	uint32_t i;

	check_pages(memory, page, count);
	for (i = 0; i < count && !error; i++)
		drop_page(memory, &memory->pages[page + i]);
	return error;
}

static int read_page(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
		     void *buffer)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->model, "read");
	const struct model_page *from = &memory->pages[page];
	uint64_t *words = buffer;

	check_pages(memory, page, 1);
	if (error)
		return error;
	fuzz_check(resident == from->resident, "page %llu is read from where it is not",
		   (unsigned long long)page);
	words[0] = resident ? *model_frame(memory, from->frame) : word_at(from, origin);
	words[WORDS - 1] = words[0];
	return 0;
}

static int lost(void *opaque, uint64_t page, uint32_t count, uint64_t *gone)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory->model, "lost");
	uint32_t i;

	check_pages(memory, page, count);
	fuzz_check(count <= 64 && !*gone, "more is asked for than can be said");
	for (i = 0; i < count && !error; i++) {
		struct model_page *asked = &memory->pages[page + i];

		fuzz_check(asked->resident, "page %llu is asked for, but was not there",
			   (unsigned long long)page + i);
		if (!asked->taken)
			continue;
		drop_page(memory, asked);
		*gone |= (uint64_t)1 << i;
	}
	return error;
}

static const struct gmm_memory_ops resident_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "model, resident",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.read = read_page,
};

static const struct gmm_memory_ops lazy_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.flags = GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE | GMM_MEMORY_AGEABLE,
	.name = "model, lazy",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.fill = fill,
	.write_out = write_out,
	.discard = discard,
	.read = read_page,
	.lost = lost,
};

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

static const struct gmm_stage2_ops live_ops[] = {
	[MODEL_OWNER_PROTECTS] = LIVE_OPS("model, protects", GMM_STAGE2_MAPS_PROTECTED),
	[MODEL_OWNER_MAPS_WRITABLE] = LIVE_OPS("model, maps writable", 0),
	[MODEL_OWNER_LOGS] =
		LIVE_OPS("model, logs", GMM_STAGE2_MAPS_PROTECTED | GMM_STAGE2_LOGS_WRITES),
};

/* The machine */

static void count_lost(void *opaque, gmm_gfn_t gfn, uint64_t count)
{
	struct model *model = opaque;
	uint64_t i;

	model->lost += count;
	for (i = 0; i < count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(model, gfn + i);
		struct model_page *page;

		fuzz_check(slot, "a page of no slot is lost");
		page = model_page_of(slot, gfn + i);
		fuzz_check(page->may_be_lost, "a page is lost that nobody has taken");
		page->word = 0;
		page->may_be_lost = false;
		page->may_log = true;
		page->must_log |= (slot->flags & GMM_SLOT_LOG_DIRTY) != 0;
	}
}

static void memory_init(struct model *model, uint32_t id)
{
	struct model_memory *memory = &model->memories[id];
	uint32_t i;

	*memory = (struct model_memory){ .model = model, .id = id, .frames = arena[id][0] };
	for (i = 0; i < MODEL_FRAMES; i++)
		set_frame(memory, i, MODEL_POISON);
	for (i = 0; i < MODEL_PAGES; i++) {
		struct model_page *page = &memory->pages[i];

		page->frame = i;
		page->source = page->word = 0x1000 * (id + 1) + i;
		page->resident = id == MODEL_RESIDENT;
		if (page->resident)
			set_frame(memory, i, page->word);
	}
}

void model_init(struct model *model, enum model_owner owner)
{
	struct gmm_guest_config config = { .gpa_bits = 23, .max_vcpus = 2 };
	uint32_t i;

	*model = (struct model){ .owner = owner, .fail_with = -GMM_EIO, .next_word = 0x100000 };
	model->allocations = gmm_port_alloc_live();
	for (i = 0; i < MODEL_MEMORIES; i++)
		memory_init(model, i);
	config.lost = count_lost;
	config.lost_opaque = model;
	if (owner != MODEL_OWNER_NONE) {
		config.stage2_ops = &live_ops[owner];
		config.stage2_owner = model;
	}
	fuzz_check(!gmm_guest_create(&config, &model->guest), "no memory for a guest");
	fuzz_check(!gmm_reader_register(model->guest, &model->reader), "no memory for a reader");
}

void model_fini(struct model *model)
{
	uint32_t id, i;

	for (i = 0; i < MODEL_SLOTS; i++)
		if (model->slots[i].count)
			fuzz_check(!gmm_slot_remove(model->guest, i), "a slot stays");
	gmm_reader_unregister(model->reader);
	fuzz_check(!gmm_guest_destroy(model->guest), "the guest stays");
	for (id = 0; id < MODEL_MEMORIES; id++)
		for (i = 0; i < MODEL_FRAMES; i++)
			fuzz_check(!model->memories[id].references[i] &&
					   !model->memories[id].mappings[i],
				   "frame %u keeps references or mappings", i);
	fuzz_check(gmm_port_alloc_live() == model->allocations, "memory is leaked");
}

gmm_hva_t model_hva(const struct model_memory *memory, uint32_t page)
{
	return MODEL_HVA + memory->id * MODEL_HVA_BETWEEN + (gmm_hva_t)page * MODEL_PAGE_BYTES;
}

struct gmm_slot_config model_slot(struct model *model, uint32_t id, uint32_t memory, gmm_gfn_t gfn,
				  uint32_t page, uint32_t count, uint32_t flags)
{
	struct model_memory *from = &model->memories[memory];

	return (struct gmm_slot_config){
		.id = id,
		.flags = flags,
		.gfn = gfn,
		.count = count,
		.hva = model_hva(from, page),
		.memory_ops = memory == MODEL_LAZY ? &lazy_ops : &resident_ops,
		.memory = from,
		.memory_page = page,
	};
}

const struct gmm_slot_config *model_slot_at(const struct model *model, gmm_gfn_t gfn)
{
	uint32_t i;

	for (i = 0; i < MODEL_SLOTS; i++)
		if (model->slots[i].count && gfn >= model->slots[i].gfn &&
		    gfn - model->slots[i].gfn < model->slots[i].count)
			return &model->slots[i];
	return NULL;
}

struct model_page *model_page_of(const struct gmm_slot_config *slot, gmm_gfn_t gfn)
{
	struct model_memory *memory = slot->memory;

	return &memory->pages[slot->memory_page + (gfn - slot->gfn)];
}

void model_inject(struct model *model, struct program *program)
{
	static const int errors[] = { -GMM_EIO, -GMM_ENOMEM };
	uint32_t how = program_byte(program);

	model->failed = false;
	/* Three of four operations are left alone. */
	if (how & 3)
		return;
	if (how & 4) {
		gmm_port_alloc_fail_at(1 + (how >> 3) % 8);
	} else {
		model->fail_at = 1 + (how >> 3) % 16;
		model->fail_with = errors[how >> 7];
	}
	fuzz_say("  may fail: %s %u", how & 4 ? "allocation" : "call", 1 + (how >> 3) % 16);
}

bool model_injected(struct model *model)
{
	bool injected = model->failed || gmm_port_alloc_failed();

	gmm_port_alloc_fail_at(0);
	model->fail_at = 0;
	model->failed = false;
	return injected;
}

uint64_t model_new_word(struct model *model)
{
	return model->next_word++;
}

void model_note_write(const struct gmm_slot_config *slot, struct model_page *page, uint64_t word)
{
	page->word = word;
	page->may_be_lost = false;
	page->may_log = true;
	page->must_log |= (slot->flags & GMM_SLOT_LOG_DIRTY) != 0;
}

/* One try through the live second stage. */
static bool try_access(struct model *model, const struct gmm_slot_config *slot,
		       struct model_page *page, gmm_gfn_t gfn, bool write)
{
	struct model_memory *memory = slot->memory;
	struct gmm_page_info info;
	uint64_t *at = model_frame(memory, page->frame);

	if (memory->id == MODEL_RESIDENT) {
		/* Nobody makes an entry for the owner: the table is what vCPUs go by. */
		fuzz_check(!gmm_page_query(model->guest, gfn, &info), "there is a slot");
		page->accessible = info.mapped;
		page->writable = info.writable;
		fuzz_check(!info.mapped || info.pfn == page->frame, "a vCPU has a stale frame");
	}
	if (!page->accessible || (write && !page->writable))
		return false;
	fuzz_check(page->resident && !page->taken, "a page is reached that is not there");
	if (write) {
		*at = model_new_word(model);
		page->logged = true;
		model_note_write(slot, page, *at);
	} else {
		fuzz_check(*at == page->word, "a vCPU reads %llx, not %llx",
			   (unsigned long long)*at, (unsigned long long)page->word);
	}
	return true;
}

int model_guest_access(struct model *model, struct gmm_vcpu *vcpu, gmm_gfn_t gfn, bool write)
{
	uint32_t access = GMM_ACCESS_READ | (write ? GMM_ACCESS_WRITE : 0);
	const struct gmm_slot_config *slot = model_slot_at(model, gfn);
	struct model_memory *memory;
	struct model_page *page;
	uint32_t tries;

	if (!slot)
		return gmm_fault_serve_vcpu(model->guest, vcpu, gfn, access);
	memory = slot->memory;
	page = model_page_of(slot, gfn);
	for (tries = 0; tries < 3; tries++) {
		uint32_t missing = page->taken ? GMM_FAULT_MISSING : 0;
		int answer;

		if (try_access(model, slot, page, gfn, write))
			return 0;
		/*
		 * The mark comes before the mapping, which may fail; an owner that can only map
		 * writable has the page written, by what the log knows.
		 */
		page->may_log |= write || model->owner == MODEL_OWNER_MAPS_WRITABLE;
		answer = vcpu || tries ?
				 gmm_fault_serve_vcpu(model->guest, vcpu, gfn, access | missing) :
				 gmm_fault_serve_at(model->guest, vcpu,
						    model_hva(memory,
							      (uint32_t)(page - memory->pages)),
						    access | missing);
		fuzz_say("  fault at %llu for %u: %d", (unsigned long long)gfn, access | missing,
			 answer);
		if (answer)
			return answer;
	}
	fuzz_failed(__FILE__, __LINE__, "faults on frame %llu lead nowhere",
		    (unsigned long long)gfn);
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
	set_frame(memory, page->frame, 0);
}

void model_move_page(struct model_memory *memory, uint32_t number)
{
	struct model_page *page = &memory->pages[number];
	uint32_t to = (page->frame + MODEL_PAGES) % MODEL_FRAMES;

	if (!page->resident || page->taken)
		return;
	set_frame(memory, to, *model_frame(memory, page->frame));
	set_frame(memory, page->frame, MODEL_POISON);
	page->frame = to;
}

void model_forget_pages(const struct gmm_slot_config *slot, uint64_t first, uint64_t count)
{
	struct model_memory *memory = slot->memory;
	uint64_t i;

	for (i = 0; i < count; i++) {
		struct model_page *page = &memory->pages[slot->memory_page + first + i];

		if (memory->id == MODEL_LAZY) {
			drop_page(memory, page);
			page->word = page->source;
			page->may_be_lost = false;
		}
		page->must_log = false;
		page->may_log = false;
		page->logged = false;
	}
}

/* What the table says of a page that is in a slot, against what is there. */
static void check_page(struct model *model, const struct gmm_slot_config *slot, gmm_gfn_t gfn,
		       struct gmm_page_survey *survey)
{
	struct model_page *page = model_page_of(slot, gfn);
	struct model_memory *memory = slot->memory;
	struct gmm_page_info info;
	uint64_t word;

	fuzz_check(!gmm_page_query(model->guest, gfn, &info), "frame %llu is in no slot",
		   (unsigned long long)gfn);
	fuzz_check(!info.busy, "frame %llu stays busy", (unsigned long long)gfn);
	survey->pages++;
	if (memory->id == MODEL_RESIDENT) {
		survey->present++;
		return;
	}
	fuzz_check((info.state == GMM_PAGE_PRESENT) == page->resident,
		   "frame %llu: the table and the memory do not agree", (unsigned long long)gfn);
	fuzz_check(info.mapped || !page->accessible, "frame %llu is mapped and nobody knows",
		   (unsigned long long)gfn);
	fuzz_check(info.writable || !page->writable, "frame %llu is writable and nobody knows",
		   (unsigned long long)gfn);
	survey->present += info.state == GMM_PAGE_PRESENT;
	survey->absent += info.state == GMM_PAGE_ABSENT;
	survey->zero += info.state == GMM_PAGE_ZERO;
	survey->evicted += info.state == GMM_PAGE_EVICTED;
	survey->mapped += info.mapped;
	survey->young += info.young;
	survey->changed += info.changed;
	word = info.state == GMM_PAGE_PRESENT ? *model_frame(memory, page->frame) :
	       info.state == GMM_PAGE_ABSENT  ? page->source :
	       info.state == GMM_PAGE_EVICTED ? page->store :
						0;
	fuzz_check(page->taken || word == page->word, "frame %llu holds %llx, not %llx",
		   (unsigned long long)gfn, (unsigned long long)word,
		   (unsigned long long)page->word);
	/* It has come back: then it was not lost. */
	if (!page->taken)
		page->may_be_lost = false;
}

void model_check(struct model *model)
{
	struct gmm_page_survey all = { 0 }, found;
	uint64_t resident = 0, i;
	uint32_t id, slot;

	for (slot = 0; slot < MODEL_SLOTS; slot++)
		for (i = 0; i < model->slots[slot].count; i++)
			check_page(model, &model->slots[slot], model->slots[slot].gfn + i, &all);
	for (i = 0; i < MODEL_PAGES; i++)
		resident += model->memories[MODEL_LAZY].pages[i].resident;
	for (id = 0; id < MODEL_MEMORIES; id++)
		for (i = 0; i < MODEL_FRAMES; i++)
			fuzz_check(!model->memories[id].references[i],
				   "frame %llu keeps a reference", (unsigned long long)i);
	fuzz_check(gmm_resident_pages(model->guest) == resident, "%llu pages count, not %llu",
		   (unsigned long long)gmm_resident_pages(model->guest),
		   (unsigned long long)resident);
	fuzz_check(!gmm_page_take_survey(model->guest, 0, 1u << 11, &found), "a survey fails");
	fuzz_check(found.pages == all.pages && found.present == all.present &&
			   found.absent == all.absent && found.zero == all.zero &&
			   found.evicted == all.evicted && !found.busy,
		   "a survey counts what is not there");
}
