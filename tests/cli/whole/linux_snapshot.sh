#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# The memory of a real Linux machine as the snapshot: every page that the guest touches is as it was saved.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

if ! command -v qemu-system-x86_64 >/dev/null; then
	skip 'the memory of a Linux machine' 'qemu-system-x86_64 is missing (scripts/install-packages snapshot)'
	plan
	exit 0
fi
if ! LINUX_SNAPSHOT_BOOT_SECONDS=120 timeout -k 20 500 "$GMM_SOURCE/scripts/linux-snapshot" "$scratch/linux" 2>"$scratch/err"; then
	not_ok 'the snapshot is made' "$(tail -n 3 "$scratch/err")"
	plan
	exit 0
fi
ok 'the snapshot is made'
sum=$(cksum <"$scratch/linux/ram")
for accel in kvm process; do
	if ! usable $accel; then
		skip "$accel: the memory of a Linux machine" "$reason"
		continue
	fi
	gmm 60 run --accel $accel --snapshot "$scratch/linux/ram" --duration 5 --resident 96M
	if [ "$status" -eq 0 ] && grep -q '^nothing was lost' "$scratch/out" &&
		[ "$(cksum <"$scratch/linux/ram")" = "$sum" ]; then
		ok "$accel: the memory of a Linux machine: $(sed -n 's/^nothing was lost: //p' "$scratch/out")"
	else
		not_ok "$accel: the memory of a Linux machine" "exit status $status" \
			"$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" "$(tail -n 3 "$scratch/err")"
	fi
done
plan
