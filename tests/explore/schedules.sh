#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Files of schedules: those that are kept (explore/schedules/) pass, are of their mutant, and what cannot be
# replayed is refused with one line that says why.
set -uo pipefail

count=0
bad=0
ok() {
	count=$((count + 1))
	printf 'ok %d - %s\n' "$count" "$1"
}
# not_ok NAME LINE...: what was seen instead.
not_ok() {
	count=$((count + 1))
	bad=1
	printf 'not ok %d - %s\n' "$count" "$1"
	shift
	printf '%s\n' "$@" | sed 's/^/# /'
}

if [ -z "${GMM_EXPLORE:-}" ]; then
	printf '1..0 # SKIP the race explorer is not built with sanitizers\n'
	exit 0
fi
cd "$GMM_TEST_TMP" || exit 99

# refused NAME TEXT [OPTION...]: the file `schedule` cannot be replayed.
refused() {
	local name=$1 text=$2 status=0
	shift 2
	timeout -k 2 60 "$GMM_EXPLORE" "$@" --replay schedule >out 2>err || status=$?
	if [ "$status" -eq 2 ] && [ "$(wc -l <err)" -eq 1 ] && grep -qF -- "$text" err && [ ! -s out ]; then
		ok "refused: $name"
	else
		not_ok "refused: $name" "exit status $status" "$(cat out err)"
	fi
}

# with PATTERN REPLACEMENT: the good file, changed.
with() {
	sed "s/$1/$2/" good >schedule
}

cat >good <<-'END'
	# A comment.
	gmm-explore schedule 2
	program gmm-explore
	scenario cache-read-move
	memory sc
	early-wakes 0
	fail-allocation 0
	fail-resolve 0
	fail-map 0
	choices 3
	2 1x2
	end
END

status=0
timeout -k 2 60 "$GMM_EXPLORE" --replay good >out 2>err || status=$?
if [ "$status" -eq 0 ] && [ ! -s err ] && grep -q '^    1 \* B moves' out && grep -qF 'cache-read-move passes' out; then
	ok 'a good file is replayed, and its table begins with the thread that it says'
else
	not_ok 'a good file is replayed, and its table begins with the thread that it says' "exit status $status" \
		"$(head -n 20 out err)"
fi

rm -f schedule
refused 'no file' 'schedule: it cannot be read'
: >schedule
refused 'empty' 'is no schedule'
head -c 4096 /dev/urandom >schedule
refused 'noise' 'is no schedule'
with 'schedule 2' 'schedule 1'
refused 'another version' "version '1', and this program reads version 2"
with 'program gmm-explore' 'program gmm-explore-plain'
refused 'of the other program' 'this schedule is of gmm-explore-plain'
with 'cache-read-move' 'cache-read-mope'
refused 'unknown scenario' "there is no scenario 'cache-read-mope'"
with 'memory sc' 'memory arm64'
refused 'unknown memory' "'arm64' is no memory"
with '^early-wakes.*' ''
refused 'a field is missing' "stands where 'early-wakes' should"
with 'fail-map 0' 'fail-map -1'
refused 'a number that is none' "'-1' is no number for 'fail-map'"
with 'choices 3' 'choices 4'
refused 'fewer choices than it says' 'there are 3 choices, and 4 should be'
with 'choices 3' 'choices 2'
refused 'more choices than it says' 'more choices than the file says'
with 'choices 3' 'choices 99999999'
refused 'too many choices' "is no number for 'choices'"
with '2 1x2' '2 1z2'
refused 'a choice that is none' "is no choice"
with '2 1x2' '2 9x2'
refused 'a thread that cannot be' "is no choice"
with '2 1x2' '7x3'
refused 'a choice that cannot be made' 'its choice 1 of 3 cannot be made'
for lines in 3 8 10; do
	head -n "$lines" good >schedule
	refused "cut off behind line $lines" 'it is cut off'
done

with '2 1x2' '7x3'
status=0
timeout -k 2 60 "$GMM_EXPLORE" --lenient --replay schedule >out 2>err || status=$?
if [ "$status" -eq 0 ] && [ "$(cat out)" = 'schedule: cache-read-move passes, 0 of 3 choices made' ]; then
	ok 'with --lenient choices that cannot be made are passed over'
else
	not_ok 'with --lenient choices that cannot be made are passed over' "exit status $status" "$(head -n 5 out err)"
fi

for file in "$GMM_SOURCE"/explore/schedules/*.schedule; do
	name=$(basename "$file" .schedule)
	mutant=$GMM_SOURCE/explore/mutants/$name.patch
	program=$GMM_EXPLORE
	! grep -qx 'program gmm-explore-plain' "$file" || program=$GMM_EXPLORE_PLAIN
	status=0
	timeout -k 2 60 "$program" --lenient --replay "$file" >out 2>err || status=$?
	if [ ! -f "$mutant" ]; then
		not_ok "kept: $name" "there is no $mutant, which would put its defect back"
	elif [ "$(sed -n 's/^scenario //p' "$file")" != "$(sed -n 's/^Scenario: //p' "$mutant")" ]; then
		not_ok "kept: $name" 'it is of another scenario than its mutant: make schedules'
	elif [ "$status" -ne 0 ]; then
		not_ok "kept: $name" "exit status $status" "$(head -n 60 out)" "$(cat err)"
	else
		ok "kept: $name"
	fi
done

printf '1..%d\n' "$count"
exit "$bad"
