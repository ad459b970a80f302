#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Somebody else frees, unmaps and moves memory during a run (W9): each kind happened, everything was repaired or
# reported, nothing was silently wrong.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

# A number of the event's results.
number_of() {
	awk -v name="\"$1\":" '
	$1 == "\"foreign\":" { inside = 1 }
	inside && $1 == name { sub(/,$/, "", $2); print $2; exit }' "$scratch/out.json"
}

# good NAME ARGUMENTS...: exit status 0 with the event on.
good() {
	local name=$1
	shift
	gmm 60 run --memory 16M --duration 1 --events foreign --json "$scratch/out.json" "$@"
	if [ "$status" -eq 0 ] && grep -q '^events: foreign' "$scratch/out"; then
		ok "$name"
	else
		not_ok "$name" "exit status $status" "$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" \
			"$(tail -n 3 "$scratch/err")"
	fi
}

# at_least LEAST NAME...: each of these results.
at_least() {
	local least=$1 what found
	shift
	for what; do
		found=$(number_of "$what")
		if [ "${found:-0}" -ge "$least" ]; then
			ok "$accel: foreign.$what"
		else
			not_ok "$accel: foreign.$what" "is '$found', expected at least $least"
		fi
	done
}

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel" "$reason"
		continue
	fi
	gmm 30 run --accel $accel --memory 1M --duration 0.01 --events foreign
	if [ "$status" -eq 2 ]; then
		skip "$accel" "$(head -n 1 "$scratch/err")"
		continue
	fi
	good "$accel" --accel $accel
	at_least 1 freed taken unmapped moved detected touched repaired reported restored verified found_zero
	good "$accel: little memory resident" --accel $accel --resident 1M
	good "$accel: dirty ring, five vCPUs" --accel $accel --dirty ring --vcpus 5
	# A vCPU has to meet what is unmapped before it is back: in little memory, and in one of ten runs.
	if [ $accel = kvm ]; then
		for _ in {1..10}; do
			gmm 60 run --accel kvm --memory 512K --vcpus 4 --duration 1 --events foreign \
				--json "$scratch/out.json"
			[ "$status" -eq 0 ] && [ "$(number_of memory_exits)" = 0 ] || break
		done
		[ "$status" -eq 0 ] || not_ok 'kvm: little memory' "exit status $status" "$(grep LOST "$scratch/out")"
		at_least 1 memory_exits
	fi
	refused "$accel: private memory" 'foreign' 30 run --accel $accel --memory-kind anonymous --events foreign
done
plan
