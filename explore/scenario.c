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
extern const struct explore_scenario explore_tlb_scenarios[];
extern const struct explore_scenario explore_lines_scenarios[];

const struct explore_scenario *const explore_tables[] = {
	explore_cache_scenarios,  explore_fault_scenarios,
	explore_dirty_scenarios,  explore_vcpu_scenarios,
	explore_slot_scenarios,	  explore_lease_scenarios,
	explore_ring_scenarios,	  explore_change_scenarios,
	explore_area_scenarios,	  explore_resident_scenarios,
	explore_repair_scenarios, explore_tlb_scenarios,
	explore_lines_scenarios,  NULL,
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

bool explore_scenario_survives_failures(const struct explore_scenario *scenario)
{
	static const char *const others[] = {
		"area-slots-move",
		"cache-look-drop-refresh",
		"cache-refresh-retarget-move",
		"change-nonblocking-vcpu",
		"lines-engine",
		"resident-fault-again-move",
		"resident-fault-move",
		"resident-fault-move-by-hva",
		"resident-two-faults-move",
		"slot-read-move-back",
		"slot-read-remove-add",
		"slot-read-shrink",
		"vcpu-run-deactivate-move",
		"vcpu-run-move",
		"vcpu-run-twice-move",
		"vcpu-two-run-move",
		NULL,
	};
	uint32_t i;

	for (i = 0; others[i]; i++)
		if (!strcmp(scenario->name, others[i]))
			return false;
	return true;
}
