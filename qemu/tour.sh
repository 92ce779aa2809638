#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The tour of `make run`: two vservers, who sees whom. Ends with status 0 when all was as it should be.
export PATH=/usr/sbin:/bin:/usr/bin
bad=0

run() { # show a command and its real output; keep that for the checks
	printf '\n# %s\n' "$*"
	output=$(sh -c "$*" 2>&1)
	status=$?
	printf '%s\n' "$output"
	[ "$status" = 0 ] || { echo "!! exit status $status"; bad=1; }
}
has() {
	case "$output" in *"$1"*) ;; *) echo "!! expected to see: $1"; bad=1 ;; esac
}
hasnt() {
	case "$output" in *"$1"*) echo "!! must not be seen: $1"; bad=1 ;; esac
}

echo
echo "Two vservers from one Debian file system, each in a security context of its own:"
for name in one:100:1001 two:200:2002; do
	server=${name%%:*}
	rest=${name#*:}
	mkdir -p /vservers/$server/proc
	mount -t proc proc /vservers/$server/proc
	echo "S_CONTEXT=${rest%%:*}" >/var/run/vservers/$server.ctx
	run "chcontext --ctx ${rest%%:*} --secure --disconnect chroot /vservers/$server sleep ${rest##*:}"
done
sleep 1

run "chcontext --silent --ctx 100 chroot /vservers/one ps -e -o pid,args"
has "sleep 1001"
hasnt "sleep 2002"
run "chcontext --silent --ctx 200 chroot /vservers/two ps -e -o pid,args"
has "sleep 2002"
hasnt "sleep 1001"
run "ps -o pid,args | grep -v '\[' | grep -v grep"
hasnt "sleep 1001"
hasnt "sleep 2002"
run "chcontext --silent --ctx 1 ps -o pid,args | grep 'sleep [12]00'"
has "sleep 1001"
has "sleep 2002"
run "vserver-stat"
has "one"
has "two"
run "vserver info"

pid=$(chcontext --silent --ctx 1 ps -o pid,args | sed -n 's/^ *\([0-9]*\) sleep 1001$/\1/p' | head -n 1)
printf '\n# kill %s      (root of the host, a process of vserver one)\n' "$pid"
if kill "$pid" 2>&1; then
	echo "!! the host's root reached into a vserver"
	bad=1
fi
run "grep s_context /vservers/one/etc/../../../proc/self/status"
run "vkill $pid"
sleep 1
run "vserver-stat"
hasnt "one"
exit $bad
