#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Runs in which operations of guest memory and allocations of the engine fail now and then: what was begun is
# undone or repeated, and nothing is lost.
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

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel" "$reason"
		continue
	fi
	failing $accel --dirty bitmap
	failing $accel --dirty ring
	failing $accel --memory-kind anonymous
done
plan
