#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# --save: memory saved, started from, saved again into the same directory; killed at random moments; on a full
# disk; directories that cannot be used. What is in the files is read by another program, too.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

flatten=$GMM_SOURCE/tests/cli/support/flatten.py
json=$scratch/out.json
cd "$scratch" || exit 99
command -v python3 >/dev/null || { skip 'saving' 'python3 is missing'; plan; exit 0; }

digest() {
	python3 "$flatten" digest "$1"
}

# number NAME: the first number of that name in the JSON file.
number_of() {
	sed -n "s/^ *\"$1\": \([0-9]*\),\{0,1\}$/\1/p" "$json" | head -n 1
}

# names DIRECTORY: the files of the snapshot, in order.
names() {
	sed -n 's/.*"name": "\([^"]*\)".*/\1/p' "$1/manifest.json"
}

# saved NAME DIRECTORY: the run before was good, and the directory holds the memory that it had.
saved() {
	local name=$1 expected found extra
	expected=$(sed -n 's/.*"save_digest": "\([0-9a-f]*\)".*/\1/p' "$json")
	found=$(digest "$2" 2>&1)
	extra=$(comm -3 <(ls "$2" | LC_ALL=C sort) <({ echo manifest.json; names "$2"; } | LC_ALL=C sort))
	if [ "$status" -ne 0 ]; then
		not_ok "$name" "exit status $status" "$(tail -n 3 out err)"
	elif [ -z "$expected" ] || [ "$expected" != "$found" ]; then
		not_ok "$name" "memory had the digest '$expected', the files have '$found'"
	elif [ "$(number_of snapshots)" != 1 ]; then
		not_ok "$name" 'nothing was committed'
	elif [ -n "$extra" ]; then
		not_ok "$name" "files that nothing names: $extra"
	else
		ok "$name"
	fi
}

for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel: saving" "$reason"
		continue
	fi
	for kind in memfd anonymous; do
		run=(run --accel $accel --memory-kind $kind --duration 0.5 --json "$json")
		name="$accel, $kind:"
		rm -rf one two
		gmm 60 "${run[@]}" --memory 4M --save one
		saved "$name saved" one
		base=$(names one | head -n 1)
		chain=$(names one | wc -l)
		before=$(digest one)

		# Longer until something was written: the machine may be busy.
		for seconds in 0.5 2 8 32 128; do
			gmm 60 "${run[@]}" --snapshot one --save one --save-every 0.1 --duration $seconds
			[ "$(names one | wc -l)" -eq "$chain" ] || break
		done
		saved "$name started from it and saved into it again" one
		if [ "$(names one | head -n 1)" = "$base" ] && [ "$(names one | wc -l)" -gt "$chain" ] &&
			[ "$(digest one)" != "$before" ]; then
			ok "$name the base stays, increments are added"
		else
			not_ok "$name the base stays, increments are added" "$(names one)"
		fi

		before=$(digest one)
		gmm 60 "${run[@]}" --snapshot one --save two
		saved "$name started from it and saved elsewhere" two
		if [ "$(digest one)" = "$before" ]; then
			ok "$name what it started from stays"
		else
			not_ok "$name what it started from stays"
		fi
	done
done

if ! usable process; then
	plan
	exit 0
fi
run=(run --accel process --duration 0.3)

# Of the harvested pages some are left out: the proof must see that.
before=$(digest one)
for seconds in 0.5 2 8 32 128; do
	gmm 60 "${run[@]}" --snapshot one --save one --lose-saved --duration $seconds
	[ "$status" -eq 0 ] || break
	before=$(digest one)
done
if [ "$status" -eq 1 ] && grep -q '^LOST: page .*what was saved is not the memory' out &&
	[ "$(digest one)" = "$before" ]; then
	ok 'what was not saved is seen, and the old snapshot stays'
elif grep -q 'no option' err; then
	skip 'what was not saved is seen, and the old snapshot stays' 'the command has no step points'
else
	not_ok 'what was not saved is seen, and the old snapshot stays' "exit status $status" "$(tail -n 3 out err)"
fi

python3 "$flatten" lengthen one
gmm 60 "${run[@]}" --snapshot one --save one --json "$json"
saved 'a chain that is full becomes a base' one
if [ "$(number_of bases)" = 1 ] && [ "$(names one | wc -l)" -lt 10 ]; then
	ok 'a chain that is full is short again'
else
	not_ok 'a chain that is full is short again' "$(names one)"
fi

# Killed at 20 moments: saving into the directory it started from, and a new base in its place.
olds=0 news=0 bad=
RANDOM=20261
for ((i = 0; i < 20; i++)); do
	before=$(digest one)
	from=(--snapshot one)
	[ $((i % 2)) -eq 0 ] || from=(--memory 4M)
	"$GMM" "${run[@]}" --hang-after $hang_after --duration 0.1 --save-every 0.03 "${from[@]}" --save one >out 2>err &
	child=$!
	sleep "0.$((100 + RANDOM % 450))"
	kill -KILL $child 2>/dev/null
	wait $child 2>/dev/null
	gmm 60 "${run[@]}" --duration 0.05 --snapshot one
	[ "$status" -eq 0 ] || bad="$bad kill $i: exit status $status: $(tail -n 2 out err)"
	if [ "$(digest one)" = "$before" ]; then olds=$((olds + 1)); else news=$((news + 1)); fi
