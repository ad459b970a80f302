/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "race.h"

#define GIVE_WAY_TURNS 300u

static void race_main(void *arg)
{
	struct race *race = arg;

	race->answer = race->call(race);
	gmm_store_release(&race->done, 1u);
}

void race_start(struct race *race, int (*call)(struct race *race))
{
	race->call = call;
	race->answer = 0;
	gmm_store_release(&race->done, 0u);
	gmm_test_thread_start(&race->thread, race_main, race);
}

int race_join(struct race *race)
{
	gmm_test_thread_join(&race->thread);
	return race->answer;
}

bool race_is_done(struct race *race)
{
	return gmm_load_acquire(&race->done);
}

void race_give_way(struct race *race)
{
	uint32_t turn;

	for (turn = 0; turn < GIVE_WAY_TURNS && !race_is_done(race); turn++)
		gmm_cpu_relax(turn);
}

bool race_done_or_at(struct race *race, struct gmm_gate *gate)
{
	uint32_t turn = 0;

	while (!race_is_done(race) && !gmm_gate_callers(gate))
		gmm_cpu_relax(turn++);
	return race_is_done(race);
}

int race_refresh(struct race *race)
{
	return gmm_cache_refresh(race->cache);
}

int race_activate(struct race *race)
{
	return gmm_cache_activate(race->cache, race->first, race->second,
				  GMM_CACHE_HOST | GMM_CACHE_WRITE);
}

int race_drop(struct race *race)
{
	return gmm_cache_drop(race->cache);
}

int race_deactivate(struct race *race)
{
	return gmm_cache_deactivate(race->cache);
}

static int move_page(struct race *race, enum gmm_range_kind kind, struct gmm_range range)
{
	int error = gmm_invalidate_begin(race->model->guest, kind, &range, 1, 0, NULL);

	if (error)
		return error;
	model_move_page(race->model, (uint32_t)race->first);
	gmm_invalidate_end(race->model->guest, kind, &range, 1);
	return 0;
}

int race_move_page(struct race *race)
{
	return move_page(race, GMM_RANGE_GFN, model_frames(race->first, 1));
}

int race_move_page_by_hva(struct race *race)
{
	return move_page(race, GMM_RANGE_HVA, model_addresses(race->first, 1));
}

int race_slot_remove(struct race *race)
{
	return gmm_slot_remove(race->model->guest, (uint32_t)race->first);
}

int race_slot_move(struct race *race)
{
	return gmm_slot_move(race->model->guest, (uint32_t)race->first, race->second);
}

int race_populate(struct race *race)
{
	return gmm_fault_populate(race->model->guest, race->first, race->second, GMM_ACCESS_WRITE,
				  0);
}

static int reader_main(struct race *race)
{
	struct race_reader *self = gmm_container_of(race, struct race_reader, race);
	struct gmm_reader *reader;
	uint64_t *pointer = NULL;

	if (gmm_reader_register(race->model->guest, &reader))
		gmm_bail("no reader");
	gmm_section_enter(reader);
	if (race->cache)
		pointer = gmm_cache_pointer(race->cache, self->offset, sizeof(*pointer));
	if (pointer)
		self->before = gmm_load_relaxed(pointer);
	gmm_gate_pass(&self->gate);
	if (pointer)
		self->after = gmm_load_relaxed(pointer);
	if (race->cache)
		self->still_valid = gmm_cache_pointer(race->cache, self->offset, sizeof(*pointer));
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	return 0;
}

void race_reader_start(struct race_reader *reader, struct model *model, struct gmm_cache *cache)
{
	reader->race.model = model;
	reader->race.cache = cache;
	gmm_gate_init(&reader->gate, GMM_GATE_ALL);
	race_start(&reader->race, reader_main);
	gmm_gate_wait_held(&reader->gate);
}

void race_reader_end(struct race_reader *reader)
{
	gmm_gate_open(&reader->gate);
	race_join(&reader->race);
}
