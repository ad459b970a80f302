#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Where the output goes, and what a run meets on its way: outputs that cannot be written, terminals, signals,
# limits of the process, a full disk.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

small=(run --hang-after $hang_after --accel process --memory 4M --duration 0.2)
json=$scratch/out.json

if ! usable process; then
	skip 'outputs of a run' "$reason"
	plan
	exit 0
fi

# result NAME STATUS TEXT: of the run before; TEXT is in the only line of stderr, '' means that there is none.
result() {
	if [ "$status" -ne "$2" ]; then
		not_ok "$1" "exit status $status" "$(head -c 300 "$scratch/err")"
	elif [ "$(wc -l <"$scratch/err")" -ne "$([ -z "$3" ] && echo 0 || echo 1)" ] ||
		! grep -qF -- "$3" "$scratch/err" "$scratch/mark"; then
		not_ok "$1" "stderr is not '$3':" "$(head -n 3 "$scratch/err")"
	elif [ -n "$(left_behind | grep -v '/out.json$')" ]; then
		not_ok "$1" "left behind: $(left_behind)"
	else
		ok "$1"
	fi
}

json_is_whole() {
	if grep -q '"status": 0' "$json" && [ "$(tail -c 1 "$json")" = '}' ]; then
		ok "$1"
	else
		not_ok "$1" "$(head -c 300 "$json")"
	fi
}

echo >"$scratch/mark"
status=0
timeout -k 20 300 "$GMM" "${small[@]}" --json "$json" >&- 2>"$scratch/err" <&- || status=$?
result 'standard output closed' 1 'standard output cannot be written'
# Its lines went into no other file: memory, snapshot, pages.
json_is_whole 'standard output closed: nothing was lost'

status=0
timeout -k 20 300 "$GMM" "${small[@]}" >/dev/full 2>"$scratch/err" || status=$?
result 'standard output on a full disk' 1 'No space left on device'

rm -f "$json"
exec 3> >(:)
wait $!
status=0
timeout -k 20 300 "$GMM" "${small[@]}" --json "$json" >&3 2>"$scratch/err" || status=$?
exec 3>&-
result 'standard output to a pipe that nobody reads' 1 ''
json_is_whole 'standard output to a pipe that nobody reads: the JSON file is whole'

rm -f "$json"
mkfifo "$scratch/fifo"
timeout -k 2 300 cat "$scratch/fifo" >"$json" &
gmm 30 "${small[@]}" --json "$scratch/fifo"
[ -p "$scratch/fifo" ] || not_ok 'a JSON file that is a FIFO' 'it was replaced'
wait $!
rm -f "$scratch/fifo"
json_is_whole 'a JSON file that is a FIFO'

rm -f "$json"
echo old >"$json"
ln -s out.json "$scratch/link"
gmm 30 "${small[@]}" --json "$scratch/link"
if [ -L "$scratch/link" ]; then
	json_is_whole 'a JSON file that is a link'
else
	not_ok 'a JSON file that is a link' 'the link was replaced'
fi
rm -f "$scratch/link"

# The signal is sent when the guest is about to run; timeout makes two of it, and kills -k seconds later: a busy machine
# needs longer to end in order.
for signal in INT TERM; do
	mkfifo "$scratch/fifo"
	timeout -k 300 900 "$GMM" run --hang-after $hang_after --accel process --memory 4M --duration 800 >"$scratch/fifo" 2>"$scratch/err" &
	child=$!
	status=0
	{
		read -r _
		kill -s $signal $child
		cat >"$scratch/out"
	} <"$scratch/fifo"
	wait $child || status=$?
	rm -f "$scratch/fifo"
	if [ $status -eq 0 ] && grep -q '^nothing was lost' "$scratch/out" &&
		! grep -qE 'vCPUs ran +8[0-9][0-9]\.[0-9] s$' "$scratch/out" &&
		[ -z "$(left_behind | grep -v '/out.json$')" ]; then
		ok "SIG$signal ends a run in order"
	else
		not_ok "SIG$signal ends a run in order" "exit status $status" "$(tail -n 3 "$scratch/out")"
	fi
done

