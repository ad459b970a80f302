#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# gmm run --report: the page, as a browser shows it.
set -uo pipefail
source "$GMM_SOURCE/tests/cli/support/tap.bash"

page=$GMM_SOURCE/tests/cli/support/page.py
small=(run --accel process --memory 16M --duration 1.5)

if ! usable process; then
	skip 'the page of a run' "$reason"
	plan
	exit 0
fi

mkdir "$scratch/directory"
refused 'a directory' '(Is a directory)' 10 "${small[@]}" --report "$scratch/directory" ||
	true
refused 'a directory that is not there' '--report /nowhere/x.html cannot be written' 10 \
	"${small[@]}" --report /nowhere/x.html
refused 'the file of --json' 'is the file of --json: give another file' 10 \
	"${small[@]}" --json "$scratch/x" --report "$scratch/directory/../x"
truncate -s 1M "$scratch/snapshot"
refused 'the snapshot' 'is the snapshot: give another file' 10 \
	run --snapshot "$scratch/snapshot" --report "$scratch/snapshot"

gmm 60 "${small[@]}" --report /dev/full
if [ "$status" -eq 1 ] && grep -qF -- '--report /dev/full cannot be written (No space left' "$scratch/err"; then
	ok 'a file that cannot be written at the end'
else
	not_ok 'a file that cannot be written at the end' "exit status $status" "$(head -c 300 "$scratch/err")"
fi