done
echo "# killed 20 times: the old snapshot $olds times, a new one $news times"
if [ -z "$bad" ]; then
	ok 'killed at random moments: the old or the new snapshot'
else
	not_ok 'killed at random moments: the old or the new snapshot' "$bad"
fi
gmm 60 "${run[@]}" --snapshot one --save one --json "$json"
saved 'what was killed left is removed by the next save' one

# Two savers: the first goes on until it is told to end.
mkfifo said
timeout -k 20 900 "$GMM" "${run[@]}" --hang-after $hang_after --duration 800 --memory 4M --save two >said 2>err.first &
child=$!
{
	IFS= read -r _
	gmm 30 "${run[@]}" --memory 4M --save two
	if [ "$status" -eq 2 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q 'two: another program saves into it now' err; then
		ok 'two savers of one directory'
	else
		not_ok 'two savers of one directory' "exit status $status" "$(tail -n 3 out err)"
	fi
	kill -INT $child
	cat >/dev/null
} <said
wait $child || not_ok 'the first saver' "$(cat err.first)"
rm -f said err.first

if ! command -v script >/dev/null; then
	skip 'a terminal shows the progress' 'script is missing (package bsdutils)'
else
	printf -v command '%q ' env TERM=xterm "$GMM" "${run[@]}" --memory 4M --save two
	timeout -k 20 300 script -qec "$command" /dev/null </dev/null >out 2>&1
	if grep -q $'\r\033\\[Kprocess  saving: proof [0-9]*/1024 pages' out; then
		ok 'a terminal shows the progress'
	else
		not_ok 'a terminal shows the progress' "$(tail -n 3 out)"
	fi
fi

# full: saves anew into a file system that has room for the old snapshot, whatever it wrote, and not for the base
# of 16M, of which a third is zero.
full() {
	unshare --mount --propagation private bash -c '
		mount -t tmpfs -o size=6M gmm full || exit 99
		gmm=$1
		shift
		timeout -k 20 600 "$gmm" "$@" --memory 1M --save full/saved || exit 98
		ls full/saved >before
		timeout -k 20 600 "$gmm" "$@" --memory 16M --save full/saved >out 2>err
		echo $? >status
		ls full/saved >after
		timeout -k 20 600 "$gmm" "$@" --snapshot full/saved >again 2>&1 || exit 97
	' full "$GMM" "${run[@]}" >first 2>&1
}
mkdir full
full
status=$?
if [ $status -eq 99 ]; then
	skip 'a full disk: the old snapshot stays' 'no file system can be mounted here (not root?)'
elif [ $status -eq 0 ] && [ "$(cat status)" -eq 1 ] && cmp -s before after &&
	grep -q '^FAILED: --save full/saved/base.*No space left on device.*free space' out; then
	ok 'a full disk: the old snapshot stays'
else
	not_ok 'a full disk: the old snapshot stays' "exit status $status" "$(tail -n 3 first out again)"
fi
rm -rf full first again status before after

mkdir empty
refused 'a directory without a snapshot' 'empty: has no manifest.json' 10 run --snapshot empty
rmdir empty
: >file
refused 'saving into a file' 'file: cannot be opened as a directory' 10 run --save file
refused 'saving below nothing' 'none/saved: cannot be made' 10 run --save none/saved
refused 'an interval and no directory' '--save-every needs --save' 10 run --save-every 1
refused 'the results among the files' 'in the directory of a snapshot' 10 run --snapshot one --json one/out.json
refused 'another size than --memory' 'leave --memory out' 10 run --snapshot one --memory 8M

# damaged NAME TEXT SED: the manifest as the sed expression makes it.
damaged() {
	rm -rf bad
	cp -r one bad
	sed "$3" one/manifest.json >bad/manifest.json
	refused "$1" "$2" 10 run --snapshot bad
	refused "$1: no save over it" "$2" 10 run --snapshot one --save bad
}
damaged 'another version' 'version is 2, and only version 1 is known' 's/"version": 1/"version": 2/'
damaged 'no base' 'chain[0].kind is not "base"' 's/"base"/"increment"/'
damaged 'half a manifest' 'is no JSON' '5,$d'

rm -rf bad
cp -r one bad
base=bad/$(names one | head -n 1)
printf x | dd of="$base" bs=1 seek=5000 conv=notrunc status=none
refused 'another checksum' "$base: its pages are not what pages_xxh3" 10 run --snapshot bad
truncate -s 4096 "$base"
refused 'a file that is cut off' "$base: has 4096 bytes" 10 run --snapshot bad
rm "$base"
refused 'a file that is missing' "$base: is missing" 10 run --snapshot bad
rm -rf one two bad file
plan