# limited NAME TEXT LIMIT...: a run under a limit of the shell is refused.
limited() {
	local name=$1 text=$2
	shift 2
	status=0
	(ulimit "$@" && exec timeout -k 20 300 "$GMM" "${small[@]}") >"$scratch/out" 2>"$scratch/err" ||
		status=$?
	result "$name" 2 "$text"
}
limited 'a limit of file sizes' 'raise ulimit -f' -f 512
limited 'a limit of address space' 'raise the limit (ulimit' -v 40000
bad=
for ((files = 4; files < 30; files++)); do
	status=0
	(ulimit -n $files && exec timeout -k 20 300 "$GMM" "${small[@]}") >"$scratch/out" 2>"$scratch/err" ||
		status=$?
	[ $status -ne 0 ] || break
	[ $status -eq 2 ] && [ "$(grep -cF 'ulimit -n' "$scratch/err")" -eq 1 ] ||
		bad="$files files: exit status $status: $(head -c 200 "$scratch/err")"
done
if [ $status -eq 0 ] && [ $files -gt 4 ] && [ -z "$bad" ]; then
	ok 'too few open files, wherever they end'
else
	not_ok 'too few open files, wherever they end' "$bad"
fi

# on_terminal COMMAND...: what a terminal gets, in $scratch/out.
on_terminal() {
	printf -v command '%q ' env "$@"
	timeout -k 20 300 script -qec "$command" /dev/null </dev/null >"$scratch/out" 2>&1
}
if ! command -v script >/dev/null; then
	skip 'a terminal' 'script is missing (package bsdutils)'
else
	# The line comes with time.
	for seconds in 1 4 16; do
		on_terminal TERM=xterm "$GMM" "${small[@]}" --duration $seconds
		! grep -q $'\r\033\\[Kprocess .*verified' "$scratch/out" || break
	done
	if grep -q $'\r\033\\[Kprocess .*verified' "$scratch/out" && grep -q $'\033\\[32m' "$scratch/out"; then
		ok 'a terminal gets the live line and colours'
	else
		not_ok 'a terminal gets the live line and colours' "$(tail -n 3 "$scratch/out")"
	fi
	on_terminal TERM=xterm NO_COLOR=1 "$GMM" "${small[@]}"
	if grep -q 'nothing was lost' "$scratch/out" && ! grep -q $'\033\\[[0-9;]*m' "$scratch/out"; then
		ok 'no colours with NO_COLOR'
	else
		not_ok 'no colours with NO_COLOR'
	fi
	on_terminal TERM=dumb "$GMM" "${small[@]}" --duration 0.5
	if grep -q 'nothing was lost' "$scratch/out" && ! grep -q $'\033' "$scratch/out"; then
		ok 'neither on a dumb terminal'
	else
		not_ok 'neither on a dumb terminal'
	fi
fi

# full NAME TEXT ARGUMENTS...: with 1 MiB of disk. Evicted and harvested pages share it, and which of them
# meets its end first is open: a run in which it was the other one is repeated.
full() {
	local name=$1 text=$2 attempt
	shift 2
	for attempt in {1..40}; do
		status=0
		# shellcheck disable=SC2016
		timeout -k 20 600 unshare --mount --propagation private bash -c \
			'mount -t tmpfs -o size=1M gmm "$TMPDIR" && exec "$@"' full "$GMM" "$@" \
			>"$scratch/out" 2>"$scratch/err" || status=$?
		if [ "$status" -ne 1 ] || ! grep -qE '^FAILED: .*free space' "$scratch/out"; then
			break
		elif grep -q "^FAILED: $text.*free space" "$scratch/out"; then
			ok "$name"
			return
		fi
	done
	not_ok "$name" "exit status $status, attempt $attempt" "$(tail -n 2 "$scratch/out" "$scratch/err")"
}
# shellcheck disable=SC2016
if ! unshare --mount --propagation private bash -c 'mount -t tmpfs -o size=1M gmm "$TMPDIR"' 2>/dev/null; then
	skip 'a full disk' 'no file system can be mounted here (not root?)'
else
	for accel in process kvm; do
		usable $accel || { skip "$accel: a full disk" "$reason"; continue; }
		full "$accel: no room for evicted pages" 'evicted pages in .*No space left' run \
			--accel $accel --memory 64M --resident 4M --hang-after $hang_after --duration 500
		full "$accel: no room for harvested pages" 'harvested pages cannot be kept' run \
			--accel $accel --memory 64M --resident 64M --hang-after $hang_after --duration 500
	done
fi
plan
