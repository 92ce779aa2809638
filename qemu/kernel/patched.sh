#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the patched kernel in /kernel, where the runner (qemu/runner/src/kernel.rs) has put an
# empty product of its cache.
#
#   patched.sh SOURCE FRAGMENT...          bzImage, and build/ as far as modules need it
#   patched.sh --steps SOURCE FRAGMENT...  the kernel after each patch, then with the option off: bzImage
#
# SOURCE: Debian's kernel source. FRAGMENT: files of qemu/kernel, on top of tinyconfig.
set -euo pipefail

steps=
if [ "$1" = --steps ]; then
	steps=yes
	shift
fi
source=$1
shift
patches=/src/patches

export CCACHE_DIR=/cache/ccache CCACHE_MAXSIZE=4G PATH=/usr/lib/ccache:$PATH
# The time in a kernel would make every link differ.
export KBUILD_BUILD_TIMESTAMP=1970-01-01 KBUILD_BUILD_USER=vserver KBUILD_BUILD_HOST=vserver

kernel_make() { make -C /kernel/source O=/kernel/build "$@"; }

configure() {
	cd /kernel/build
	kernel_make tinyconfig
	for fragment in "$@"; do cp "/src/qemu/kernel/$fragment" .; done
	/kernel/source/scripts/kconfig/merge_config.sh -m -O . .config "$@"
	kernel_make olddefconfig
	cat "$@" | sed -n 's/^\(CONFIG_[A-Z0-9_]*=y\)$/\1/p' | while read -r option; do
		grep -qx "$option" .config || {
			echo "$option is in a fragment, but this kernel does not take it: is something missing that it depends on?"
			exit 1
		}
	done
}

cp -a --reflink=auto "$source" /kernel/source
mkdir /kernel/build
configured=
while read -r name; do
	case $name in '' | '#'*) continue ;; esac
	echo "== $name"
	patch -d /kernel/source -p1 -F0 --no-backup-if-mismatch <"$patches/$name"
	if [ -n "$steps" ]; then
		# The first patch brings the option.
		[ -n "$configured" ] || configure "$@"
		configured=yes
		kernel_make -j"$(nproc)" bzImage modules
		echo "== $name: the kernel builds"
	fi
done <"$patches/series"

if [ -n "$steps" ]; then
	/kernel/source/scripts/config --file /kernel/build/.config -d SECURITY_VSERVER
	kernel_make olddefconfig
	if grep -q '^CONFIG_SECURITY_VSERVER=' /kernel/build/.config; then
		echo 'CONFIG_SECURITY_VSERVER cannot be switched off'
		exit 1
	fi
	kernel_make -j"$(nproc)" bzImage modules
	echo '== without CONFIG_SECURITY_VSERVER: the kernel builds'
	cp /kernel/build/arch/x86/boot/bzImage /kernel/bzImage
	rm -rf /kernel/source /kernel/build
	exit 0
fi

configure "$@"
kernel_make -j"$(nproc)" bzImage modules
# What modules build against is kept, the rest is only big.
cd /kernel/build
cp arch/x86/boot/bzImage ..
find . -name '*.o' -not -path './scripts/*' -not -path './tools/*' -delete
find . -name '*.a' -not -path './tools/*' -delete
rm -f vmlinux.unstripped .tmp_vmlinux*
cd ../source
rm -rf Documentation drivers fs sound net samples tools/testing tools/perf
find arch -mindepth 1 -maxdepth 1 -not -name x86 -not -name Kconfig -exec rm -rf {} +
