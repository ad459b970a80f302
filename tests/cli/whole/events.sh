#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Events slots and discard: each thing happens, vCPUs and devices meet it, and nothing is lost.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

# happened ACCELERATOR GROUP NAME...: each at least once in the last run.
happened() {
	local accel=$1 group=$2
	shift 2
	if is_least 1 "$group" "$@"; then
		ok "$accel: $group: $*"
	else
		not_ok "$accel: $group: $*" "not seen:$less" "$(sed -n "/^$group/,/^[a-z]/p" "$scratch/out")"
	fi
}

# good NAME: nothing was lost in the last run.
good() {
	if [ "$status" -eq 0 ] && grep -q '^nothing was lost' "$scratch/out"; then
		ok "$1"
	else
		not_ok "$1" "exit status $status" "$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" \
			"$(tail -n 3 "$scratch/err")"
	fi
}

# run NAME ARGUMENTS...: nothing is lost.
run() {
	local name=$1
	shift
	gmm 60 run --memory 4M --resident 4M --json "$scratch/out.json" "$@"
	good "$name"
}

slots=(adds shrinks grows removes vcpu_reads vcpu_zeros vcpu_writes device_reads device_zeros device_writes harvested compared
	final_zeros)
discard=(discards pages vcpu_zeros vcpu_writes device_zeros device_writes harvested compared final_zeros)

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel" "$reason"
		continue
	fi
	wanted=("${slots[@]}")
	[ $accel = kvm ] && wanted+=(moves under_use mmio_reads mmio_writes)
	until_seen "is_least 1 slots ${wanted[*]}" 2 --accel $accel --memory 4M --resident 4M --events slots
	good "$accel: slots come and go"
	happened $accel slots "${wanted[@]}"
	until_seen "is_least 1 discard ${discard[*]}" 1 --accel $accel --memory 4M --resident 4M --events discard
	good "$accel: ranges are discarded"
	happened $accel discard "${discard[@]}"
	run "$accel: both, dirty ring, little memory" --accel $accel --events slots,discard --dirty ring \
		--resident 1M --vcpus 3 --duration 1
	run "$accel: both, anonymous memory" --accel $accel --events slots,discard --memory-kind anonymous --duration 1
	if grep -q '^here only: slots:' "$scratch/out"; then
		[ $accel = process ]
	else
		[ $accel = kvm ]
	fi && ok "$accel: says what of it is not to be had here" || not_ok "$accel: says what of it is not to be had here"
done

plan
