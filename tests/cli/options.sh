#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# The command line: help, version, and each wrong use named in one line with the way out.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

prints() {
	local name=$1 text=$2
	shift 2
	gmm 10 "$@"
	if [ "$status" -eq 0 ] && grep -qF -- "$text" "$scratch/out" && [ ! -s "$scratch/err" ]; then
		ok "$name"
	else
		not_ok "$name" "exit status $status" "$(head -c 300 "$scratch/out" "$scratch/err")"
	fi
}

prints 'help lists the commands' '  run ' --help
prints 'help of run lists its options' '--resident SIZE' run --help
prints 'help of run, in short' '--resident SIZE' run -h
prints 'version' 'gmm ' --version

# same NAME LIST LIST: in any order.
same() {
	if [ -n "$2" ] && [ "$(sort <<<"$2")" = "$(sort <<<"$3")" ]; then
		ok "$1"
	else
		not_ok "$1" "$(diff <(sort <<<"$2") <(sort <<<"$3"))"
	fi
}
man=$GMM_SOURCE/docs/man/gmm.1
gmm 10 run --help
events=$(sed -n '/^Events/,/^$/s/^  \([a-z]*\) .*/\1/p' "$scratch/out")
same 'the manual has the options of the help' "$(grep -oE '^  --[a-z-]+' "$scratch/out" | tr -d ' ')" \
	"$(sed -n 's/^\.It Fl \(-[a-z-]*\).*/-\1/p' "$man")"
same 'its synopsis, too' "$(grep -oE '^  --[a-z-]+' "$scratch/out" | tr -d ' ' | grep -v help)" \
	"$(sed -n 's/^\.Op Fl \(-[a-z-]*\).*/-\1/p' "$man")"
same 'the manual has the events of the help' "$events" "$(sed -n 's/^\.It Cm \([a-z]*\)$/\1/p' "$man")"
same 'the README has the events of the help' "$events" \
	"$(sed -n '/^| event |/,/^$/s/^| `\([a-z]*\)`.*/\1/p' "$GMM_SOURCE/README.md")"
if [ "$(awk 'length > 80' "$scratch/out")" = '' ]; then
	ok 'the help fits into 80 columns'
else
	not_ok 'the help fits into 80 columns' "$(awk 'length > 80' "$scratch/out")"
fi

refused 'no command' '`gmm --help`' 10
refused 'an unknown command' "no command 'frob'" 10 frob
refused 'an unknown option' "no option '--frob'" 10 run --frob
refused 'short options that do not exist' "no option '-x'" 10 run -xy
refused 'a value that is missing' '--memory needs a value' 10 run --memory
refused 'an argument too many' "'x' is no option" 10 run x
refused 'memory of 0 bytes' '--memory 0 is nothing: give at least' 10 run --memory 0
refused 'memory of 3 bytes' 'give a multiple of 4096' 10 run --memory 3
refused 'memory that is no number' '--memory 1X is no size' 10 run --memory 1X
refused 'memory that is negative' '--memory -4096 is no size' 10 run --memory=-4096
refused 'memory beyond 64 bits' 'is no size' 10 run --memory 16777216T
refused 'memory beyond the address space' 'give less than 500G' 10 run --accel process --memory 1T
refused 'resident memory of 0 bytes' '--resident 0 is nothing' 10 run --resident 0
refused 'resident memory of 3 bytes' 'give a multiple of 4096' 10 run --resident 3
refused 'resident memory too small' 'too small: give at least 256K' 10 run --resident 4K
refused 'no vCPUs' 'give 1 to 64' 10 run --vcpus 0
refused 'too many vCPUs' '--vcpus 65 is refused: give 1 to 64' 10 run --vcpus 65
refused 'an unknown accelerator' 'give kvm or process' 10 run --accel tcg
refused 'an unknown dirty log' 'give bitmap or ring' 10 run --dirty list
refused 'an unknown memory kind' 'give memfd, anonymous, hugetlb or guest-memfd' 10 run --memory-kind heap
refused 'a duration of 0' '--duration 0 is refused' 10 run --duration 0
refused 'a duration that is no number' '--duration nan is refused' 10 run --duration nan
refused 'a seed that is no number' '--seed x is no number' 10 run --seed x
refused 'a seed beyond 63 bits' 'give 0 to 2^63-1' 10 run --seed 9223372036854775808
refused 'a JSON file without a name' "--json  cannot be written" 10 run --json ''
refused 'a JSON file in no directory' 'cannot be written' 10 run --json "$scratch/none/file"
refused 'a JSON file that is a directory' 'cannot be written' 10 run --json "$scratch"
head -c 1M /dev/zero >"$scratch/ram"
ln -s ram "$scratch/link"
refused 'a JSON file that is the snapshot' 'is the snapshot: give another file' 10 run \
	--snapshot "$scratch/ram" --json "$scratch/link"
plan
