/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "model.h"

#define MODEL_RANK_MEMORY 200u
#define MODEL_RANK_LIVE 190u

uint64_t model_word(uint32_t page)
{
	return 0x1000 + page;
}

static uint64_t *frame_words(struct model_memory *memory, uint32_t frame)
{
	return (uint64_t *)(memory->frames + (size_t)frame * MODEL_PAGE_BYTES);
}

/* Word 0 is what tests look at; it is shared by design, so every access is an atomic one. */
static void set_frame(struct model_memory *memory, uint32_t frame, uint64_t word)
{
	uint64_t *words = frame_words(memory, frame);
	uint32_t i;

	gmm_store_relaxed(&words[0], word);
	for (i = 1; i < MODEL_PAGE_BYTES / sizeof(*words); i++)
		words[i] = word;
}

/* Counts the call, stops at its gate, and says whether it is to fail. */
static int enter_op(struct model_memory *memory, enum model_op op)
{
	bool fails;

	gmm_spin_lock(&memory->lock);
	memory->calls[op]++;
	fails = memory->fail_at[op] == memory->calls[op];
	gmm_spin_unlock(&memory->lock);
	if (memory->gates[op])
		gmm_gate_pass(memory->gates[op]);
	return fails ? memory->fail_with : 0;
}

static int resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory, MODEL_RESOLVE);
	uint32_t i;

	if (error)
		return error;
	if (page + count > MODEL_PAGES)
		return -GMM_EFAULT;
	gmm_spin_lock(&memory->lock);
	for (i = 0; i < count && (!memory->strict || memory->resident[page + i]); i++)
		;
	if (i < count) {
		gmm_spin_unlock(&memory->lock);
		return -GMM_EFAULT;
	}
	for (i = 0; i < count; i++) {
		pfns[i] = memory->frame_of[page + i];
		memory->references[pfns[i]]++;
		memory->resolved_pages++;
	}
	gmm_spin_unlock(&memory->lock);
	return 0;
}

static void put(void *opaque, const gmm_pfn_t *pfns, uint32_t count)
{
	struct model_memory *memory = opaque;
	uint32_t i;

	gmm_spin_lock(&memory->lock);
	for (i = 0; i < count; i++) {
		gmm_ok(pfns[i] < MODEL_FRAMES, "a frame that was never resolved is put");
		memory->references[pfns[i]]--;
		gmm_ok(memory->references[pfns[i]] >= 0, "frame %u is put more often than resolved",
		       (unsigned int)pfns[i]);
	}
	gmm_spin_unlock(&memory->lock);
}

static int map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory, MODEL_MAP);
	uint32_t i;

	for (i = 1; i < count && !error; i++)
		if (pfns[i] != pfns[0] + i)
			error = -GMM_EXDEV;
	if (error)
		return error;
	gmm_spin_lock(&memory->lock);
	for (i = 0; i < count; i++)
		memory->mappings[pfns[i]]++;
	gmm_spin_unlock(&memory->lock);
	*pointer = frame_words(memory, (uint32_t)pfns[0]);
	return 0;
}

static void unmap(void *opaque, void *pointer, uint32_t count)
{
	struct model_memory *memory = opaque;
	size_t offset = (size_t)((uint8_t *)pointer - memory->frames);
	uint32_t frame = (uint32_t)(offset / MODEL_PAGE_BYTES), i;

	enter_op(memory, MODEL_UNMAP);
	gmm_ok(offset % MODEL_PAGE_BYTES == 0, "unmap of an address that map did not give (P20)");
	gmm_spin_lock(&memory->lock);
	for (i = 0; i < count && gmm_ok(frame + i < MODEL_FRAMES); i++) {
		memory->mappings[frame + i]--;
		gmm_ok(memory->mappings[frame + i] >= 0, "frame %u is unmapped but was not mapped",
		       frame + i);
	}
	gmm_spin_unlock(&memory->lock);
}

static int fill(void *opaque, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory, MODEL_FILL);
	uint32_t i;

	if (error)
		return error;
	gmm_spin_lock(&memory->lock);
	for (i = 0; i < count; i++) {
		uint64_t word = origin == GMM_ORIGIN_SOURCE ? memory->source[page + i] :
				origin == GMM_ORIGIN_STORE  ? memory->store[page + i] :
							      0;

		gmm_ok(!memory->resident[page + i], "page %u is filled over what it holds",
		       (unsigned int)page + i);
		memory->resident[page + i] = true;
		set_frame(memory, memory->frame_of[page + i], word);
	}
	gmm_spin_unlock(&memory->lock);
	return 0;
}

