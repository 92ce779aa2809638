# SPDX-License-Identifier: GPL-2.0
# How long the same file system of sysvinit takes from its start until it is ready, and from its stop until
# nobody is left, as a vserver, under systemd-nspawn and under lxc. Prints "WHICH START STOP" in hundredths of a
# second per round. For the guest of `make starts`: /inits has the file systems, /servers the two others. All is
# read from memory: who waits for a file outside the machine, waits for a clock that has nothing to do with its own.
set -eu
ROUNDS=$1

now() { awk '{ printf "%d", $1 * 100 }' /proc/uptime; }
fail() { echo "$*" >&2; exit 1; }

# A copy that can be written to, with a mark at the end of the boot: init waits for each line in turn.
tree() {
	mkdir -p /written/$1/upper /written/$1/work $2
	mount -t overlay -o lowerdir=/memory/sysvinit,upperdir=/written/$1/upper,workdir=/written/$1/work none $2
	sed -i '/^l2:/a rd:2:wait:/bin/sh -c ": >/ready"' $2/etc/inittab
}

# Waits until something is so, or fails after five minutes.
await() {
	local end=$(($(now) + 30000))
	until "$@"; do
		[ $(now) -lt $end ] || fail "not in time: $*"
		usleep 20000
	done
}

marked() { [ -e $1/ready ]; }
gone() { ! kill -0 $1 2>/dev/null; }
child_init() {
	local stat
	for stat in /proc/[0-9]*/stat; do
		read -r line <$stat 2>/dev/null || continue
		case $line in *"(init) "?" $1 "*) INIT=${line%% *}; return 0 ;; esac
	done
	return 1
}

ours() {
	local begin=$(now) ready stop
	vserver --silent web start </dev/null &
	await marked /vservers/web
	ready=$(now)
	wait $! || fail "vserver web start"
	rm /vservers/web/ready
	stop=$(now)
	vserver --silent web stop </dev/null
	echo "vserver $((ready - begin)) $(($(now) - stop))"
}

# In the file system of the other programs, and in a control group of its own.
other() {
	local name=$1 root=$2 begin ready stop pid
	shift 2
	begin=$(now)
	sh -c 'echo $$ >/sys/fs/cgroup/'$name'/cgroup.procs; exec "$@"' $name chroot /other "$@" </dev/null >/tmp/$name.log 2>&1 &
	pid=$!
	await marked $root
	ready=$(now)
	rm $root/ready
	await child_init $pid
	stop=$(now)
	nsenter -t $INIT -m -u -i -p -r -w /sbin/init 0
	await gone $pid
	echo "$name $((ready - begin)) $(($(now) - stop))"
	wait $pid || true
}

nspawn() {
	other nspawn /other/c/nspawn systemd-nspawn -q --register=no --keep-unit -b -D /c/nspawn \
		--console=pipe --link-journal=no --resolv-conf=off --timezone=off
}

lxc() {
	other lxc /other/c/lxc lxc-start -F -n c -P /tmp -f /etc/c.conf
}

mkdir -p /memory /written /vservers /etc/vservers /var/log/vservers
mount -t tmpfs -o mode=755,size=1400m none /memory
mount -t tmpfs -o mode=755 none /written
cp -a /inits/sysvinit /memory/sysvinit
cp -a /servers /memory/other
umount /inits /servers
tree web /vservers/web
chmod 000 /vservers
printf 'S_FLAGS="fakeinit"\nS_HOSTNAME=web\nSTART_TIMEOUT=300\nSTOP_TIMEOUT=300\n' >/etc/vservers/web.conf

mkdir -p /other
mount --bind /memory/other /other
for folder in proc sys dev; do
	mkdir -p /other/$folder
	mount --rbind /$folder /other/$folder
done
mount -t tmpfs none /other/run
mount -t tmpfs none /other/tmp
tree nspawn /other/c/nspawn
tree lxc /other/c/lxc
cat >/other/etc/c.conf <<X
lxc.rootfs.path = dir:/c/lxc
lxc.uts.name = c
lxc.net.0.type = none
lxc.mount.auto = proc:mixed sys:mixed
lxc.tty.max = 0
lxc.pty.max = 64
lxc.apparmor.profile = unconfined
X
for name in nspawn lxc; do mkdir -p /sys/fs/cgroup/$name; done

round=0
# The first one is not counted: names are looked up for the first time.
while [ $round -le $ROUNDS ]; do
	for one in ours nspawn lxc; do
		if [ $round = 0 ]; then $one >/dev/null; else $one; fi
	done
	round=$((round + 1))
done
