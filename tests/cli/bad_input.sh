#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Snapshots that cannot be used: one line that names what is wrong and the way out, exit status 2, nothing left
# behind. Also when that turns out only while the guest runs.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

cd "$scratch" || exit 99
: >empty
printf abc >three
head -c 5000 /dev/zero >unaligned
head -c 1M /dev/zero >good
mkdir directory
mkfifo fifo

refused 'missing' 'missing: no such file' 10 run --snapshot missing
refused 'empty' 'empty: is empty' 10 run --snapshot empty
refused 'shorter than a page' 'has 3 bytes' 10 run --snapshot three
refused 'not a multiple of a page' '904 more than a multiple' 10 run --snapshot unaligned
refused 'a directory' 'directory: has no manifest.json' 10 run --snapshot directory
refused 'a FIFO' 'is no regular file' 10 run --snapshot fifo
refused 'another size than --memory' 'leave --memory out' 10 run --snapshot good --memory 2M

if [ "$(id -u)" -ne 0 ]; then
	chmod 0 good
	refused 'unreadable' 'no permission to read it' 10 run --snapshot good
elif ! command -v setpriv >/dev/null; then
	skip 'unreadable' 'setpriv is missing, and root can read everything'
else
	# Another user reaches neither the build directory, nor this one as it is.
	status=0
	chmod 0 good
	chmod 755 "$scratch"
	cp -- "$GMM" "$scratch/gmm-for-all"
	setpriv --reuid=$nobody --regid=$nobody --clear-groups timeout -k 20 100 "$scratch/gmm-for-all" run \
		--snapshot "$scratch/good" >out 2>err || status=$?
	rm -- "$scratch/gmm-for-all"
	if [ "$status" -eq 126 ]; then
		skip 'unreadable' "the command is not accessible to another user in $scratch"
	elif [ "$status" -eq 2 ] && grep -qF 'no permission to read it' err; then
		ok 'unreadable'
	else
		not_ok 'unreadable' "exit status $status" "$(cat err)"
	fi
fi

# changed NAME TEXT COMMAND...: runs the command as soon as the guest is about to run.
changed() {
	local name=$1 text=$2 child line
	shift 2
	rm -f snapshot
	head -c 32M /dev/urandom >snapshot
	touch mark
	mkfifo said
	timeout -k 20 900 "$GMM" run --hang-after $hang_after --accel "$accel" --snapshot snapshot --duration 800 >said 2>err &
	child=$!
	status=0
	{
		IFS= read -r line || line=nothing
		"$@"
		cat >/dev/null
	} <said
	wait "$child" || status=$?
	rm -f said
	if [ "$status" -eq 2 ] && [ "$(wc -l <err)" -eq 1 ] && grep -qF -- "$text" err; then
		ok "$accel: $name"
	else
		not_ok "$accel: $name" "exit status $status after '$line'" "$(head -n 3 err)"
	fi
}

cut_off() {
	truncate -s 4096 snapshot
}

overwrite() {
	printf changed | dd of=snapshot conv=notrunc status=none
}

replace() {
	cp snapshot other && mv other snapshot
}

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel: changed while in use" "$reason"
		continue
	fi
	changed 'overwritten while in use' 'changed while in use' overwrite
	changed 'cut off while in use' 'truncated while in use' cut_off
	changed 'removed while in use' 'removed while in use' rm snapshot
	changed 'replaced while in use' 'while in use' replace
done
plan
