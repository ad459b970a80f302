/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "sev_reference.h"

#include <gmm_port/atomic.h>

#define WRITE_BACKS 2u
#define RANK_DEACTIVATION 100u

bool sev_has(const struct sev_play *play, enum sev_defect defect)
{
	return play->plan->defect == defect;
}

void sev_begin(struct sev_play *play, const struct sev_plan *plan)
{
	uint32_t i;

	*play = (struct sev_play){ .plan = plan };
	gmm_mutex_init(&play->deactivation, RANK_DEACTIVATION);
	lines_init(&play->lines, plan->traits, WRITE_BACKS);
	for (i = 0; i < SEV_GUESTS; i++)
		play->guests[i].number = i + 1;
	sev_activate(play, &play->guests[0], 1);
	sev_watch(play, &play->guests[0], 0);
	for (i = 0; i < LINES_COUNT; i++) {
		lines_give(&play->lines, i, play->guests[0].number);
		play->mapped[i] = 1;
	}
	if (plan->prepare)
		plan->prepare(play);
}

void sev_end(struct sev_play *play)
{
	lines_fini(&play->lines);
	if (play->plan->check)
		play->plan->check(play);
	gmm_mutex_destroy(&play->deactivation);
}

void sev_play(const struct sev_plan *plan)
{
	static const char *const names[] = { "A", "B", "C" };
	struct gmm_sim_thread *threads[3];
	struct sev_play play;
	uint32_t count = 0;

	sev_begin(&play, plan);
	for (; count < 3 && plan->threads[count]; count++)
		threads[count] = gmm_sim_thread_start(plan->threads[count], &play, names[count]);
	machine_go(threads, count);
	sev_end(&play);
}

void sev_activate(struct sev_play *play, struct sev_guest *guest, uint32_t asid)
{
	guest->asid = asid;
	machine_must(lines_asid_activate(&play->lines, asid, guest->number));
}

void sev_watch(struct sev_play *play, const struct sev_guest *guest, uint32_t which)
{
	if (!play->plan->unwatched)
		lines_watch(&play->lines, guest->asid, which, &guest->ran);
}

void sev_mask_set(struct sev_play *play, struct sev_guest *guest, uint32_t cpu)
{
	uint32_t ran = gmm_load_relaxed(&guest->ran);

	/* Most entries find it set, and write nothing. */
	if (ran >> cpu & 1)
		return;
	if (sev_has(play, SEV_MASK_NOT_ATOMIC))
		gmm_store_relaxed(&guest->ran, ran | 1u << cpu);
	else
		gmm_fetch_or(&guest->ran, 1u << cpu);
}

bool sev_enter(struct sev_play *play, struct sev_guest *guest, uint32_t cpu)
{
	gmm_fetch_add(&guest->inside, 1u);
	if (gmm_load_relaxed(&guest->ended)) {
		gmm_fetch_add(&guest->inside, ~0u);
		return false;
	}
	if (!sev_has(play, SEV_MASK_AFTER_ENTRY))
		sev_mask_set(play, guest, cpu);
	return true;
}

void sev_leave(struct sev_play *play, struct sev_guest *guest, uint32_t cpu)
{
	if (sev_has(play, SEV_MASK_AFTER_ENTRY))
		sev_mask_set(play, guest, cpu);
	gmm_fetch_add(&guest->inside, ~0u);
}

void sev_run(struct sev_play *play, struct sev_guest *guest, uint32_t cpu, uint32_t lines)
{
	uint32_t line;

	if (!sev_enter(play, guest, cpu))
		return;
	for (line = 0; line < LINES_COUNT; line++)
		if (lines >> line & 1)
			play->stored |= lines_store(&play->lines, cpu, guest->asid, line,
						    &play->mapped[line], SEV_GUEST_WORD);
	sev_leave(play, guest, cpu);
}

void sev_stop(struct sev_guest *guest)
{
	gmm_exchange(&guest->ended, 1u);
	while (gmm_load_relaxed(&guest->inside))
		gmm_cpu_relax(0);
}

void sev_write_back(struct sev_play *play, struct sev_guest *guest, uint32_t line)
{
	uint32_t cpus;

	if (sev_has(play, SEV_NO_WRITE_BACK))
		return;
	if (sev_has(play, SEV_OWN_CPU_ONLY)) {
		lines_wbnoinvd(&play->lines, SEV_HOST_CPU);
		return;
	}
	if (sev_has(play, SEV_CLFLUSH_INSTEAD)) {
		lines_clflush(&play->lines, line);
		return;
	}
	if (sev_has(play, SEV_MASK_CLEARED))
		cpus = gmm_exchange(&guest->ran, 0u);
	else
		cpus = gmm_load_relaxed(&guest->ran);
	lines_wbnoinvd_on(&play->lines, cpus);
}

void sev_host_gets(struct sev_play *play, uint32_t line)
{
	uint64_t word;

	lines_give(&play->lines, line, LINES_HOST);
	lines_store(&play->lines, SEV_HOST_CPU, LINES_PLAIN, line, NULL, SEV_HOST_WORD);
	lines_load(&play->lines, SEV_HOST_CPU, LINES_PLAIN, line, NULL, &word);
	machine_check(word == SEV_HOST_WORD);
}

void sev_reclaim(struct sev_play *play, struct sev_guest *guest, uint32_t line)
{
	if (sev_has(play, SEV_EARLY))
		sev_write_back(play, guest, line);
	gmm_exchange(&play->mapped[line], 0u);
	if (!sev_has(play, SEV_EARLY))
		sev_write_back(play, guest, line);
	sev_host_gets(play, line);
}

void sev_deactivate(struct sev_play *play, struct sev_guest *guest)
{
	bool locks = !sev_has(play, SEV_DEACTIVATES_AT_ANY_TIME);

	lines_watch(&play->lines, guest->asid, 0, NULL);
	if (locks)
		gmm_mutex_lock(&play->deactivation);
	lines_asid_deactivate(&play->lines, guest->asid);
	if (locks)
		gmm_mutex_unlock(&play->deactivation);
}

void sev_recycle(struct sev_play *play, uint32_t ran)
{
	if (sev_has(play, SEV_NO_RECYCLING))
		return;
	gmm_mutex_lock(&play->deactivation);
	if (sev_has(play, SEV_WBNOINVD_RECYCLES))
		lines_wbnoinvd_on(&play->lines, LINES_ALL_CPUS);
	else
		lines_wbinvd_on(&play->lines,
				sev_has(play, SEV_MASK_RECYCLES) ? ran : LINES_ALL_CPUS);
	machine_must(lines_df_flush(&play->lines));
	gmm_mutex_unlock(&play->deactivation);
}