# A name that would be markup, and end the script that holds the data.
hostile="$scratch/a\"'&lt;</script><script>document.title=\`owned\`<"
mkdir -p "$hostile"
hostile+='/script><img src=x onerror=document.title=`owned`>.html'
gmm 60 "${small[@]}" --json "$scratch/run.json" --report "$hostile"
if [ "$status" -eq 0 ] && [ ! -s "$scratch/err" ] && [ "$(find "${hostile%/*}" -type f | wc -l)" -eq 1 ]; then
	ok 'a page and nothing beside it'
else
	not_ok 'a page and nothing beside it' "exit status $status" "$(head -c 300 "$scratch/err")"
fi
cp -- "$hostile" "$scratch/run.html"
verdict=$(tail -n 1 "$scratch/out")

if grep -oE '(src|href|action)=|url\(|@import|https?://[^"'"'"' ]*|fetch\(|XMLHttp|WebSocket' "$scratch/run.html" |
	grep -vxE 'http://www.w3.org/2000/svg|src=' >"$scratch/outside"; then
	not_ok 'it needs no other file' "$(head -n 3 "$scratch/outside")"
else
	ok 'it needs no other file'
fi
if [ "$(grep -c '</script>' "$scratch/run.html")" -eq 2 ]; then
	ok 'no text of the run ends a script'
else
	not_ok 'no text of the run ends a script' "$(grep -c '</script>' "$scratch/run.html") ends"
fi

leave_out=
until_seen false 2 --accel process --memory 64M --resident 8M --leave-out protect --report "$scratch/loss.html" \
	--json "$scratch/loss.json"
[ "$status" -ne 1 ] || leave_out=yes

browser=$(command -v chromium || command -v chromium-browser || true)
if [ -z "$browser" ]; then
	skip 'in a browser' 'chromium is missing: scripts/install-packages browser'
	plan
	exit 0
fi

# browse NAME ARGUMENTS...: standard output in $scratch/NAME.out; what scripts said in $scratch/NAME.console.
browse() {
	local name=$1
	shift
	timeout -k 20 300 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
		--disable-background-networking --enable-logging=stderr --user-data-dir="$scratch/profile" \
		--window-size=1280,2400 "$@" >"$scratch/$name.out" 2>"$scratch/$name.log" </dev/null
	grep -F CONSOLE "$scratch/$name.log" >"$scratch/$name.console" || true
}

# dom NAME: what the browser makes of NAME.html.
dom() {
	browse "$1" --dump-dom "file://$scratch/$1.html"
	if [ "$("$page" attribute "$scratch/$1.out" data-ready)" = yes ] && [ ! -s "$scratch/$1.console" ] &&
		! "$page" attribute "$scratch/$1.out" data-error >/dev/null; then
		ok "$2"
	else
		not_ok "$2" "$("$page" attribute "$scratch/$1.out" data-error)" "$(head -n 3 "$scratch/$1.console")" \
			"$(tail -n 3 "$scratch/$1.log")"
	fi
}

dom run 'its scripts run to the end, without an error'
if count=$("$page" numbers "$scratch/run.out" "$scratch/run.json"); then
	ok "its tables have the $count numbers of --json"
else
	not_ok 'its tables have the numbers of --json' "$(head -n 5 <<<"$count")"
fi
if [[ $verdict == 'nothing was lost: '*' pages of 4096 '* ]] &&
	[ "$("$page" text "$scratch/run.out" verdict)" = "$verdict" ] && ! grep -q 'id="verdict" class="bad"' "$scratch/run.out"; then
	ok 'it says that nothing was lost'
else
	not_ok 'it says that nothing was lost' "$("$page" text "$scratch/run.out" verdict)" "$verdict"
fi
if "$page" text "$scratch/run.out" command | grep -qF -- "$hostile" && grep -q '<title>gmm run</title>' "$scratch/run.out"; then
	ok 'names with quotes and tags are text'
else
	not_ok 'names with quotes and tags are text' "$("$page" text "$scratch/run.out" command)" \
		"$(grep -o '<title>[^<]*' "$scratch/run.out")"
fi

# A second page tells where its parts are, so that the picture can be looked at part by part.
parts="'heatmap', 'chart-resident', 'chart-faults', 'chart-evictions', 'chart-harvested', 'timeline', 'percentiles', 'verdict'"
locate="document.documentElement.dataset.boxes = JSON.stringify(Object.fromEntries([$parts].map((id) => {"
locate+='const box = document.getElementById(id).getBoundingClientRect(); return [id, [box.x, box.y, box.width, box.height]]; })))'
{
	cat "$scratch/run.html"
	printf '<script>%s</script>\n' "$locate"
} >"$scratch/boxes.html"
browse boxes --dump-dom "file://$scratch/boxes.html"
boxes=$("$page" attribute "$scratch/boxes.out" data-boxes)

# picture NAME TITLE ARGUMENTS...: a picture of the page; colours, and how much is drawn, of each part.
picture() {
	local title=$2 name colours drawn empty=
	browse "$1" --screenshot="$scratch/$1.png" "${@:3}"
	"$page" colours "$scratch/$1.png" "$boxes" >"$scratch/$1.colours"
	while read -r name colours drawn; do
		# A chart without its curves has 35 at most, the others have none. The curves of a run on a busy machine are
		# short and flat: 79 was seen.
		case $name in
		heatmap | timeline) [ "$drawn" -ge 300 ] ;;
		*) [ "$drawn" -ge 50 ] ;;
		esac && [ "$colours" -ge 100 ] || empty+="$name has $colours colours, $drawn of 10000 drawn; "
	done <"$scratch/$1.colours"
	if [ "$(wc -l <"$scratch/$1.colours")" -eq 8 ] && [ -z "$empty" ]; then
		ok "$title"
	else
		not_ok "$title" "$empty" "$(tail -n 2 "$scratch/$1.log")"
	fi
}
picture light 'nothing in the picture is empty' "file://$scratch/run.html"
picture dark '... on a dark screen' --blink-settings=preferredColorScheme=0 "file://$scratch/run.html#age"
if ! cmp -s "$scratch/light.png" "$scratch/dark.png" &&
	[ "$(sort "$scratch/light.colours")" != "$(sort "$scratch/dark.colours")" ]; then
	ok 'a dark screen and another view look different'
else
	not_ok 'a dark screen and another view look different'
fi

if [ -z "$leave_out" ]; then
	skip 'a run that lost something' 'this build has no --leave-out'
else
	dom loss 'a run that lost something: no script error'
	"$page" text "$scratch/loss.out" verdict >"$scratch/verdict"
	losses=$(sed -n 's/.*"losses": \([0-9]*\),.*/\1/p' "$scratch/loss.json")
	if grep -q "^the run is no success: $losses losses" "$scratch/verdict" && grep -q 'page [0-9]* (GPA 0x.*expected version' "$scratch/verdict" &&
		grep -q 'id="verdict".* class="bad"\|class="bad".*id="verdict"' "$scratch/loss.out"; then
		ok 'a run that lost something says so at its top, with the page'
	else
		not_ok 'a run that lost something says so at its top, with the page' "$(head -n 3 "$scratch/verdict")"
	fi
	if "$page" numbers "$scratch/loss.out" "$scratch/loss.json" >"$scratch/numbers"; then
		ok 'a run that lost something: the numbers of --json'
	else
		not_ok 'a run that lost something: the numbers of --json' "$(head -n 3 "$scratch/numbers")"
	fi
fi
plan
