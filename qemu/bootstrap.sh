#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the Debian 13 root in which everything is built and run, once per content of
# qemu/root.packages and this recipe, then enters it and starts the runner (qemu/runner).
#
#   qemu/bootstrap.sh VERB [ARGUMENTS]
#
# VSERVER_CACHE: where products are kept (default: $XDG_CACHE_HOME/vserver or ~/.cache/vserver).
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
cache=${VSERVER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vserver}
# Raise when the recipe below changes.
recipe=1

say() { printf '%s\n' "$*" >&2; }
die() {
	say "vserver: $*"
	exit 1
}

[ "$(uname -m)" = x86_64 ] || die "this needs an x86-64 machine, this is $(uname -m)"
# Without root: as the root user of a user namespace, if the two programs for that are there.
if [ "$(id -u)" != 0 ]; then
	PATH=$PATH:/usr/sbin:/sbin
	missing=
	command -v mmdebstrap >/dev/null || missing="$missing mmdebstrap"
	command -v newuidmap >/dev/null || missing="$missing uidmap"
	[ -z "$missing" ] ||
		die "without root, this needs:$missing. Run once: sudo apt-get install -y --no-install-recommends$missing"
	unshare --map-root-user --map-auto --mount true 2>/dev/null ||
		die "this user cannot have a user namespace with further users. Run as root: sudo make ${1:-run}"
	exec unshare --map-root-user --map-auto --mount --propagation private -- "$0" "$@"
fi

share=
if [ -n "${SHARE:-}" ]; then
	[ -d "$SHARE" ] || die "SHARE=$SHARE is not a directory"
	share=$(cd "$SHARE" && pwd)
fi

# Held while the root is made and while cargo works; the runner inherits descriptor 9 and lets go before
# it builds kernels and boots machines, so that several clones can do that side by side.
mkdir -p "$cache/log"
exec 9>"$cache/lock"
if ! flock -n 9; then
	say "==> waiting for another vserver build on this machine to finish"
	flock 9
fi

key=$( (
	echo "$recipe"
	cat "$here/qemu/root.packages"
) | sha256sum | cut -c1-16)
root=$cache/root-$key

if [ ! -e "$root/.complete" ]; then
	log=$cache/log/root.log
	if ! command -v mmdebstrap >/dev/null; then
		say "==> installing mmdebstrap by apt"
		(apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends mmdebstrap) \
			>"$log" 2>&1 || {
			tail -n 20 "$log" >&2
			die "mmdebstrap could not be installed; the whole output is in $log"
		}
	fi
	say "==> Debian 13 root with compilers and QEMU (about a minute) ..."
	start=$SECONDS
	rm -rf "$root" "$root".tmp
	packages=$(paste -sd, "$here/qemu/root.packages")
	if ! mmdebstrap --variant=minbase --components=main --include="$packages" \
		trixie "$root.tmp" >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		die "the Debian root could not be made; the whole output is in $log"
	fi
	# The kernel is in trixie-backports: the same mirror as the root's own.
	sed -n 's/^deb \(.*\) trixie main.*/deb \1 trixie-backports main/p' "$root.tmp/etc/apt/sources.list" |
		head -n 1 >"$root.tmp/etc/apt/sources.list.d/backports.list"
	[ -s "$root.tmp/etc/apt/sources.list.d/backports.list" ] ||
		die "no trixie line in the root's sources.list to derive backports from: $root.tmp/etc/apt/sources.list"
	mkdir -p "$root.tmp/src" "$root.tmp/cache" "$root.tmp/share"
	touch "$root.tmp/.complete"
	mv "$root.tmp" "$root"
	say "    done ($((SECONDS - start)) s)"
fi

# What the network needs inside: names, certificates (a proxy may have its own), proxies.
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [ -r "$certificates" ]; then
	cp -L "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
fi
for conf in /etc/apt/apt.conf.d/*proxy*; do
	[ -r "$conf" ] && cp -L "$conf" "$root/etc/apt/apt.conf.d/"
done

mkdir -p "$root/kernel"

export here cache root share
exec unshare --mount --propagation private -- bash -c '
	set -e
	# So that programs inside can make mounts private, from the root on.
	mount --bind "$root" "$root"
	# One of our own only where nobody is above us.
	mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
	mount --rbind /sys "$root/sys"
	mount --rbind /dev "$root/dev"
	mount --bind "$here" "$root/src"
	mount --bind "$cache" "$root/cache"
	if [ -n "$share" ]; then mount --bind "$share" "$root/share"; fi
	log=/cache/log/runner.log
	exec chroot "$root" /usr/bin/env -i \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" \
		SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
		CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt \
		CARGO_HOME=/cache/cargo CARGO_TARGET_DIR=/cache/target CARGO_TERM_COLOR=never \
		http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" no_proxy="${no_proxy:-}" \
		VSERVER_HOST_CACHE="$cache" VSERVER_HOST_ROOT="$root" VSERVER_SHARE="$share" VSERVER_COMMAND="${VSERVER_COMMAND:-}" \
		ACCEL="${ACCEL:-}" KERNEL_VERSION="${KERNEL_VERSION:-}" KERNEL_FLAVOUR="${KERNEL_FLAVOUR:-}" \
		bash -c "
			# Cargo goes by times. Here they change with the content only, from whichever clone it is.
			mkdir -p /cache/source
			rsync -rlpc --delete --exclude=/.git /src/ /cache/source/
			cd /cache/source
			[ -x /cache/target/release/vserver-runner ] || echo \"==> building the runner\" >&2
			cargo build --release --quiet --locked -p vserver-runner >$log 2>&1 || {
				tail -n 40 $log >&2
				echo \"vserver: the runner does not build; the whole output is in \$VSERVER_HOST_CACHE/log/runner.log\" >&2
				exit 1
			}
			exec /cache/target/release/vserver-runner \"\$@\"
		" runner "$@"
' bootstrap "$@"
