#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tests of the Debian packages, on a Debian machine with systemd that has vserver-dkms installed, and its module
# built (qemu/runner/src/packages.rs). A unit of the machine starts this at each boot, with the packages in this
# directory and a small system for a vserver at $2. Between two tests the machine reboots.
#
#   packages.sh FIRST-PACKAGE LATER-PACKAGE SYSTEM

first=$1
later=$2
system=$3
here=$(dirname "$0")
state=/var/lib/packages-test
log=/run/packages-test.log
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

for port in /sys/class/virtio-ports/*; do
	[ "$(cat "$port/name")" != results ] || results=/dev/${port##*/}
done
exec >"$results" 2>&1

say() { printf '%s\n' "$*"; }

# Runs a test; what it did is shown when it fails.
run() {
	number=$(($(cat $state/number) + 1))
	echo $number >$state/number
	say "# running packages::$1"
	echo "test packages::$1" >/dev/kmsg
	(
		set -eEx
		"$1"
	) >$log 2>&1 </dev/null
	code=$?
	if [ $code = 0 ]; then
		say "ok $number packages::$1"
		return
	fi
	tail -n 60 $log | sed 's/^/# /'
	say "# the end of the journal:"
	journalctl --boot --no-pager --lines 60 | sed 's/^/# /'
	say "not ok $number packages::$1 # it ended with $code"
}

# A command that must end in time.
soon() { timeout 300 "$@"; }

# Waits for a command to succeed.
until_so() {
	for _ in $(seq 240); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 1
	done
	echo "did not come to be: $*"
	return 1
}

# A command that must fail, in a way of its own.
fails() {
	soon "$@" && code=0 || code=$?
	if [ $code = 0 ] || [ $code -ge 124 ]; then
		echo "that must fail: $* (ended with $code)"
		return 1
	fi
}

# Paths of which none may be there.
absent() {
	for path; do
		if [ -e "$path" ] || [ -L "$path" ]; then
			echo "still there: $path"
			return 1
		fi
	done
}

# The context that a vserver runs in, and process 1 there.
where() { soon vserver "$1" status --json | tr -d ' ",' | grep -E '^(context|init_pid):'; }

# The module, which modules-load.d names, is there without anybody asking.
module() {
	until_so test -c /dev/vserver
	until_so systemctl is-active systemd-modules-load
	grep -q '^vserver ' /proc/modules
	[ "$(modinfo -F filename vserver | sed 's/\.[xz]*$//')" = "/lib/modules/$(uname -r)/updates/dkms/vserver.ko" ]
	modprobe -r vserver
	absent /dev/vserver
	modprobe vserver
	test -c /dev/vserver
}

install() {
	soon dpkg -i "$first"
	[ -z "$(dpkg --verify vserver)" ]
	[ "$(stat -c %a /vservers)" = 0 ]
	dpkg -L vserver >$state/files
	names=$(cat "$here/programs")
	[ "$(echo "$names" | wc -l)" -gt 10 ]
	for name in vserver $names; do
		[ "$(readlink -f /usr/sbin/"$name")" = /usr/sbin/vserver ]
		soon "$name" --help | grep -q "^Usage: $name"
		test -s /usr/share/man/man8/"$name".8.gz
		test -s /usr/share/bash-completion/completions/"$name"
		test -s /usr/share/zsh/vendor-completions/_"$name"
		test -s /usr/share/fish/vendor_completions.d/"$name".fish
		(
			. /usr/share/bash-completion/completions/"$name"
			complete -p "$name"
		)
	done
	for name in capchroot setattr showattr; do
		soon /usr/lib/vserver/$name --help | grep -q "^Usage: $name"
	done
	test -s /usr/share/man/man5/vserver.conf.5.gz
	test -e /usr/share/man/man5/vservers.conf.5.gz
	soon vserver info
	for unit in vservers.service vservers.target; do
		[ "$(systemctl is-enabled $unit)" = enabled ]
		[ "$(systemctl is-active $unit)" = inactive ]
	done
	soon systemd-analyze verify --man=no vservers.service vservers.target vserver@x.service
}

