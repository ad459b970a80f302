#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# gmm run on each kind of memory and each mapping: verified, or refused by name. Huge pages are the host's:
# a process of its own gives them back when this one is gone, in whichever way.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

huge=/proc/sys/vm/nr_hugepages
# What holds the huge pages; nothing yet.
guard=9

# Reserves 16 huge pages; 1 and $reason where that cannot be.
reserve_huge_pages() {
	local before
	reason="huge pages can be reserved by root only ($huge)"
	exec {lock}<"$huge" && [ -w "$huge" ] || return 1
	flock "$lock"
	before=$(cat "$huge")
	exec {guard}> >(exec setsid bash -c 'cat >/dev/null; echo "$1" >"$2"' guard "$before" "$huge" >/dev/null)
	# The lock is the guard's now.
	exec {lock}<&-
	echo $((before + 16)) >"$huge"
	reason='the host has no 16 huge pages of 2 MiB in one piece'
	[ "$(cat "$huge")" -ge $((before + 16)) ]
}

# good NAME ARGUMENTS...: nothing lost, nothing left behind; long enough for what is in $seen.
seen=true
good() {
	local name=$1 left
	shift
	touch "$scratch/mark"
	until_seen "$seen" 1 "$@" {guard}>&-
	left=$(left_behind | grep -v '/out.json$')
	if [ "$status" -eq 0 ] && [ -z "$left" ] && grep -q '^nothing was lost' "$scratch/out"; then
		ok "$name"
	else
		not_ok "$name" "exit status $status" "left behind: $left" \
			"$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" "$(tail -n 3 "$scratch/err")"
	fi
}

# holds NAME EXPRESSION: of the shell's arithmetic.
holds() {
	if (($2)); then
		ok "$1"
	else
		not_ok "$1" "$2"
	fi
}

says() {
	if grep -qF -- "$2" "$scratch/out"; then
		ok "$1"
	else
		not_ok "$1" "no '$2' in: $(head -n 5 "$scratch/out")"
	fi
}

refused 'secret memory as RAM' '--memory-kind secret: it cannot be guest RAM (KVM cannot take' 10 run --memory-kind secret
refused 'anonymous memory mapped in use' '--mapping in-use: anonymous memory has no file' 10 \
	run --memory-kind anonymous --mapping in-use
refused 'hugetlb memory that is to be evicted' '--resident: hugetlb memory cannot be evicted' 10 \
	run --memory-kind hugetlb --resident 1M
refused 'hugetlb memory in the process' 'it cannot be logged (only KVM sees writes' 10 \
	run --memory-kind hugetlb --accel process
refused 'guest-memfd in the process' 'it cannot be guest RAM (belongs to a KVM' 10 \
	run --memory-kind guest-memfd --accel process
refused 'a ring on guest-memfd' '--dirty ring: guest-memfd memory cannot be logged' 10 \
	run --memory-kind guest-memfd --dirty ring
refused 'guest-memfd that is to be saved' '--save: guest-memfd memory cannot be logged' 10 \
	run --memory-kind guest-memfd --save "$scratch/saved"
refused 'an unknown mapping' 'give linear or in-use' 10 run --mapping some

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel: memory mapped where it is in use" "$reason"
		continue
	fi
	# The device keeps 1024 caches of 32 KiB.
	seen='is_least 1 caches kept'
	good "$accel: memory mapped where it is in use" --accel $accel --memory 64M --resident 8M --mapping in-use
	says "$accel: the run says so" 'the engine maps what is in use only'
	holds "$accel: not all of it was mapped at a time" \
		"$(number_of memory most_mapped_bytes) > 0 && $(number_of memory most_mapped_bytes) < 64 << 20"
	holds "$accel: refreshes kept mappings" "$(number_of caches kept) > 0"
	seen=true
	good "$accel: memory mapped linearly" --accel $accel --memory 8M --mapping linear
	holds "$accel: all of it was mapped, once" \
		"$(number_of memory mapped_bytes) == 8 << 20 && $(number_of memory map_calls) == 0"
done

if ! usable kvm; then
	skip 'kvm: hugetlb and guest-memfd' "$reason"
	plan
	exit
fi
gmm 30 run --accel kvm --memory 1M --duration 0.01 --memory-kind guest-memfd
if [ "$status" -eq 2 ]; then
	skip 'kvm: guest-memfd' "$(sed 's/^gmm run: //' "$scratch/err" | head -n 1)"
else
	for mapping in linear in-use; do
		good "kvm: guest-memfd, $mapping" --accel kvm --memory 16M --memory-kind guest-memfd --mapping $mapping
		says "kvm: guest-memfd, $mapping: the run says what it leaves out" 'nor harvested (KVM has no log of its slots)'
	done
	head -c 4M /dev/urandom >"$scratch/ram"
	good 'kvm: guest-memfd from a snapshot' --accel kvm --snapshot "$scratch/ram" --memory-kind guest-memfd
	holds 'kvm: guest-memfd from a snapshot was filled whole' "$(number_of memory filled_bytes) == 4 << 20"
fi

refused 'more hugetlb memory than the host has' 'huge pages of 2 MiB are needed' 10 \
	run --accel kvm --memory-kind hugetlb --memory 256G
if reserve_huge_pages; then
	seen='is_least 1 dirty pages'
	good 'kvm: hugetlb' --accel kvm --memory 32M --memory-kind hugetlb --events none
	seen=true
	says 'kvm: hugetlb: the run says what it leaves out' 'nothing is evicted or aged'
	holds 'kvm: hugetlb was harvested' "$(number_of dirty pages) > 0 && $(number_of memory evictions) == 0"
	good 'kvm: hugetlb, in use, with a ring' --accel kvm --memory 32M --memory-kind hugetlb --mapping in-use --dirty ring
	head -c 4M /dev/urandom >"$scratch/ram"
	good 'kvm: hugetlb from a snapshot' --accel kvm --snapshot "$scratch/ram" --memory-kind hugetlb
	refused 'hugetlb memory that is no multiple' 'give a multiple of 2 MiB' 10 \
		run --accel kvm --memory-kind hugetlb --memory 3M
else
	skip 'kvm: hugetlb' "$reason"
fi
plan
