#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# README.md shows the example as it is and what it prints, and what the documents point at is there.
set -uo pipefail
cd "$GMM_SOURCE" || exit 99

number=0
documents=(README.md CHANGELOG.md port/CONTRACT.md docs/*.md)

echo 1..6

# report NAME WRONG: a TAP line; WRONG says what does not hold, one thing a line, or nothing.
report() {
	number=$((number + 1))
	if [ -z "$2" ]; then
		printf 'ok %d - %s\n' "$number" "$1"
	else
		printf '%s\n' "$2" | sed 's/^/# /'
		printf 'not ok %d - %s\n' "$number" "$1"
	fi
}

# shown NAME: the code block that README.md has between the markers of NAME.
shown() {
	awk -v from="<!-- shown: $1 -->" -v to="<!-- end: $1 -->" '
		$0 == to { inside = 0 }
		inside && !/^```/ { print }
		$0 == from { inside = 1 }' README.md
}

# as_shown NAME TEXT: nothing when README.md shows TEXT, else the differences.
as_shown() {
	[ -n "$2" ] || echo "there is nothing to show for $1"
	diff <(shown "$1") <(printf '%s\n' "$2") | head -20
}

report 'readme_shows_the_example_as_it_is' \
	"$(as_shown examples/first_cache.c "$(tail -n +2 examples/first_cache.c)")"

printed=$("$FIRST_CACHE" 2>&1) || printed="exit status $?: $printed"
report 'readme_shows_what_the_example_prints' "$(as_shown 'output of first_cache' "$printed")"

# Numbers differ from run to run, and from machine to machine; what the rows are called does not.
unknown_rows() {
	local words
	words=$(cat cli/run/report.c cli/run/results.c)
	shown 'a run' | sed -nE 's/^  ([A-Za-z][A-Za-z ,_]*[A-Za-z])  +[0-9].*/\1/p' | while IFS= read -r row; do
		grep -qF -- "\"$row\"" <<<"$words" || echo "no run prints a row '$row'"
	done
	[ "$(shown 'a run' | wc -l)" -ge 20 ] || echo 'there is no run to show'
}
report 'readme_shows_rows_that_a_run_prints' "$(unknown_rows)"

dead_links() {
	local document target
	for document in "${documents[@]}"; do
		grep -oE '\]\([^)]+\)' "$document" | sed 's/^](//; s/)$//; s/#.*//' | sort -u |
			while IFS= read -r target; do
				case $target in '' | http://* | https://*) continue ;; esac
				[ -e "$(dirname "$document")/$target" ] || echo "$document: $target is not there"
			done
	done
}
report 'links_of_the_documents_lead_somewhere' "$(dead_links)"

# Paths in code spans whose first part is a directory of this tree; DIR/NAME.c and the like stand for any.
dead_paths() {
	local document path
	for document in README.md docs/KVM-MAP.md docs/TESTING.md; do
		# shellcheck disable=SC2016
		grep -oE '`[a-zA-Z0-9_./-]+`' "$document" | tr -d '`' | sort -u | while IFS= read -r path; do
			case $path in
			build/* | *NAME* | *ROOM* | *TARGET* | *WORLD* | /*) continue ;;
			*/*) [ ! -d "${path%%/*}" ] || [ -e "$path" ] || echo "$document: $path is not there" ;;
			esac
		done
	done
}
report 'paths_in_the_documents_exist' "$(dead_paths)"

# A name counts as there when a file of the source has it as a whole word.
unknown_names() {
	local known
	known=$(find core include port accel backing explore fuzz tests -name '*.[ch]' -print0 |
		xargs -0 grep -ohE '\b(gmm|GMM)_[A-Za-z0-9_]+' | sort -u)
	for document in README.md docs/KVM-MAP.md docs/TESTING.md; do
		grep -oE '\b(gmm|GMM)_[A-Za-z0-9_]*[A-Za-z0-9]\b' "$document" | sort -u |
			comm -23 - <(printf '%s\nGMM_SOURCE\nGMM_TEST_TMP\n' "$known" | sort -u) |
			sed "s|^|$document: there is no |"
	done
}
report 'names_in_the_documents_exist' "$(unknown_names)"
