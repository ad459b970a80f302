/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "model.h"

#include <gmm_port/alloc.h>

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

void model_init(struct model *model, enum model_owner owner, uint32_t traits)
{
	struct gmm_guest_config config = { .gpa_bits = 23, .max_vcpus = 2 };
	uint32_t i;

	*model = (struct model){
		.owner = owner,
		.adopts = traits & MODEL_ADOPTS,
		.next_word = 0x100000,
	};
	model->allocations = gmm_port_alloc_live();
	for (i = 0; i < MODEL_MEMORIES; i++)
		model_memory_init(&model->memories[i], i, &model->calls);
	model->memories[MODEL_LAZY].private = traits & MODEL_PRIVATE;
	config.lost = count_lost;
	config.lost_opaque = model;
	if (owner != MODEL_OWNER_NONE) {
		config.stage2_ops = &model_owner_ops[owner];
		config.stage2_owner = &model->calls;
	}
	if (model->adopts) {
		config.hva_ops = &model_adopted_ops;
		config.hva_memory = &model->memories[MODEL_RESIDENT];
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
		.memory_ops = memory == MODEL_RESIDENT ? &model_resident_ops :
			      from->private	       ? &model_private_ops :
							 &model_lazy_ops,
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

	model->calls.failed = false;
	/* Three of four operations are left alone. */
	if (how & 3)
		return;
	if ((how & 0x84) == 0x84) {
		model->calls.busy_at = 1 + (how >> 3) % 16;
	} else if (how & 4) {
		gmm_port_alloc_fail_at(1 + (how >> 3) % 8);
	} else {
		model->calls.fail_at = 1 + (how >> 3) % 16;
		model->calls.fail_with = errors[how >> 7];
	}
	fuzz_say("  may fail: %s %u", how & 4 ? "allocation" : "call", 1 + (how >> 3) % 16);
}

bool model_injected(struct model *model)
{
	bool injected = model->calls.failed || gmm_port_alloc_failed();

	gmm_port_alloc_fail_at(0);
	model->calls.fail_at = 0;
	model->calls.busy_at = 0;
	model->calls.failed = false;
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
		/* Who serves faults may know that there is no page, or only that there was a fault. */
		uint32_t missing = page->taken && (gfn & 1) ? GMM_FAULT_MISSING : 0;
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

void model_forget_pages(const struct gmm_slot_config *slot, uint64_t first, uint64_t count)
{
	struct model_memory *memory = slot->memory;
	uint64_t i;

	for (i = 0; i < count; i++) {
		struct model_page *page = &memory->pages[slot->memory_page + first + i];

		if (memory->id == MODEL_LAZY) {
			model_drop_page(memory, page);
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
