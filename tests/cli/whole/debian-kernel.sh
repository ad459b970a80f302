#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
# Debian 12's own kernel, whichever one this machine runs: the command runs on it, in a machine of
# QEMU (TCG), with and without KVM's modules. That kernel's userfaultfd protects shared memory but
# cannot map it protected, and its KVM has no quirks to turn off.
#
# One thread of TCG for both processors: with two, QEMU 7.2 now and then goes on with code that the
# kernel patched when a VM was created, and hangs. A boot that hangs all the same is tried again, at
# most twice, and it is said.
set -uo pipefail
kernels=${TMPDIR:-/var/tmp}
source "$GMM_SOURCE/tests/cli/support/tap.bash"
source "$GMM_SOURCE/scripts/lib/debian-kernel"

release=6.1
tries=3
# A console that has been silent for so long is that of a hang. The longest run takes 180; the boot, of which nothing
# is seen, takes 10 on a free processor, and several times that on a busy one.
silent_seconds=200
# All boots together end before the test's time does.
deadline=$((SECONDS + 800))
console=$scratch/console

give_up() {
	skip "Debian's kernel $release" "$1"
	plan
	exit 0
}

static_busybox() {
	local file
	file=$(command -v busybox) && ! ldd "$file" >/dev/null 2>&1 && printf '%s\n' "$file"
}

for command in qemu-system-x86_64 cpio; do
	command -v $command >/dev/null || give_up "$command is missing (scripts/install-packages snapshot)"
done
busybox=$(static_busybox) || give_up 'no static busybox (scripts/install-packages snapshot)'
kernel=$(debian_kernel_newest /boot $release)
if [ -z "$kernel" ] || [ -z "$(debian_kernel_module "$kernel" kvm)" ]; then
	kernel=$(debian_kernel_fetch "$kernels" 2>"$scratch/err") || give_up "$(tail -n 1 "$scratch/err")"
fi
case $kernel in
*/vmlinuz-"$release".*) ;;
*) give_up "this Debian's kernel is ${kernel##*/vmlinuz-}" ;;
esac

# The machine's files: the command with its libraries, and KVM's modules in the order of their use.
make_initrd() {
	local root=$scratch/root file module
	mkdir -p "$root"/{bin,proc,sys,dev,tmp,modules}
	cp "$busybox" "$root/bin/busybox"
	cp "$GMM" "$root/bin/gmm"
	for file in $(ldd "$GMM" | grep -oE '/[^ ]+'); do
		mkdir -p "$root/${file%/*}"
		cp -L "$file" "$root$file"
	done
	for module in irqbypass ccp kvm kvm-amd; do
		cp "$(debian_kernel_module "$kernel" $module)" "$root/modules/" || return 1
	done
	cat >"$root/init" <<-'INIT'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/bin TMPDIR=/tmp
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev
		mount -t tmpfs tmp /tmp
		echo "GUEST UP $(uname -r)"
		run() {
			name=$1
			shift
			timeout -k 20 180 gmm run --hang-after 120 "$@" >/tmp/out 2>&1 </dev/null
			status=$?
			sed "s/^/$name: /" /tmp/out
			echo "$name: status $status"
		}
		# Longer until pages were evicted: a machine under TCG on a busy one may be slow.
		run_evicting() {
			for seconds in 2 6 15; do
				run "$@" --memory 4M --resident 1M --duration $seconds
				grep -q 'pages evicted  *0$' /tmp/out || return
			done
		}
		run no-kvm --accel kvm
		run_evicting process --accel process
		for module in irqbypass ccp kvm kvm-amd; do
			insmod /modules/$module.ko || echo "no module $module"
		done
		run_evicting kvm --accel kvm
		run_evicting kvm-ring --accel kvm --dirty ring
		echo 'GUEST DONE'
		poweroff -f
	INIT
	chmod +x "$root/init"
	(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet >"$scratch/initrd")
}

qemu_pid=
end_qemu() {
	[ -n "$qemu_pid" ] || return 0
	kill "$qemu_pid" 2>/dev/null
	wait "$qemu_pid" 2>/dev/null
}
trap end_qemu EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Whether the machine came to its end.
boot() {
	local line
	mkfifo "$console.pipe"
	# In this process group, so that who ends the group ends it too.
	timeout --foreground -k 2 820 qemu-system-x86_64 -accel tcg,thread=single -cpu max -m 512 -smp 2 \
		-nodefaults -display none -no-reboot -serial stdio -kernel "$kernel" \
		-initrd "$scratch/initrd" -append 'console=ttyS0 quiet panic=-1 no5lvl' \
		</dev/null >"$console.pipe" 2>"$scratch/qemu.err" &
	qemu_pid=$!
	: >"$console.raw"
	exec {pipe}<"$console.pipe"
	rm "$console.pipe"
	while ((SECONDS < deadline)) && IFS= read -r -t $silent_seconds line <&$pipe; do
		printf '%s\n' "$line" >>"$console.raw"
	done
	exec {pipe}<&-
	end_qemu
	qemu_pid=
	tr -d '\r' <"$console.raw" >"$console"
	grep -q '^GUEST DONE' "$console"
}

# about NAME STATUS TEXT WHAT: how the command of that name ended, and a line of its output.
about() {
	if grep -q "^$1: status $2\$" "$console" && grep -q "^$1: .*$3" "$console"; then
		ok "$version: $4"
	else
		not_ok "$version: $4" "$(grep -E "^($1: .*(LOST|FAILED|assert|gmm|status)|no module)" "$console" |
			cut -c 1-300 | tr '\n' ';')"
	fi
}

evicted() {
	local pages
	pages=$(sed -n "s/^$1:   pages evicted *//p" "$console" | tail -n 1)
	if [ "${pages:-0}" -gt 0 ]; then
		ok "$version: $2"
	else
		not_ok "$version: $2" "pages evicted: ${pages:-no such line}"
	fi
}

# events_named NAME WHAT: each event of the help took place, or a line has its reason.
events_named() {
	local name missing=
	for name in $("$GMM" run --help | sed -n '/^Events/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
		grep -qE "^$1: (events: (.*, )?$name(,|\$)|not here: $name: .)" "$console" || missing+=" $name"
	done
	if [ -z "$missing" ]; then
		ok "$version: $2"
	else
		not_ok "$version: $2" "neither:$missing" "$(grep -E "^$1: (events|not here)" "$console")"
	fi
}

if ! make_initrd; then
	not_ok 'the machine has its files'
	plan
	exit 0
fi
for ((try = 1; try <= tries; try++)); do
	boot && break
	((SECONDS < deadline)) || try=$tries
	echo "# boot $try of $tries did not come to its end: $(tail -n 1 "$console" | cut -c 1-200)" \
		"$(tail -n 1 "$scratch/qemu.err")"
done
version=$(sed -n 's/^GUEST UP //p' "$console")
if [ "$try" -gt $tries ]; then
	not_ok "Debian's kernel $release comes to its end" "$(tail -n 5 "$console" | cut -c 1-300 | tr '\n' ';')"
	plan
	exit 0
fi
about no-kvm 2 '/dev/kvm is missing: load the kvm module' 'without /dev/kvm it says so'
about process 0 'nothing was lost' 'a run in the process'
evicted process 'a run in the process: pages were evicted'
about kvm 0 'nothing was lost' 'a run on KVM'
evicted kvm 'a run on KVM: pages were evicted'
events_named process 'a run in the process: each event is there, or why not'
events_named kvm 'a run on KVM: each event is there, or why not'
about kvm-ring 0 'nothing was lost' 'a run on KVM with the dirty ring'
plan
