#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Events of devices: several at once, an area over slots that change, asynchronous I/O by leases. Each really
# happens, and nothing is lost.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

# good NAME ARGUMENTS...: nothing lost.
good() {
	local name=$1
	shift
	gmm 90 run --memory 16M --json "$scratch/out.json" "$@"
	if [ "$status" -eq 0 ] && grep -q '^nothing was lost' "$scratch/out"; then
		ok "$name"
	else
		not_ok "$name" "exit status $status" "$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" \
			"$(tail -n 3 "$scratch/err")"
	fi
}

number_of() {
	awk -v group="\"$1\":" -v name="\"$2\":" '
	$1 == group { inside = 1 }
	inside && $1 == name { sub(/,$/, "", $2); print $2; exit }' "$scratch/out.json"
}

# happened PREFIX LEAST GROUP NAME...
happened() {
	local prefix=$1 least=$2 group=$3 name found
	shift 3
	for name in "$@"; do
		found=$(number_of "$group" "$name")
		if [ "${found:-0}" -ge "$least" ]; then
			ok "$prefix: $group.$name"
		else
			not_ok "$prefix: $group.$name" "'${found}', expected at least $least"
		fi
	done
}

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel" "$reason"
		continue
	fi
	good "$accel: three devices" --accel $accel --vcpus 4 --devices 3 --events devices --duration 1
	happened $accel 3 devices count
	happened $accel 1 devices least_buffers

	good "$accel: an area over two slots" --accel $accel --events areas --duration 2
	happened $accel 1 areas uses refreshes slot_changes evicted harvested
	[ $accel != kvm ] || happened $accel 1 areas slot_moves slot_away

	gmm 30 run --accel $accel --memory 1M --events io --duration 0.01
	if [ "$status" -eq 2 ] && grep -q 'events io: .*io_uring' "$scratch/err"; then
		skip "$accel: asynchronous I/O" "$(sed 's/^gmm run: //' "$scratch/err")"
		continue
	fi
	good "$accel: asynchronous I/O" --accel $accel --events io --duration 3
	happened $accel 1 io reads writes asked lease_waits not_evicted changes evicted discarded \
		slot_changes harvested
	happened $accel 2 io most_in_flight
	[ $accel != kvm ] || happened $accel 1 io slot_moves
	gmm 90 run --accel $accel --memory 4M --events io --memory-kind anonymous --duration 1
	if [ "$status" -eq 2 ] && grep -q 'faults of the kernel' "$scratch/err"; then
		skip "$accel: asynchronous I/O into anonymous memory" "$(sed 's/^gmm run: //' "$scratch/err")"
	else
		good "$accel: asynchronous I/O into anonymous memory" --accel $accel --events io \
			--memory-kind anonymous --duration 4
		happened "$accel, anonymous" 1 io reads writes evicted harvested
	fi
	good "$accel: all of them, little memory resident" --accel $accel --events devices,areas,io \
		--resident 256K --duration 1
done

refused 'no devices' '--devices 0 is refused' 10 run --devices 0
refused 'too many devices' '--devices 65 is refused' 10 run --devices 65
refused 'one vCPU and devices' '--events devices: one vCPU has one device' 10 run --vcpus 1 --events devices
plan