static int write_out(void *opaque, uint64_t page, uint32_t count)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory, MODEL_WRITE_OUT);
	uint32_t i;

	if (error)
		return error;
	gmm_spin_lock(&memory->lock);
	for (i = 0; i < count; i++) {
		gmm_ok(memory->resident[page + i], "page %u is written out but not there",
		       (unsigned int)page + i);
		memory->store[page + i] =
			gmm_load_relaxed(frame_words(memory, memory->frame_of[page + i]));
	}
	gmm_spin_unlock(&memory->lock);
	return 0;
}

static int discard(void *opaque, uint64_t page, uint32_t count)
{
	struct model *model = gmm_container_of((struct model_memory *)opaque, struct model, memory);
	struct model_memory *memory = opaque;
	int error = enter_op(memory, MODEL_DISCARD);
	uint32_t i;

	if (error)
		return error;
	/* Punching a hole takes the pages out of every mapping. */
	gmm_spin_lock(&model->lock);
	gmm_spin_lock(&memory->lock);
	for (i = 0; i < count; i++) {
		model->accessible[page + i] = false;
		model->writable[page + i] = false;
		memory->resident[page + i] = false;
		memory->taken[page + i] = false;
		set_frame(memory, memory->frame_of[page + i], MODEL_POISON);
	}
	gmm_spin_unlock(&memory->lock);
	gmm_spin_unlock(&model->lock);
	return 0;
}

static int read_page(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
		     void *buffer)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory, MODEL_READ);
	uint64_t *words = buffer;
	uint64_t word = 0;
	uint32_t i;

	if (error)
		return error;
	gmm_spin_lock(&memory->lock);
	if (resident)
		word = gmm_load_relaxed(frame_words(memory, memory->frame_of[page]));
	else if (origin == GMM_ORIGIN_SOURCE)
		word = memory->source[page];
	else if (origin == GMM_ORIGIN_STORE)
		word = memory->store[page];
	gmm_spin_unlock(&memory->lock);
	for (i = 0; i < MODEL_PAGE_BYTES / sizeof(*words); i++)
		words[i] = word;
	return 0;
}

static int lost(void *opaque, uint64_t page, uint32_t count, uint64_t *gone)
{
	struct model_memory *memory = opaque;
	int error = enter_op(memory, MODEL_LOST);
	uint32_t i;

	if (error)
		return error;
	gmm_spin_lock(&memory->lock);
	for (i = 0; i < count; i++) {
		gmm_ok(memory->resident[page + i], "page %u is asked for, but was not there",
		       (unsigned int)page + i);
		if (!memory->taken[page + i])
			continue;
		memory->taken[page + i] = false;
		memory->resident[page + i] = false;
		*gone |= (uint64_t)1 << i;
	}
	gmm_spin_unlock(&memory->lock);
	return 0;
}

static bool is_taken(struct model *model, uint64_t page)
{
	bool taken;

	gmm_spin_lock(&model->memory.lock);
	taken = model->memory.taken[page];
	gmm_spin_unlock(&model->memory.lock);
	return taken;
}

