/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "scenario.h"

#include <string.h>

extern const struct explore_scenario explore_cache_scenarios[];
extern const struct explore_scenario explore_fault_scenarios[];
extern const struct explore_scenario explore_dirty_scenarios[];
extern const struct explore_scenario explore_vcpu_scenarios[];
extern const struct explore_scenario explore_slot_scenarios[];
extern const struct explore_scenario explore_lease_scenarios[];
extern const struct explore_scenario explore_ring_scenarios[];
extern const struct explore_scenario explore_change_scenarios[];
extern const struct explore_scenario explore_area_scenarios[];
extern const struct explore_scenario explore_resident_scenarios[];
extern const struct explore_scenario explore_repair_scenarios[];
extern const struct explore_scenario explore_address_scenarios[];
extern const struct explore_scenario explore_fairness_scenarios[];
extern const struct explore_scenario explore_table_scenarios[];
extern const struct explore_scenario explore_format_table_scenarios[];
extern const struct explore_scenario explore_guest_table_scenarios[];
extern const struct explore_scenario explore_tlb_scenarios[];
extern const struct explore_scenario explore_lines_scenarios[];
extern const struct explore_scenario explore_waiting_scenarios[];

const struct explore_scenario *const explore_tables[] = {
	explore_cache_scenarios,	explore_fault_scenarios,
	explore_dirty_scenarios,	explore_vcpu_scenarios,
	explore_slot_scenarios,		explore_lease_scenarios,
	explore_ring_scenarios,		explore_change_scenarios,
	explore_area_scenarios,		explore_resident_scenarios,
	explore_repair_scenarios,	explore_address_scenarios,
	explore_fairness_scenarios,	explore_table_scenarios,
	explore_format_table_scenarios, explore_guest_table_scenarios,
	explore_tlb_scenarios,		explore_lines_scenarios,
	explore_waiting_scenarios,	NULL,
};

const struct explore_scenario *explore_scenario_find(const char *name)
{
	const struct explore_scenario *scenario;
	uint32_t table;

	for (table = 0; explore_tables[table]; table++)
		for (scenario = explore_tables[table]; scenario->name; scenario++)
			if (!strcmp(scenario->name, name))
				return scenario;
	return NULL;
}
