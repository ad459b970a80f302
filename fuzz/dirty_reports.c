/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Who asks what was written: harvest, peek, clear. */
#include "dirty_reference.h"

static void take_part(struct run *run, struct dirty_part *part)
{
	uint32_t id = program_take(run->program, SLOTS);
	uint32_t how = program_byte(run->program);

	*part = (struct dirty_part){ .slot = &run->model.slots[id] };
	part->first = how & 1 ? 64 : how & 0x40 ? 32 : 0;
	part->count = how & 2 ? 1 + program_take(run->program, MODEL_PAGES) :
				part->slot->count - (part->first ? 64 : 0);
	if (part->first % 64 || !(part->slot->flags & GMM_SLOT_LOG_DIRTY))
		fuzz_expect(&part->expected, GMM_EINVAL);
	if (part->first >= part->slot->count || part->count > part->slot->count - part->first)
		fuzz_expect(&part->expected, GMM_ERANGE);
	if (part->count > MODEL_PAGES)
		part->count = ~(uint64_t)0;
	fuzz_say("part %llu + %llu of slot %u", (unsigned long long)part->first,
		 (unsigned long long)part->count, id);
	memset(part->bitmap, how & 4 ? 0xff : 0, sizeof(part->bitmap));
}

static bool bit_of(const struct dirty_part *part, uint64_t i)
{
	return (part->bitmap[i / 64] >> (i % 64)) & 1;
}

/* All that must be there is, and nothing that may not. */
static void check_report(struct run *run, const struct dirty_part *part, int64_t answer)
{
	int64_t count = 0;
	uint64_t i;

	for (i = 0; i < part->count; i++) {
		const struct model_page *page = dirty_page(part->slot, part->first + i);
		bool bit = bit_of(part, i);

		count += bit;
		fuzz_check(bit || !page->must_log ||
				   *dirty_pending(run, part->slot, part->first + i),
			   "slot %u: a write to page %llu is not reported", part->slot->id,
			   (unsigned long long)(part->first + i));
		fuzz_check(!bit || page->may_log, "slot %u: page %llu was not written",
			   part->slot->id, (unsigned long long)(part->first + i));
	}
	for (; i < (part->count + 63) / 64 * 64; i++)
		fuzz_check(!bit_of(part, i), "a bit behind the part is set");
	fuzz_check(answer == count, "%lld bits are said to be set, %lld are", (long long)answer,
		   (long long)count);
}

void dirty_harvest(struct run *run, struct dirty_part *part)
{
	int64_t answer = gmm_dirty_harvest(run->model.guest, part->slot->id, part->first,
					   part->count, part->bitmap);
	uint64_t i;

	fuzz_check_answer(&part->expected, answer, model_injected(&run->model), "harvest");
	if (answer < 0)
		return;
	check_report(run, part, answer);
	for (i = 0; i < part->count; i++) {
		struct model_page *page = dirty_page(part->slot, part->first + i);
		bool pending = *dirty_pending(run, part->slot, part->first + i);

		page->must_log &= pending && !bit_of(part, i);
		page->may_log &= pending;
	}
}

void do_harvest(struct run *run)
{
	struct dirty_part part;

	take_part(run, &part);
	dirty_harvest(run, &part);
}

void do_peek(struct run *run)
{
	struct dirty_part part;
	int64_t answer;

	take_part(run, &part);
	answer = gmm_dirty_peek(run->model.guest, part.slot->id, part.first, part.count,
				part.bitmap);
	fuzz_check_answer(&part.expected, answer, model_injected(&run->model), "peek");
	if (answer >= 0)
		check_report(run, &part, answer);
}

/* What the mask names and was set is reported; what it does not name stays. */
void do_clear(struct run *run)
{
	uint64_t mask[WORDS], i;
	struct dirty_part part;
	int64_t answer, count = 0;

	take_part(run, &part);
	for (i = 0; i < WORDS; i++)
		part.bitmap[i] ^= program_byte(run->program) * 0x0102040810204081ull;
	memcpy(mask, part.bitmap, sizeof(mask));
	answer = gmm_dirty_clear(run->model.guest, part.slot->id, part.first, part.count,
				 part.bitmap);
	fuzz_check_answer(&part.expected, answer, model_injected(&run->model), "clear");
	for (i = 0; answer >= 0 && i < part.count; i++) {
		struct model_page *page = dirty_page(part.slot, part.first + i);

		if (!bit_of(&part, i))
			continue;
		count++;
		fuzz_check((mask[i / 64] >> (i % 64)) & 1, "page %llu is cleared unasked",
			   (unsigned long long)i);
		fuzz_check(page->may_log, "page %llu was not written", (unsigned long long)i);
		/* The owner's log and the rings may have more of it; so may what peek moved. */
		page->must_log = false;
	}
	fuzz_check(answer < 0 || answer == count, "%lld bits are said to be cleared, %lld are",
		   (long long)answer, (long long)count);
}