void model_take_page(struct model *model, uint32_t page)
{
	struct model_memory *memory = &model->memory;

	gmm_spin_lock(&model->lock);
	gmm_spin_lock(&memory->lock);
	model->accessible[page] = false;
	model->writable[page] = false;
	if (memory->resident[page]) {
		memory->taken[page] = true;
		set_frame(memory, memory->frame_of[page], 0);
	}
	gmm_spin_unlock(&memory->lock);
	gmm_spin_unlock(&model->lock);
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

const struct gmm_memory_ops *model_ops(const struct model *model)
{
	return model->lazy ? &lazy_ops : &resident_ops;
}

/* The live second stage */

static void wake_locked(struct model *model)
{
	model->wakes++;
	gmm_waitqueue_wake_all(&model->woken);
}

static int live_map(void *owner, const struct gmm_span *span, uint32_t access)
{
	struct model *model = owner;
	int error = enter_op(&model->memory, MODEL_LIVE_MAP);
	uint64_t i;

	if (error)
		return error;
	gmm_spin_lock(&model->lock);
	for (i = 0; i < span->count && !error; i++) {
		if (is_taken(model, span->page + i)) {
			error = -GMM_EFAULT;
			break;
		}
		model->accessible[span->page + i] = true;
		model->writable[span->page + i] = access & GMM_ACCESS_WRITE;
	}
	if (!error)
		wake_locked(model);
	gmm_spin_unlock(&model->lock);
	return error;
}

static int live_unmap(void *owner, const struct gmm_span *span)
{
	struct model *model = owner;
	int error = enter_op(&model->memory, MODEL_LIVE_UNMAP);
	uint64_t i;

	if (error)
		return error;
	gmm_spin_lock(&model->lock);
	for (i = 0; i < span->count; i++) {
		model->accessible[span->page + i] = false;
		model->writable[span->page + i] = false;
	}
	gmm_spin_unlock(&model->lock);
	return 0;
}

static int live_protect(void *owner, const struct gmm_span *span)
{
	struct model *model = owner;
	int error = enter_op(&model->memory, MODEL_LIVE_PROTECT);
	uint64_t i;

	if (error)
		return error;
	gmm_spin_lock(&model->lock);
	for (i = 0; i < span->count; i++)
		model->writable[span->page + i] = false;
	gmm_spin_unlock(&model->lock);
	return 0;
}

static int live_unprotect(void *owner, const struct gmm_span *span)
{
	struct model *model = owner;
	int error = enter_op(&model->memory, MODEL_LIVE_UNPROTECT);
	uint64_t i;

	if (error)
		return error;
	gmm_spin_lock(&model->lock);
	for (i = 0; i < span->count; i++)
		model->writable[span->page + i] = model->accessible[span->page + i];
	wake_locked(model);
	gmm_spin_unlock(&model->lock);
	return 0;
}

static void live_wake(void *owner, const struct gmm_span *span)
{
	struct model *model = owner;
	uint64_t i;

	gmm_spin_lock(&model->lock);
	for (i = span->page; i < span->page + span->count && i < MODEL_PAGES; i++)
		model->wakes_at[i]++;
	wake_locked(model);
	gmm_spin_unlock(&model->lock);
}

/* Takes the owner's bits and protects: in one step for a vCPU, as the hardware's owner does it. */
static int live_collect(void *owner, const struct gmm_span *span, uint64_t *words)
{
	struct model *model = owner;
	int error = enter_op(&model->memory, MODEL_LIVE_COLLECT);
	uint64_t i;

	/* Nothing of what was there may come through, nor what lies behind the span. */
	for (i = 0; i < (span->count + 63) / 64; i++)
		words[i] = error ? 0 : ~(uint64_t)0;
	gmm_spin_lock(&model->lock);
	/* What fails has lost the first half of its log. */
	for (i = 0; i < (error ? span->count / 2 : span->count); i++) {
		if (model->logged[span->page + i])
			words[i / 64] |= (uint64_t)1 << (i % 64);
		else
			words[i / 64] &= ~((uint64_t)1 << (i % 64));
		model->logged[span->page + i] = false;
	}
	gmm_spin_unlock(&model->lock);
	return error;
}

static int live_collect_next(void *owner, const struct gmm_span *span, uint64_t *words)
{
	struct model *model = owner;

	model->nexts++;
	return live_collect(owner, span, words);
}

static int live_slot_change(void *owner, const struct gmm_slot_info *old,
			    const struct gmm_slot_info *now)
{
	struct model *model = owner;

	if (model->written_meanwhile)
		model->written_answer = gmm_fault_serve_at(
			model->guest, NULL, model->written_meanwhile, GMM_ACCESS_WRITE);
	if (model->slot_change_fails)
		return model->slot_change_fails;
	gmm_spin_lock(&model->lock);
	model->slot_now = *now;
	gmm_spin_unlock(&model->lock);
	return 0;
}

static const struct gmm_stage2_ops live_ops = {
	.version = GMM_STAGE2_OPS_VERSION,
	.flags = GMM_STAGE2_MAPS_PROTECTED,
	.name = "model",
	.map = live_map,
	.unmap = live_unmap,
	.protect = live_protect,
	.unprotect = live_unprotect,
	.wake = live_wake,
	.slot_change = live_slot_change,
};

static const struct gmm_stage2_ops unprotected_ops = {
	.version = GMM_STAGE2_OPS_VERSION,
	.name = "model, cannot map write-protected",
	.map = live_map,
	.unmap = live_unmap,
	.protect = live_protect,
	.unprotect = live_unprotect,
	.wake = live_wake,
	.slot_change = live_slot_change,
};

static const struct gmm_stage2_ops logging_ops = {
	.version = GMM_STAGE2_OPS_VERSION,
	.flags = GMM_STAGE2_MAPS_PROTECTED | GMM_STAGE2_LOGS_WRITES,
	.name = "model, logs",
	.map = live_map,
	.unmap = live_unmap,
	.protect = live_protect,
	.unprotect = live_unprotect,
	.wake = live_wake,
	.collect_dirty = live_collect,
	.collect_dirty_next = live_collect_next,
	.slot_change = live_slot_change,
};

bool model_guest_try(struct model *model, uint32_t page, bool write, uint64_t *word)
{
	bool through;
	uint64_t *at;

	gmm_spin_lock(&model->lock);
	through = model->accessible[page] && (!write || model->writable[page]);
	if (through) {
		at = model_page(model, page);
		if (write) {
			gmm_store_relaxed(at, *word);
			model->logged[page] = true;
		} else {
			*word = gmm_load_relaxed(at);
		}
	}
	gmm_spin_unlock(&model->lock);
	return through;
}

/* The number of wakes is read before the fault, so a wake that comes early is not slept through. */
static bool guest_access(struct model *model, uint32_t page, bool write, uint64_t *word)
{
	uint32_t access = GMM_ACCESS_READ | (write ? GMM_ACCESS_WRITE : 0);

	while (!model_guest_try(model, page, write, word)) {
		uint32_t missing;
		uint64_t wakes;
		int answer;

		gmm_spin_lock(&model->lock);
		wakes = model->wakes;
		missing = is_taken(model, page) ? GMM_FAULT_MISSING : 0;
		gmm_spin_unlock(&model->lock);
		answer = gmm_fault_serve_vcpu(model->guest, model->vcpu, page, access | missing);
		if (answer < 0)
			return false;
		gmm_spin_lock(&model->lock);
		while (answer == GMM_FAULT_HELD && model->wakes == wakes)
			gmm_waitqueue_wait(&model->woken, &model->lock);
		gmm_spin_unlock(&model->lock);
	}
	return true;
}

bool model_guest_read(struct model *model, uint32_t page, uint64_t *word)
{
	return guest_access(model, page, false, word);
}

bool model_guest_write(struct model *model, uint32_t page, uint64_t word)
{
	return guest_access(model, page, true, &word);
}

/* The machine */

static void memory_init(struct model_memory *memory, bool lazy)
{
	size_t bytes = (size_t)(MODEL_FRAMES + 1) * MODEL_PAGE_BYTES;
	uint32_t i;

	*memory = (struct model_memory){ .fail_with = -GMM_EIO };
	gmm_spin_init(&memory->lock, MODEL_RANK_MEMORY);
	memory->allocated = gmm_zalloc(bytes);
	if (!memory->allocated)
		gmm_bail("no memory for the model");
	memory->frames = (uint8_t *)(((uintptr_t)memory->allocated + MODEL_PAGE_BYTES - 1) &
				     ~(uintptr_t)(MODEL_PAGE_BYTES - 1));
	for (i = 0; i < MODEL_FRAMES; i++)
		set_frame(memory, i, MODEL_POISON);
	for (i = 0; i < MODEL_PAGES; i++) {
		memory->frame_of[i] = i;
		memory->source[i] = model_word(i);
		memory->resident[i] = !lazy;
		if (!lazy)
			set_frame(memory, i, model_word(i));
	}
}

struct gmm_slot_config model_slot(struct model *model, uint32_t id, gmm_gfn_t gfn, uint64_t page,
				  uint64_t count)
{
	return (struct gmm_slot_config){
		.id = id,
		.gfn = gfn,
		.count = count,
		.hva = MODEL_HVA + page * MODEL_PAGE_BYTES,
		.memory_ops = model_ops(model),
		.memory = &model->memory,
		.memory_page = page,
		.pointer = model->lazy ? NULL : frame_words(&model->memory, (uint32_t)page),
	};
}

void model_init_config(struct model *model, uint32_t traits, struct gmm_guest_config config)
{
	struct gmm_slot_config slot;

	*model = (struct model){ .lazy = traits & MODEL_LAZY };
	memory_init(&model->memory, model->lazy);
	gmm_spin_init(&model->lock, MODEL_RANK_LIVE);
	gmm_waitqueue_init(&model->woken);
	config.max_vcpus = 4;
	if (traits & (MODEL_OWNER | MODEL_OWNER_LOGS | MODEL_OWNER_UNPROTECTED)) {
		config.stage2_ops = traits & MODEL_OWNER_LOGS	     ? &logging_ops :
				    traits & MODEL_OWNER_UNPROTECTED ? &unprotected_ops :
								       &live_ops;
		config.stage2_owner = model;
	}
	if (gmm_guest_create(&config, &model->guest))
		gmm_bail("the guest could not be made");
	slot = model_slot(model, 0, 0, 0, MODEL_PAGES);
	if (traits & MODEL_LOG_DIRTY)
		slot.flags = GMM_SLOT_LOG_DIRTY;
	if (traits & MODEL_NO_POINTER)
		slot.pointer = NULL;
	if (!(traits & MODEL_NO_SLOT))
		gmm_equal(gmm_slot_add(model->guest, &slot), 0);
}

void model_init(struct model *model, uint32_t traits)
{
	model_init_config(model, traits, (struct gmm_guest_config){ 0 });
}

void model_fini(struct model *model)
{
	uint32_t i;

	gmm_slot_remove(model->guest, 0);
	gmm_equal(gmm_guest_destroy(model->guest), 0);
	for (i = 0; i < MODEL_FRAMES; i++) {
		gmm_ok(!model->memory.references[i], "frame %u keeps %d references", i,
		       model->memory.references[i]);
		gmm_ok(!model->memory.mappings[i], "frame %u keeps %d mappings", i,
		       model->memory.mappings[i]);
	}
	gmm_waitqueue_destroy(&model->woken);
	gmm_spin_destroy(&model->lock);
	gmm_spin_destroy(&model->memory.lock);
	gmm_free(model->memory.allocated, (size_t)(MODEL_FRAMES + 1) * MODEL_PAGE_BYTES);
}

uint64_t *model_page(struct model *model, uint32_t page)
{
	uint32_t frame;

	gmm_spin_lock(&model->memory.lock);
	frame = model->memory.frame_of[page];
	gmm_spin_unlock(&model->memory.lock);
	return frame_words(&model->memory, frame);
}

void model_move_page(struct model *model, uint32_t page)
{
	struct model_memory *memory = &model->memory;
	uint32_t from, to;

	gmm_spin_lock(&memory->lock);
	from = memory->frame_of[page];
	to = from < MODEL_PAGES ? from + MODEL_PAGES : from - MODEL_PAGES;
	set_frame(memory, to, gmm_load_relaxed(frame_words(memory, from)));
	memory->frame_of[page] = to;
	set_frame(memory, from, MODEL_POISON);
	gmm_spin_unlock(&memory->lock);
}

static uint64_t *enter_with_pointer(struct gmm_cache *cache, struct gmm_reader *reader,
				    uint64_t offset, int *error)
{
	uint64_t *pointer;

	gmm_section_enter_inline(reader);
	while (!(pointer = gmm_cache_pointer_inline(cache, offset, sizeof(*pointer)))) {
		gmm_section_exit_inline(reader);
		*error = gmm_cache_refresh(cache);
		if (*error)
			return NULL;
		gmm_section_enter_inline(reader);
	}
	return pointer;
}

int model_cache_read(struct gmm_cache *cache, struct gmm_reader *reader, uint64_t offset,
		     uint64_t *word)
{
	int error = 0;
	uint64_t *pointer = enter_with_pointer(cache, reader, offset, &error);

	if (!pointer)
		return error;
	*word = gmm_load_relaxed(pointer);
	gmm_section_exit_inline(reader);
	return 0;
}

int model_cache_write(struct gmm_cache *cache, struct gmm_reader *reader, uint64_t offset,
		      uint64_t word)
{
	int error = 0;
	uint64_t *pointer = enter_with_pointer(cache, reader, offset, &error);

	if (!pointer)
		return error;
	gmm_store_relaxed(pointer, word);
	gmm_cache_mark_dirty_inline(cache, offset, sizeof(word));
	gmm_section_exit_inline(reader);
	return 0;
}

struct gmm_range model_frames(gmm_gfn_t gfn, uint64_t count)
{
	return (struct gmm_range){ gfn, gfn + count };
}

struct gmm_range model_addresses(uint64_t page, uint64_t count)
{
	return (struct gmm_range){ MODEL_HVA + page * MODEL_PAGE_BYTES,
				   MODEL_HVA + (page + count) * MODEL_PAGE_BYTES };
}
