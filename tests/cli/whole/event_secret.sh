#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# The event `secret`: a device's slot of memfd_secret memory, used through caches during a run.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

seen=(writes verified changes harvests harvested map_calls most_mapped_bytes)
for accel in process kvm; do
	if ! usable $accel; then
		skip "$accel: secret memory" "$reason"
		continue
	fi
	until_seen "is_least 1 secret ${seen[*]}" 2 --accel $accel --memory 8M --events secret
	if [ "$status" -eq 2 ] && grep -q 'events secret: ' "$scratch/err"; then
		skip "$accel: secret memory" "$(sed 's/^gmm run: //' "$scratch/err" | head -n 1)"
		continue
	fi
	if [ "$status" -eq 0 ] && grep -q '^events: .*secret' "$scratch/out"; then
		ok "$accel: secret memory is written, verified and harvested"
	else
		not_ok "$accel: secret memory is written, verified and harvested" "exit status $status" \
			"$(grep -E 'LOST|FAILED' "$scratch/out" | head -n 3)" "$(tail -n 3 "$scratch/err")"
		continue
	fi
	for what in "${seen[@]}"; do
		if is_least 1 secret "$what"; then
			ok "$accel: there were $what"
		else
			not_ok "$accel: there were $what" "$less"
		fi
	done
	if [ "$(number_of secret most_mapped_bytes)" -lt "$(number_of secret bytes)" ]; then
		ok "$accel: not all of it was mapped at a time"
	else
		not_ok "$accel: not all of it was mapped at a time" "$(number_of secret most_mapped_bytes)"
	fi
done

# Without locked memory there is none, and the run says so.
if [ "$(id -u)" -eq 0 ] && usable process; then
	as_nobody=(setpriv --reuid "$nobody" --regid "$nobody" --clear-groups)
	chmod 777 "$TMPDIR"
	# Others may not look into the build directory.
	install -m 755 "$GMM" "$scratch/gmm" && chmod 755 "$scratch"
	status=0
	(
		cd / || exit
		ulimit -l 0
		exec timeout -k 20 300 "${as_nobody[@]}" "$scratch/gmm" run --hang-after $hang_after --accel process --memory 1M --duration 0.2
	) >"$scratch/out" 2>"$scratch/err" || status=$?
	if [ "$status" -eq 2 ] && grep -q userfaultfd "$scratch/err"; then
		skip 'without locked memory it is left out, with the reason' "$(head -n 1 "$scratch/err")"
	elif [ "$status" -eq 0 ] && grep -q '^not here: secret: secret memory: .*ulimit -l' "$scratch/out"; then
		ok 'without locked memory it is left out, with the reason'
	else
		not_ok 'without locked memory it is left out, with the reason' "exit status $status" \
			"$(head -n 3 "$scratch/out")" "$(head -n 3 "$scratch/err")"
	fi
else
	skip 'without locked memory it is left out, with the reason' 'only root can become somebody else'
fi
plan