build() {
	tar -C "$system" -cf /root/system.tar .
	soon vserver --silent web build --tar /root/system.tar --onboot
	soon vserver --silent db build --dir "$system"
	[ "$(soon vserver list --no-legend | wc -l)" = 2 ]
}

# A copy of the machine itself: what its packages have, and its configuration; nothing of its kernel or of other vservers.
host() {
	echo own >/etc/of-our-own
	echo away >/var/log/of-our-own
	timeout 900 vserver self build --host >/root/said
	cat /root/said
	grep -q 'dpkg' /root/said
	grep -q 'getty' /root/said
	test -s /vservers/self/etc/of-our-own
	absent /vservers/self/var/log/of-our-own /vservers/self/vservers/web /vservers/self/lib/modules/"$(uname -r)"/kernel \
		/vservers/self/root/system.tar
	[ "$(cat /vservers/self/etc/machine-id)" != "$(cat /etc/machine-id)" ]
	[ "$(chroot /vservers/self dpkg-query -W | wc -l)" = "$(dpkg-query -W | wc -l)" ]
	[ "$(stat -c '%a %U' /vservers/self/usr/bin/su)" = "$(stat -c '%a %U' /usr/bin/su)" ]
	# From outside the barrier nobody in a context gets there.
	! soon chcontext --silent --secure capchroot /vservers/self dpkg --version || return 1
	(cd /vservers/self && soon chcontext --silent --secure capchroot . dpkg --version)
	soon vserver self delete --yes
	absent /vservers/self /etc/vservers/self.conf
}

units() {
	soon systemctl start vservers.target
	until_so vserver web running
	systemctl is-active vservers.service
	fails vserver db running
	soon systemctl start vserver@db
	soon vserver db running
	[ "$(soon vserver db exec cat /etc/hostname)" = busybox ]
	soon systemctl status --no-pager vserver@db
	until_so eval 'journalctl VSERVER=db --no-pager --quiet | grep -q .'
	until_so eval 'journalctl VSERVER=web --no-pager --quiet | grep -q .'
	# A daemon's reload or the end of a unit of the same slice is nothing to those that run.
	soon systemctl daemon-reload
	soon systemctl stop vserver@db
	fails vserver db running
	soon vserver web running
	fails systemctl start vserver@missing
}

# The script, as an init without units calls it. Here the functions that it includes would hand it on to systemd.
sysvinit() {
	export SYSTEMCTL_SKIP_REDIRECT=1 _SYSTEMCTL_SKIP_REDIRECT=1
	soon /etc/init.d/vservers status
	soon /etc/init.d/vservers stop
	fails vserver web running
	fails /etc/init.d/vservers status
	soon /etc/init.d/vservers start
	soon vserver web running
	soon /etc/init.d/vservers status
	soon /etc/init.d/vservers restart
	soon vserver web running
	fails vserver db running
	fails /etc/init.d/vservers nonsense
	# Told to systemd again.
	soon systemctl restart vservers
	soon vserver web running
}

# The machine has rebooted.
reboot() {
	until_so vserver web running
	until_so systemctl is-active vservers.service
	fails vserver db running
	# It was stopped in its own way.
	grep -a 'going down' /var/log/vservers/web.console
}

# All that is done with a vserver that runs.
works() {
	soon vserver list | grep web | grep -q running
	soon vserver web status
	[ "$(soon vserver web exec cat /etc/hostname)" = busybox ]
	[ "$(echo cat /etc/hostname | soon vserver web enter)" = busybox ]
}

# The versions of the ABI of the loaded module and of the installed one.
abi_versions() { soon vserver info --json | grep -o '"abi_version": *[0-9]*' | tr -dc '0-9\n' | sort -n | tr '\n' ' '; }

