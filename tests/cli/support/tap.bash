# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Sourced by the scripts of this room and of tests/scripts: TAP, and ways to run the command. $GMM and $GMM_TEST_TMP come
# from the runner.

: "${GMM:?is the command}" "${GMM_TEST_TMP:?is an empty directory}"
scratch=$GMM_TEST_TMP
number=0
nobody=65534

# The command may leave nothing: it gets a directory of its own for files without a name.
export TMPDIR=$scratch/tmp
mkdir -p "$TMPDIR"

ok() {
	number=$((number + 1))
	echo "ok $number - $1"
}

not_ok() {
	number=$((number + 1))
	echo "not ok $number - $1"
	shift
	printf '%s\n' "$@" | sed 's/^/# /'
}

skip() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

plan() {
	echo "1..$number"
}

# No test says how fast a machine is. SECONDS of gmm() and refused() are for an idle one; a busy one gets so many times
# as long before a command counts as hanging, and a vCPU as long as this (before `timeout` ends the command) for a step.
patience=10
hang_after=120

# gmm SECONDS ARGUMENTS...: output in $scratch/out and $scratch/err, exit status in $status.
gmm() {
	local seconds=$(($1 * patience))
	shift
	[ "${1:-}" != run ] || set -- run --hang-after $hang_after "${@:2}"
	status=0
	(cd "$scratch" && exec timeout -k 20 "$seconds" "$GMM" "$@") >"$scratch/out" 2>"$scratch/err" ||
		status=$?
}

# number_of GROUP NAME: a number of the results in $scratch/out.json, or nothing.
number_of() {
	awk -v group="\"$1\":" -v name="\"$2\":" '
	$1 == group { inside = 1 }
	inside && $1 == name { sub(/,$/, "", $2); print $2; exit }' "$scratch/out.json" 2>/dev/null
}

# is_least LEAST GROUP NAME...: each of these results is at least that; $less has the others.
is_least() {
	local least=$1 group=$2 name found
	shift 2
	less=
	for name; do
		found=$(number_of "$group" "$name")
		[ "${found:-0}" -ge "$least" ] || less+=" $group.$name=$found"
	done
	[ -z "$less" ]
}

# until_seen CHECK SECONDS ARGUMENTS...: `gmm run ARGUMENTS...` for so long, and again four times as long, up to a few
# minutes, until CHECK (a command of the shell) holds or the run fails. What happens in a given time is up to the
# machine; that it happens is not.
until_seen() {
	local check=$1 seconds=$2 try
	shift 2
	for try in 1 2 3 4 5; do
		rm -f "$scratch/out.json"
		gmm $((seconds + 60)) run --json "$scratch/out.json" "$@" --duration "$seconds"
		[ "$status" -eq 0 ] || break
		! eval "$check" || break
		echo "# not yet after $seconds s, try $try: $check: ${less:-}"
		seconds=$((seconds * 4))
	done
}

# Nothing in the directories that the command could write to, but what the test itself put there.
left_behind() {
	find "$TMPDIR" -mindepth 1 -print
	find "$scratch" -mindepth 1 -maxdepth 1 -newer "$scratch/mark" ! -name out ! -name err \
		! -name tmp -print
}

# refused NAME TEXT SECONDS ARGUMENTS...: exit status 2, one line that has the text, nothing left behind.
refused() {
	local name=$1 text=$2 left
	shift 2
	touch "$scratch/mark"
	gmm "$@"
	left=$(left_behind)
	if [ "$status" -ne 2 ]; then
		not_ok "$name" "exit status $status" "$(head -c 300 "$scratch/err")"
	elif [ "$(wc -l <"$scratch/err")" -ne 1 ]; then
		not_ok "$name" "$(wc -l <"$scratch/err") lines" "$(head -n 3 "$scratch/err")"
	elif ! grep -qF -- "$text" "$scratch/err"; then
		not_ok "$name" "no '$text' in: $(cat "$scratch/err")"
	elif [ -n "$left" ]; then
		not_ok "$name" "left behind: $left"
	else
		ok "$name"
	fi
}

# Whether the accelerator can be used here; if not, $reason says why.
usable() {
	gmm 30 run --accel "$1" --memory 1M --duration 0.01
	reason=$(sed 's/^gmm run: //' "$scratch/err" | head -n 1)
	[ "$status" -ne 2 ]
}
