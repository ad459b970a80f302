#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# scripts/linux-snapshot: what it refuses, that it leaves nothing behind, and that what it saved is
# a guest that goes on.
set -uo pipefail

source "$GMM_SOURCE/tests/cli/support/tap.bash"

script=$GMM_SOURCE/scripts/linux-snapshot

# check NAME COMMAND...
check() {
	local name=$1
	shift
	if "$@" >"$scratch/output" 2>&1; then
		ok "$name"
	else
		not_ok "$name" "$(tail -n 5 "$scratch/output" | tr '\n' '|')"
	fi
}

# refuses TEXT ARGUMENTS...: exit status 2, one line with the text, and nothing made.
refuses() {
	local text=$1 status=0
	shift
	"$script" "$@" 2>"$scratch/error" || status=$?
	cat "$scratch/error"
	[ "$status" -eq 2 ] && grep -qF -- "$text" "$scratch/error" && [ ! -e "$scratch/none" ]
}

# The one QEMU that works in a directory below ours, if any.
our_qemu() {
	local entry
	for entry in /proc/[0-9]*; do
		if [[ $(readlink "$entry/cwd" 2>/dev/null) == "$scratch"/* &&
			$(cat "$entry/comm" 2>/dev/null) == qemu* ]]; then
			echo "${entry#/proc/}"
		fi
	done
}

# Ended while QEMU runs: no process and no file is left.
ended_early() {
	local child status=0
	LINUX_SNAPSHOT_BOOT_SECONDS=60 "$script" "$scratch/ended" 2>"$scratch/error" &
	child=$!
	# The monitor's FIFO is made right before QEMU starts; its kernel is what QEMU then reads.
	until [ -n "$(our_qemu)" ]; do
		kill -0 "$child" 2>/dev/null || { cat "$scratch/error"; return 1; }
	done
	kill -TERM "$child"
	wait "$child" || status=$?
	echo "status $status, left: $(ls -A "$scratch/ended")"
	[ "$status" -eq 143 ] && [ -z "$(our_qemu)" ] && [ -z "$(ls -A "$scratch/ended")" ]
}

# A boot that cannot be in time is tried three times, and then said to have failed.
gives_up() {
	local status=0
	LINUX_SNAPSHOT_BOOT_SECONDS=1 "$script" "$scratch/late" 2>"$scratch/error" || status=$?
	cat "$scratch/error"
	[ "$status" -eq 1 ] && grep -q 'trying again (3 of 3)' "$scratch/error" &&
		grep -q 'no snapshot after 3 tries' "$scratch/error" &&
		[ -z "$(our_qemu)" ] && [ -z "$(ls -A "$scratch/late")" ]
}

has_shape() {
	local blocks
	blocks=$(stat -c %b "$scratch/saved/ram")
	ls -ls "$scratch/saved"
	[ "$(stat -c %s "$scratch/saved/ram")" -eq $((160 << 20)) ] &&
		[ $((blocks / 2048)) -gt 30 ] && [ -s "$scratch/saved/state" ] &&
		[ "$(stat -c %s "$scratch/saved/state")" -lt $((4 << 20)) ] &&
		[ "$(wc -l <"$scratch/saved/cmdline")" -eq 1 ] &&
		[ "$(find "$scratch/saved" | wc -l)" -eq 6 ]
}

# restored [DAMAGE]: the guest goes on from a copy and checks its files; prints what it answers.
restored() {
	local copy=$scratch/copy answer='' command
	rm -rf "$copy"
	cp -r --sparse=always "$scratch/saved" "$copy" && cd "$copy" || return 1
	[ $# -eq 0 ] || "$@"
	mkfifo console.in console.out
	exec {out}<>console.out
	command="exec timeout -k 2 60 $(cat cmdline) -chardev pipe,id=console,path=console"
	command+=' -serial chardev:console -chardev pipe,id=monitor,path=monitor'
	command+=' -mon chardev=monitor,mode=control -incoming defer'
	mkfifo monitor.in monitor.out
	exec {in}<>monitor.in
	(eval "$command" </dev/null >qemu.log 2>&1) &
	local qemu=$!
	local ignore='{"capabilities":[{"capability":"x-ignore-shared","state":true}]}'
	printf '%s\n' '{"execute":"qmp_capabilities"}' \
		'{"execute":"migrate-set-capabilities","arguments":'"$ignore"'}' \
		'{"execute":"migrate-incoming","arguments":{"uri":"exec:cat state"}}' >&"$in"
	printf 'are they?\n' >console.in &
	local writer=$!
	while IFS= read -r -t 40 answer <&"$out"; do
		[[ $answer == *FILES* ]] && break
	done
	kill "$qemu" "$writer" 2>/dev/null
	wait "$qemu" "$writer" 2>/dev/null
	exec {out}>&- {in}>&-
	cat qemu.log
	echo "answer: $answer"
	cd "$scratch" || return 1
	[[ $answer == *"FILES OK"* ]]
}

# Wherever the guest has this line, so also in the file in its page cache.
damage() {
	LC_ALL=C sed -i 's/line of file 5/LINE of file 5/g' ram
}

damage_is_noticed() {
	! restored damage && grep -q 'answer: FILES BAD' "$scratch/output"
}

echo 1..12
check 'refuses no directory' refuses 'no directory'
check 'refuses a size of 0 bytes' refuses 'no size: 0M' "$scratch/none" --memory 0M
check 'refuses a size of 3 bytes' refuses 'no size: 3' "$scratch/none" --memory 3
check 'refuses a size that is too small' refuses '128M at least' "$scratch/none" --memory 64M
check 'refuses an unknown option' refuses 'unknown option' "$scratch/none" --cpus 2
check 'refuses a second directory' refuses 'one directory' "$scratch/none" "$scratch/other"
check 'leaves nothing when it is ended' ended_early
check 'gives up after three boots without a word' gives_up
check 'saves a guest' "$script" "$scratch/saved" --memory 160M
if [ -s "$scratch/saved/ram" ]; then
	check 'leaves the files that it names' has_shape
	check 'the saved guest goes on' restored
	check 'and would notice a changed page' damage_is_noticed
else
	not_ok 'leaves the files that it names' 'nothing was saved'
	not_ok 'the saved guest goes on' 'nothing was saved'
	not_ok 'and would notice a changed page' 'nothing was saved'
fi