# The programs first: they have to do with the module and with keepers of before.
upgrade() {
	before=$(where web)
	[ -n "$before" ]
	soon dpkg -i "$later"
	[ "$(dpkg-query -W -f '${Version}' vserver)" = "$(dpkg-deb -f "$later" Version)" ]
	[ "$(where web)" = "$before" ]
	systemctl is-active vservers.service
	works
	soon vserver web restart
	[ "$(where web)" != "$before" ]
	works
	dpkg -L vserver >$state/files
}

# Then the module, built elsewhere, as dkms would take too long here: what runs goes on with the one that is loaded.
upgrade_module() {
	soon vserver info | grep -q '^installed *the same'
	file=$(modinfo -F filename vserver)
	rm "$file"
	cp "$here/vserver.ko" "$(dirname "$file")"
	depmod
	before=$(where web)
	works
	set -- $(abi_versions)
	[ $# = 2 ] && [ "$2" = $(($1 + 1)) ]
	soon vserver info | grep -q "^ABI version *$1\$"
	soon vserver info | grep -q "^installed *another build, ABI version $2:"
	[ "$(where web)" = "$before" ]
	fails vserver unload
	soon vserver unload 2>&1 | grep -q 'alive are web (context'
	# As it says.
	soon vservers stop
	soon vserver unload --wait 60
	absent /dev/vserver
	modprobe vserver
	soon vserver info | grep -q '^installed *the same'
	soon vserver info | grep -q "^ABI version *$2\$"
	soon vservers start
	works
}

# What runs is stopped; what is the user's stays.
remove() {
	soon vserver web running
	soon vserver --silent db start
	soon dpkg -r vserver
	# The module can only go when no context is alive.
	modprobe -r vserver
	modprobe vserver
	absent /usr/sbin/vserver /usr/sbin/vservers /usr/lib/vserver /usr/lib/systemd/system/vserver*
	for name in web db; do
		test -s /etc/vservers/$name.conf
		test -x /vservers/$name/bin/busybox
	done
	# Without the package its script does nothing.
	[ ! -x /etc/init.d/vservers ]
	sh /etc/init.d/vservers start
	fails grep vservers /proc/self/mountinfo
}

purge() {
	soon dpkg -P vserver
	while read -r path; do
		[ -d "$path" ] || absent "$path"
	done <$state/files
	absent /var/log/vservers /run/vservers /etc/init.d/vservers /etc/rc?.d/*vservers /etc/logrotate.d/vserver \
		/var/lib/systemd/deb-systemd-helper-enabled/vserver* /etc/systemd/system/*/vserver*
	[ -z "$(systemctl list-unit-files --no-legend 'vserver*')" ]
	# It is still known as what the other package recommends.
	[ "$(dpkg-query -W -f '${db:Status-Status}' vserver || echo not-installed)" = not-installed ]
	for name in web db; do
		test -s /etc/vservers/$name.conf
		test -x /vservers/$name/bin/busybox
	done
}

purge_module() {
	test -c /dev/vserver
	version=$(dpkg-query -W -f '${Version}' vserver-dkms)
	dkms status vserver | grep -q installed
	soon dpkg -P vserver-dkms
	[ -z "$(dkms status vserver)" ]
	[ -z "$(find /lib/modules/ -name 'vserver*')" ]
	absent /dev/vserver
	fails modprobe vserver
	absent /usr/src/vserver-"$version" /var/lib/dkms/vserver /var/cache/vserver-dkms /usr/lib/modules-load.d/vserver.conf
}

before_reboot='module install build host units sysvinit'
after_reboot='reboot upgrade upgrade_module remove purge purge_module'
if [ ! -d $state ]; then
	mkdir -p $state
	echo 0 >$state/number
	say "1..$(echo $before_reboot $after_reboot | wc -w)"
	for test in $before_reboot; do
		run $test
	done
	sync
	systemctl reboot
else
	for test in $after_reboot; do
		run $test
	done
	say "# end"
	systemctl poweroff
fi
