#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# What --json writes is what docs/RESULTS.md says: each field, no other, and the numbers of the table that is printed.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

json=$scratch/out.json

# fields NAME STATUS ARGUMENTS...: of that run all are documented, and those in tables are printed in that order.
fields() {
	local name=$1 expected=$2 said
	shift 2
	rm -f "$json"
	# A run that shall lose something: until it has.
	until_seen "[ $expected -eq 0 ]" 1 --memory 4M "$@"
	if [ "$status" -ne "$expected" ]; then
		not_ok "$name" "exit status $status" "$(tail -n 3 "$scratch/out" "$scratch/err")"
	elif said=$("$GMM_SOURCE/tests/cli/support/results.py" "$GMM_SOURCE/docs/RESULTS.md" "$json" "$scratch/out" 2>&1); then
		ok "$name"
	else
		not_ok "$name" "$said"
	fi
}

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel" "$reason"
		continue
	fi
	fields "$accel: all events" 0 --accel $accel
	fields "$accel: no events, saved" 0 --accel $accel --events none --save "$scratch/saved"
	if "$GMM" run --lose-saved --help >/dev/null 2>&1; then
		fields "$accel: a run that lost something" 1 --accel $accel --events none --save "$scratch/lost" --lose-saved
		fields "$accel: a run with failures on purpose" 0 --accel $accel --events none --fail-one-in 1000000
	else
		skip "$accel: losses and failures" 'a build without step points'
	fi
done

gmm 10 run --memory 3 --json "$scratch/none.json"
if [ "$status" -eq 2 ] && [ ! -e "$scratch/none.json" ]; then
	ok 'a run that is refused writes none'
else
	not_ok 'a run that is refused writes none' "exit status $status"
fi
plan
