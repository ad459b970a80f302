#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Every program of the simulated world under many more schedules than make test has time for.
# GMM_DEEP_SEEDS says how many a case gets.
set -u
. "$GMM_SOURCE/tests/cli/support/tap.bash"

seeds=${GMM_DEEP_SEEDS:-3000}
for program in "$(dirname "$GMM")"/tests/core-sim--*; do
	if [ ! -f "$program" ] || [ ! -x "$program" ]; then
		continue
	fi
	name=${program##*--}
	if GMM_SIM_SEEDS=$seeds timeout -k 2 900 "$program" >"$scratch/$name" 2>&1; then
		ok "$name under $seeds schedules"
	else
		not_ok "$name under $seeds schedules" "$(grep -v '^ok' "$scratch/$name" | tail -n 12)"
	fi
done
if [ "$number" -eq 0 ]; then
	skip 'schedules' 'this build has no programs of the simulated world'
fi
plan
