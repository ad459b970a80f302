#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Runs in which operations of guest memory and allocations of the engine fail now and then: what was begun is
# undone or repeated, nothing is lost, and memory stays near its limit although evicting fails.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

failed_enough() {
	operations=$(sed -n 's/.*"operations": \([0-9]*\).*/\1/p' "$scratch/out.json")
	allocations=$(sed -n 's/.*"allocations": \([0-9]*\).*/\1/p' "$scratch/out.json")
	[ "${operations:-0}" -ge 100 ] && [ "${allocations:-0}" -ge 1 ]
}

# failing ACCEL ARGUMENTS...
failing() {
	until_seen failed_enough 2 --memory 16M --resident 4M --fail-one-in 5 --accel "$@"
	if [ "$status" -eq 0 ] && failed_enough; then
		ok "$*"
	else
		not_ok "$*" "exit status $status, ${operations:-0} operations and ${allocations:-0} allocations failed" \
			"$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" "$(tail -n 3 "$scratch/err")"
	fi
	rm -f "$scratch/out.json"
}

busy=()
end_busy() {
	[ ${#busy[@]} -eq 0 ] || kill "${busy[@]}" 2>/dev/null
	wait "${busy[@]:-$$}" 2>/dev/null
	busy=()
}
trap end_busy EXIT

# limited ACCEL: vCPUs fill memory faster than it is evicted; each that faults far above the limit has to wait.
limited() {
	local most i
	for ((i = 0; i < 2 * $(nproc); i++)); do
		timeout -k 2 100 bash -c 'while :; do :; done' &
		busy+=($!)
	done
	until_seen '[ "$(number_of memory evictions)" -gt 5000 ]' 2 --memory 256M --resident 1M --vcpus 5 \
		--fail-one-in 50 --accel "$1"
	end_busy
	most=$(number_of memory most_resident_bytes)
	if [ "$status" -eq 0 ] && [ "${most:-99999999}" -lt $((12 << 20)) ]; then
		ok "$1: memory stays near its limit on busy CPUs"
	else
		not_ok "$1: memory stays near its limit on busy CPUs" "exit status $status, at most ${most:-?} bytes" \
			"$(tail -n 3 "$scratch/err")"
	fi
	rm -f "$scratch/out.json"
}

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel" "$reason"
		continue
	fi
	failing $accel --dirty bitmap
	failing $accel --dirty ring
	failing $accel --memory-kind anonymous
	limited $accel
done
plan
