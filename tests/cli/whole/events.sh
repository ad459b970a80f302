#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Events slots and discard: each thing happens, vCPUs and devices meet it, and nothing is lost.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

# A number of the results: number_of GROUP NAME.
number_of() {
	awk -v group="\"$1\":" -v name="\"$2\":" '
	$1 == group { inside = 1 }
	inside && $1 == name { sub(/,$/, "", $2); print $2; exit }' "$scratch/out.json"
}

# happened ACCELERATOR GROUP NAME...: each at least once in the last run.
happened() {
	local accel=$1 group=$2 name missing=''
	shift 2
	for name; do
		[ "$(number_of "$group" "$name")" -ge 1 ] 2>/dev/null || missing+=" $name"
	done
	if [ -z "$missing" ]; then
		ok "$accel: $group: $*"
	else
		not_ok "$accel: $group: $*" "none:$missing" "$(sed -n "/^$group/,/^[a-z]/p" "$scratch/out")"
	fi
}

# run NAME ARGUMENTS...: nothing is lost.
run() {
	local name=$1
	shift
	gmm 60 run --memory 4M --resident 4M --json "$scratch/out.json" "$@"
	if [ "$status" -eq 0 ] && grep -q '^nothing was lost' "$scratch/out"; then
		ok "$name"
	else
		not_ok "$name" "exit status $status" "$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" \
			"$(tail -n 3 "$scratch/err")"
	fi
}

# What happens depends on how many threads get to run: a run that saw too little is followed by a longer one.
enough() {
	local group=$1 name
	shift
	for name; do
		[ "$(number_of "$group" "$name")" -ge 1 ] 2>/dev/null || return 1
	done
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
	for seconds in 2 6 18; do
		run "$accel: slots come and go, $seconds s" --accel $accel --events slots --duration $seconds
		enough slots "${wanted[@]}" && break
	done
	happened $accel slots "${wanted[@]}"
	for seconds in 1 4; do
		run "$accel: ranges are discarded, $seconds s" --accel $accel --events discard --duration $seconds
		enough discard "${discard[@]}" && break
	done
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
