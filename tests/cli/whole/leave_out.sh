#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Each protection is left out once, while the threads are held where it matters (cli/run/hold.c): the run must
# report the loss. With the same holds and nothing left out it must not.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

small=(--memory 16M --resident 8M)

# loses NAME PATTERN ARGUMENTS...: exit status 1 and a line that names what was lost, after a while.
loses() {
	local name=$1 pattern=$2
	shift 2
	until_seen false 1 "${small[@]}" "$@"
	if [ "$status" -eq 1 ] && grep -qE "$pattern" "$scratch/out"; then
		ok "$name: $(grep -E "$pattern" "$scratch/out" | head -n 1 | cut -c 1-120)"
	else
		not_ok "$name" "exit status $status" "$(tail -n 3 "$scratch/out" "$scratch/err")"
	fi
}

keeps() {
	local name=$1
	shift
	gmm 60 run "${small[@]}" "$@"
	if [ "$status" -eq 0 ] && grep -q '^nothing was lost' "$scratch/out"; then
		ok "$name"
	else
		not_ok "$name" "exit status $status" "$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" \
			"$(tail -n 3 "$scratch/err")"
	fi
}

gmm 30 run --hold wake --help
if [ "$status" -ne 0 ]; then
	skip 'protections left out' 'this build has no steps (meson -Dsteps=enabled)'
	plan
	exit 0
fi

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel: protections left out" "$reason"
		continue
	fi
	for protection in protect wake sections retry; do
		keeps "$accel: $protection held, not left out" --accel $accel --hold $protection --duration 1
	done
	loses "$accel: without write protection" '^LOST: page [0-9]+ .*vCPU [0-9]+: expected version' \
		--accel $accel --leave-out protect
	loses "$accel: without the wake" '^FAILED: vCPU [0-9]+ hangs: .* on page [0-9]+' \
		--accel $accel --leave-out wake --hang-after 2
	loses "$accel: without waiting for sections" '^LOST: page [0-9]+ .*vCPU [0-9]+, device buffer' \
		--accel $accel --leave-out sections
	loses "$accel: without the retry" '^LOST: page [0-9]+ .*vCPU [0-9]+, device buffer' \
		--accel $accel --leave-out retry
done
plan
