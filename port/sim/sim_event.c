/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "sim_event.h"

#include "sim_impl.h"

#define EVENT_OF 8 /* at random: at one point of so many something happens */

void gmm_sim_events_set(const struct gmm_sim_events *events)
{
	sim_required("gmm_sim_events_set")->events =
		events ? *events : (struct gmm_sim_events){ .possible = NULL };
}

void gmm_sim_touch(const struct gmm_sim_access *access)
{
	struct sim *sim = sim_required("gmm_sim_touch");

	sim_access_point(sim, access);
	sim_stores_finish(sim, sim->current);
}

void sim_event_happens(struct sim *sim, uint32_t event)
{
	struct gmm_sim_access access = { .size = 1 };

	sim->events.describe(sim->events.opaque, event, &access);
	access.op = GMM_SIM_EVENT;
	sim->writes++;
	if (sim->explored)
		sim->explorer->performed(sim->explorer->opaque, GMM_SIM_NOBODY, false, &access);
	else if (sim->config.trace)
		fprintf(sim->config.trace, "%7llu    %-12s %-13s %s (%s:%d)\n",
			(unsigned long long)sim->step, "", sim_op_name(access.op),
			access.site->name, sim_file_name(access.site->file), access.site->line);
	sim->events.happen(sim->events.opaque, event);
}

void sim_events_progress(struct sim *sim)
{
	uint32_t possible = sim->events.possible(sim->events.opaque);
	uint64_t random = sim_random(sim);
	uint32_t skip;

	if (!possible || random % EVENT_OF)
		return;
	for (skip = (uint32_t)(random >> 32) % (uint32_t)__builtin_popcount(possible); skip; skip--)
		possible &= possible - 1;
	sim_event_happens(sim, (uint32_t)__builtin_ctz(possible));
}
