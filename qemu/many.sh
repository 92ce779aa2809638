# SPDX-License-Identifier: GPL-2.0
# How long many vservers at once take: "start N", "list N" and "stop N", each with hundredths of a second (of list:
# thousandths), for 50, 100 and 200 of them, all with busybox's init. For the guest of `make starts`, like starts.sh.
set -eu

now() { awk '{ printf "%d", $1 * 100 }' /proc/uptime; }
fail() { echo "$*" >&2; exit 1; }

mkdir -p /vservers /etc/vservers /var/log/vservers
mount -t tmpfs -o mode=755 none /vservers
cp -a /inits/busybox /vservers/first
umount /inits /servers
number=1
while [ $number -le 200 ]; do
	name=$(printf 'many-%03d' $number)
	# The same files by other names: what differs is made in memory at the start.
	cp -al /vservers/first /vservers/$name
	printf '# Description: one of many\nS_FLAGS="lock nproc fakeinit"\nS_HOSTNAME=%s\nONBOOT=yes\nSTART_TIMEOUT=900\n' $name \
		>/etc/vservers/$name.conf
	number=$((number + 1))
done
chmod 000 /vservers

for count in 50 100 200; do
	all=$(ls /etc/vservers/ | sed -n 's/^\(many-.*\).conf$/\1/p' | head -n $count)
	begin=$(now)
	vservers --silent start $all </dev/null || fail "vservers start"
	echo "start $count $(($(now) - begin))"
	begin=$(now)
	for time in 1 2 3 4 5 6 7 8 9 10; do vserver list >/tmp/list; done
	echo "list $count $(($(now) - begin))"
	[ $(grep -c ' running ' /tmp/list) = $count ] || fail "not all run: $(cat /tmp/list)"
	begin=$(now)
	vservers --silent stop </dev/null || fail "vservers stop"
	echo "stop $count $(($(now) - begin))"
done
