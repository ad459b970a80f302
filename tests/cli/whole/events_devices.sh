#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Events of devices: several at once, an area over slots that change, asynchronous I/O by leases. Each really
# happens, and nothing is lost.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

# good NAME: nothing was lost in the last run.
good() {
	if [ "$status" -eq 0 ] && grep -q '^nothing was lost' "$scratch/out"; then
		ok "$1"
	else
		not_ok "$1" "exit status $status" "$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" \
			"$(tail -n 3 "$scratch/err")"
	fi
}

# happened PREFIX LEAST GROUP NAME...
happened() {
	local prefix=$1 least=$2 group=$3 name
	shift 3
	for name in "$@"; do
		if is_least "$least" "$group" "$name"; then
			ok "$prefix: $group.$name"
		else
			not_ok "$prefix: $group.$name" "expected at least $least:$less"
		fi
	done
}

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel" "$reason"
		continue
	fi
	until_seen 'is_least 3 devices count && is_least 1 devices least_buffers' 1 --accel $accel --memory 16M \
		--vcpus 4 --devices 3 --events devices
	good "$accel: three devices"
	happened $accel 3 devices count
	happened $accel 1 devices least_buffers

	areas=(uses refreshes slot_changes evicted harvested)
	io=(reads writes asked lease_waits not_evicted changes evicted discarded slot_changes harvested)
	if [ $accel = kvm ]; then
		areas+=(slot_moves slot_away)
		io+=(slot_moves)
	fi
	until_seen "is_least 1 areas ${areas[*]}" 2 --accel $accel --memory 16M --events areas
	good "$accel: an area over two slots"
	happened $accel 1 areas "${areas[@]}"

	gmm 30 run --accel $accel --memory 1M --events io --duration 0.01
	if [ "$status" -eq 2 ] && grep -q 'events io: .*io_uring' "$scratch/err"; then
		skip "$accel: asynchronous I/O" "$(sed 's/^gmm run: //' "$scratch/err")"
		continue
	fi
	until_seen "is_least 1 io ${io[*]} && is_least 2 io most_in_flight" 3 --accel $accel --memory 16M --events io
	good "$accel: asynchronous I/O"
	happened $accel 1 io "${io[@]}"
	happened $accel 2 io most_in_flight
	gmm 90 run --accel $accel --memory 4M --events io --memory-kind anonymous --duration 1
	if [ "$status" -eq 2 ] && grep -q 'faults of the kernel' "$scratch/err"; then
		skip "$accel: asynchronous I/O into anonymous memory" "$(sed 's/^gmm run: //' "$scratch/err")"
	else
		until_seen 'is_least 1 io reads writes evicted harvested' 4 --accel $accel --memory 16M --events io \
			--memory-kind anonymous
		good "$accel: asynchronous I/O into anonymous memory"
		happened "$accel, anonymous" 1 io reads writes evicted harvested
	fi
	gmm 90 run --accel $accel --memory 16M --events devices,areas,io --resident 256K --duration 1
	good "$accel: all of them, little memory resident"
done

refused 'no devices' '--devices 0 is refused' 10 run --devices 0
refused 'too many devices' '--devices 65 is refused' 10 run --devices 65
refused 'one vCPU and devices' '--events devices: one vCPU has one device' 10 run --vcpus 1 --events devices
plan
