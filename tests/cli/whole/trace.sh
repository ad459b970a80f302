#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# The tracepoints of docs/TRACING.md: they are in the command, no others are, and they fire.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

if grep -rn 'gmm_trace\|trace\.h' "$GMM_SOURCE/include" >"$scratch/inline"; then
	not_ok 'inline functions of the headers have none' "$(head -n 3 "$scratch/inline")"
else
	ok 'inline functions of the headers have none'
fi

"$GMM_SOURCE/tests/cli/support/probes.py" "$GMM" >"$scratch/probes"
if [ ! -s "$scratch/probes" ]; then
	if echo '#include <sys/sdt.h>' | cc -E -xc - >/dev/null 2>&1; then
		not_ok 'the command has tracepoints'
	else
		skip 'tracepoints of the command' 'built without sys/sdt.h: package systemtap-sdt-dev'
	fi
	plan
	exit 0
fi

# Names and how many arguments: "start and end" and its like are two.
awk -F ' *\\| *' '/^\| `/ {
	name = $2; gsub(/`/, "", name)
	arguments = $3
	gsub(/\([^)]*\)/, "", arguments)
	gsub(/ and /, ", ", arguments)
	print name, split(arguments, unused, /, /)
}' "$GMM_SOURCE/docs/TRACING.md" | sort >"$scratch/documented"
cut -d ' ' -f 1,2 "$scratch/probes" | sort -u >"$scratch/built"
if diff "$scratch/documented" "$scratch/built" >"$scratch/differences"; then
	ok "the $(wc -l <"$scratch/built") documented tracepoints are in the command, with their arguments"
else
	not_ok 'the documented tracepoints are in the command, with their arguments' "$(cat "$scratch/differences")"
fi

# The kernel's own probes on these places, in an instance of its own, counted.
cat >"$scratch/traced" <<'TRACED'
mount -t tracefs gmm "$1/tracefs" || exit 77
cd "$1/tracefs" || exit 77
[ -w uprobe_events ] || exit 77
group=gmm_$$
finish() {
	[ ! -d instances/$group ] || echo 0 >instances/$group/events/$group/enable
	while read -r probe _; do
		echo "-:${probe#*:}" >>uprobe_events
	done < <(grep ":$group/" uprobe_events)
	rmdir instances/$group
}
trap finish EXIT
mkdir instances/$group || exit 77
while read -r name _ offset; do
	echo "p:$group/$name $2:$offset" >>uprobe_events || exit 77
done < <(sort -u -k1,1 "$1/probes")
echo 1 >instances/$group/events/$group/enable || exit 77
# Longer until each has fired.
for seconds in 1 4 16 64; do
	timeout -k 20 600 "$2" run --hang-after 120 --accel process --memory 16M --duration $seconds >"$1/out" 2>"$1/err"
	status=$?
	[ $status -eq 0 ] && awk -v wanted="$3" 'BEGIN { split(wanted, names, " ") } { hits[$(NF - 1)] = $NF }
		END { for (i in names) if (!hits[names[i]]) exit 0; exit 1 }' uprobe_profile || break
done
awk -v group=$group '{ print $(NF - 1), $NF }' uprobe_profile >"$1/hits"
exit $status
TRACED
mkdir "$scratch/tracefs"
fired='a run fires them'
wanted=(invalidate_begin invalidate_end cache_invalidate cache_refresh fault_serve_at evict harvest slot_change vcpu_kick)
if ! usable process; then
	skip "$fired" "$reason"
elif [ "$(id -u)" -ne 0 ]; then
	skip "$fired" 'not root'
else
	status=0
	timeout -k 20 800 unshare --mount --propagation private bash "$scratch/traced" "$scratch" "$GMM" "${wanted[*]}" 2>"$scratch/why" || status=$?
	missing=
	for name in "${wanted[@]}"; do
		[ "$(awk -v name=$name '$1 == name { print $2 }' "$scratch/hits" 2>/dev/null)" -gt 0 ] 2>/dev/null ||
			missing+="$name "
	done
	if [ $status -eq 77 ]; then
		skip "$fired" "no uprobes of the kernel here ($(tail -n 1 "$scratch/why"))"
	elif [ $status -eq 0 ] && [ -z "$missing" ]; then
		ok "$fired"
	else
		not_ok "$fired" "exit status $status, not seen: $missing" "$(head -n 20 "$scratch/hits")" "$(tail -n 3 "$scratch/err" "$scratch/why")"
	fi
fi
plan
