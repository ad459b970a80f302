#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Whole runs, short ones: each accelerator with each dirty log and kind of memory; what is printed and written;
# the snapshot stays as it is.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

# good NAME ARGUMENTS...: nothing lost, nothing left behind.
good() {
	local name=$1 left
	shift
	touch "$scratch/mark"
	gmm 60 run --memory 32M --duration 1 --json "$scratch/out.json" "$@"
	left=$(left_behind | grep -v '/out.json$')
	if [ "$status" -eq 0 ] && [ -z "$left" ] && grep -q '^nothing was lost' "$scratch/out"; then
		ok "$name"
	else
		not_ok "$name" "exit status $status" "left behind: $left" \
			"$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" "$(tail -n 3 "$scratch/err")"
	fi
}

# Each thing that a run shows.
happened() {
	local what
	for what in 'memory evictions' 'engine refaults' 'caches hits refreshes invalidations' \
		'vcpus moves move_kicks' 'dirty harvests pages' 'device bytes' 'run verified_pages'; do
		# shellcheck disable=SC2086
		is_least 1 $what || return
	done
}

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel" "$reason"
		continue
	fi
	until_seen happened 3 --accel $accel --memory 32M
	if [ "$status" -eq 0 ] && grep -q '^nothing was lost' "$scratch/out"; then
		ok "$accel"
	else
		not_ok "$accel" "exit status $status" "$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" \
			"$(tail -n 3 "$scratch/err")"
	fi
	for what in 'memory evictions' 'engine refaults' 'caches hits' 'caches refreshes' \
		'caches invalidations' 'vcpus moves' 'vcpus move_kicks' 'dirty harvests' 'dirty pages' \
		'device bytes' 'run verified_pages'; do
		# shellcheck disable=SC2086
		if is_least 1 $what; then
			ok "$accel: there were $what"
		else
			not_ok "$accel: there were $what" "$less"
		fi
	done
	if [ "$(number_of vcpus bystander_kicks)" = 0 ]; then
		ok "$accel: no vCPU was kicked whose frame did not move"
	else
		not_ok "$accel: no vCPU was kicked whose frame did not move"
	fi
	good "$accel: dirty ring" --accel $accel --dirty ring
	good "$accel: five vCPUs, two of which share a frame page" --accel $accel --vcpus 5
	good "$accel: one vCPU" --accel $accel --vcpus 1
	good "$accel: little memory resident" --accel $accel --resident 1M
	good "$accel: anonymous memory" --accel $accel --memory-kind anonymous
	good "$accel: as much resident as there is, and more" --accel $accel --resident 64M
	good "$accel: as little resident as may be" --accel $accel --resident 256K
	good "$accel: one page" --accel $accel --memory 4K --vcpus 64

	head -c 3M /dev/urandom >"$scratch/ram"
	head -c 1M /dev/zero >>"$scratch/ram"
	sum=$(cksum <"$scratch/ram")
	until_seen 'grep -q "1024 pages of 1024 seen" "$scratch/out"' 3 --accel $accel --snapshot "$scratch/ram" \
		--resident 2M
	if [ "$status" -eq 0 ] && [ "$(cksum <"$scratch/ram")" = "$sum" ] &&
		grep -q '1024 pages of 1024 seen' "$scratch/out"; then
		ok "$accel: a snapshot, which stays as it is"
	else
		not_ok "$accel: a snapshot, which stays as it is" "exit status $status" \
			"$(tail -n 3 "$scratch/out" "$scratch/err")"
	fi
done

if usable process; then
	if grep -q 'not verified on KVM' "$scratch/out"; then
		ok 'process: the run says what it does not show'
	else
		not_ok 'process: the run says what it does not show'
	fi
	if grep -q $'\033' "$scratch/out" "$scratch/err"; then
		not_ok 'no colours and no live line but on terminals'
	else
		ok 'no colours and no live line but on terminals'
	fi
fi
plan
