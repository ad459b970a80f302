#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Somebody else frees, unmaps and moves memory during a run (W9): each kind happened, everything was repaired or
# reported, nothing was silently wrong.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

# good NAME CHECK ARGUMENTS...: exit status 0 with the event on, and what is checked was seen.
good() {
	local name=$1 check=$2
	shift 2
	until_seen "$check" 1 --events foreign "$@"
	if [ "$status" -eq 0 ] && grep -q '^events: foreign' "$scratch/out"; then
		ok "$name"
	else
		not_ok "$name" "exit status $status" "$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" \
			"$(tail -n 3 "$scratch/err")"
	fi
}

# at_least NAME...: there were some of each of these results.
at_least() {
	local what
	for what; do
		if is_least 1 foreign "$what"; then
			ok "$accel: foreign.$what"
		else
			not_ok "$accel: foreign.$what" "$less"
		fi
	done
}

seen=(freed taken unmapped moved detected touched repaired reported restored verified found_zero)
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
	good "$accel" "is_least 1 foreign ${seen[*]}" --accel $accel --memory 16M
	at_least "${seen[@]}"
	good "$accel: little memory resident" true --accel $accel --memory 16M --resident 1M
	good "$accel: dirty ring, five vCPUs" true --accel $accel --memory 16M --dirty ring --vcpus 5
	# A vCPU has to meet what is unmapped before it is back: in little memory, and now and then.
	if [ $accel = kvm ]; then
		until_seen 'is_least 1 foreign memory_exits' 1 --accel kvm --memory 512K --vcpus 4 --events foreign
		[ "$status" -eq 0 ] || not_ok 'kvm: little memory' "exit status $status" "$(grep LOST "$scratch/out")"
		at_least memory_exits
	fi
	refused "$accel: private memory" 'foreign' 30 run --accel $accel --memory-kind anonymous --events foreign
done
plan
