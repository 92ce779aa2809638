#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The tour of `make run`: two vservers from a Debian file system, and who sees whom. Every command that is
# shown is run, and what is shown below it is its output. Status 0 when all was as it should be.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
# A file, not a pipe: what goes on in the background keeps it open.
said=/tmp/tour-output
bad=0

title() { printf '\n== %s\n' "$*"; }

wrong() {
	printf '!! %s\n' "$*"
	bad=$((bad + 1))
}

# Shows a command and what it prints.
show() {
	printf '\n# %s\n' "$*"
	sh -c "$*" >$said 2>&1
	status=$?
	cat $said
}

# ... which must succeed.
run() {
	show "$*"
	[ $status = 0 ] || wrong "that ended with status $status"
}

# ... which must fail, with these words.
refused() {
	words=$1
	shift
	show "$*"
	[ $status != 0 ] || wrong "that must not succeed"
	sees "$words"
}

sees() { grep -qF -- "$1" $said || wrong "expected to see: $1"; }
hides() { ! grep -qF -- "$1" $said || wrong "must not be seen: $1"; }

# How many processes with this command line the spectator sees.
count() { chcontext --silent --ctx 1 ps -o args | grep -cxF -- "$1"; }

# Waits until so many processes have this command line.
until_count() {
	tries=0
	until [ "$(count "$2")" = "$1" ]; do
		tries=$((tries + 1))
		if [ $tries -gt 200 ]; then
			wrong "there are $(count "$2") processes \"$2\", not $1"
			return
		fi
		usleep 50000
	done
}

# The pid of the process with this command line, in whatever context.
pid_of() { chcontext --silent --ctx 1 ps -o pid,args | sed -n "s|^ *\([0-9]*\) $1\$|\1|p"; }

title "A stock Debian kernel with the module inserted"
run "uname -srv"
sees "Debian"
run "grep vserver /proc/modules"
run "vserver info"
sees "stock"

title "Two vservers from one Debian file system, each in a security context of its own"
for name in one:100:1001 two:200:2002; do
	server=${name%%:*}
	rest=${name#*:}
	mkdir -p /vservers/"$server"/proc /var/run/vservers
	mount -t proc proc /vservers/"$server"/proc || wrong "no /proc in vserver $server"
	echo "S_CONTEXT=${rest%%:*}" >/var/run/vservers/"$server".ctx
	run "chcontext --ctx ${rest%%:*} --secure --disconnect chroot /vservers/$server /usr/sbin/cron -f"
	sees "New security context is ${rest%%:*}"
	run "chcontext --ctx ${rest%%:*} --secure --disconnect chroot /vservers/$server /usr/bin/sleep ${rest##*:}"
	until_count 1 "/usr/bin/sleep ${rest##*:}"
done
until_count 2 "/usr/sbin/cron -f"

title "Each sees only its own processes"
run "chcontext --silent --ctx 100 chroot /vservers/one /bin/sh -c '. /etc/os-release; echo \$PRETTY_NAME; ps -e -o pid,args'"
sees "Debian GNU/Linux"
sees "cron -f"
sees "sleep 1001"
hides "sleep 2002"
[ "$(grep -c 'cron -f' $said)" = 1 ] || wrong "one cron must be seen"
run "chcontext --silent --ctx 200 chroot /vservers/two /usr/bin/ps -e -o pid,args"
sees "cron -f"
sees "sleep 2002"
hides "sleep 1001"
[ "$(grep -c 'cron -f' $said)" = 1 ] || wrong "one cron must be seen"

title "The host sees only its own"
run "ps -o pid,args | grep -v '\[.*\]'"
sees "/init"
hides "cron -f"
hides "sleep 1001"
hides "sleep 2002"

title "The spectator sees all"
run "vps -o pid,args | grep -v '\[.*\]'"
sees "/init"
sees "sleep 1001"
sees "sleep 2002"
[ "$(grep -c 'cron -f' $said)" = 2 ] || wrong "two crons must be seen"
run "vserver-stat"
sees "one"
sees "two"

title "To others, even to root, the processes of a vserver are not there"
one=$(pid_of '/usr/bin/sleep 1001')
refused "No such process" "kill $one"
refused "No such file" "ls /proc/$one"
refused "No such process" "chcontext --silent --ctx 200 chroot /vservers/two /usr/bin/kill -9 $one"
refused "not permitted" "chcontext --silent --ctx 1 kill $one"
run "chcontext --silent --ctx 100 chroot /vservers/one /usr/bin/grep s_context /proc/$one/status"
sees "s_context: 100"

title "vkill finds the context of a process and signals it there"
run "vkill $one"
until_count 0 "/usr/bin/sleep 1001"
run "vps -o pid,args | grep 'sleep [12]00'"
hides "sleep 1001"
sees "sleep 2002"

echo
if [ $bad != 0 ]; then
	echo "$bad of the checks failed: see the lines that begin with !!"
	exit 1
fi
