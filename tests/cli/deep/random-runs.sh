#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Short runs with everything chosen at random; a failing one prints its command line.
# GMM_DEEP_RUNS says how many.
set -u
. "$GMM_SOURCE/tests/cli/support/tap.bash"

pick() {
	local -n choices=$1
	echo "${choices[RANDOM % ${#choices[@]}]}"
}

accels=()
for accel in kvm process; do
	if usable "$accel"; then
		accels+=("$accel")
	else
		skip "runs on $accel" "$reason"
	fi
done
memories=(4K 64K 1M 16M 64M)
residents=(256K 512K 1M 8M)
rings=(bitmap ring)
RANDOM=${GMM_DEEP_SEED:-1}
for ((i = 0; ${#accels[@]} && i < ${GMM_DEEP_RUNS:-100}; i++)); do
	arguments=(run --accel "$(pick accels)" --memory "$(pick memories)" --resident "$(pick residents)"
		--dirty "$(pick rings)" --vcpus $((1 + RANDOM % 4)) --duration 2 --seed $RANDOM)
	gmm 60 "${arguments[@]}"
	if [ "$status" -eq 0 ]; then
		ok "gmm ${arguments[*]}"
	else
		not_ok "gmm ${arguments[*]}" "exit status $status" "$(tail -n 5 "$scratch/err")"
	fi
done
plan
