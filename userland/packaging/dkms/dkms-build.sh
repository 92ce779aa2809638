#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Builds the module in this directory for a kernel of Debian: dkms-build.sh KERNEL HEADERS
#
# Debian's headers have no Rust metadata, which a module in Rust is built against. It is made anew from the kernel's source
# of the same version with the same configuration and compiler, takes a minute and 400 MB, and is kept for
# the next build against that kernel.
set -eu

kernel=$1
headers=$(readlink -f "$2")
module=$(pwd)
cache=/var/cache/vserver-dkms

die() {
	echo "vserver: $*" >&2
	exit 1
}

# Nothing else of who called it: dkms and package managers export much.
clean_make() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 ${VSERVER_BTF:+"VSERVER_BTF=$VSERVER_BTF"} \
		${VSERVER_UNCHECKED:+"VSERVER_UNCHECKED=$VSERVER_UNCHECKED"} make "$@"
}

[ -r "$headers/.config" ] || die "$headers has no .config: install linux-headers-$kernel"

if [ -e "$headers/rust/libkernel.rmeta" ]; then
	clean_make -C "$headers" M="$module" modules
	exit
fi

# 7.3.4+deb13-cloud-amd64: 7.3.4, 7.3 and +deb13-cloud-amd64.
upstream=${kernel%%[!0-9.]*}
suffix=${kernel#"$upstream"}
series=$(echo "$upstream" | cut -d. -f1-2)
source_package=linux-source-$series
archive=/usr/src/$source_package.tar.xz

version() {
	dpkg-query -W -f '${Version}' "$1" 2>/dev/null || true
}
wanted=$(version "linux-headers-$kernel")
[ -n "$wanted" ] || die "$kernel is no kernel that a package linux-headers-$kernel is for"
found=$(version "$source_package")
[ -r "$archive" ] || die "there is no $archive: install $source_package=$wanted"
[ "$found" = "$wanted" ] ||
	die "$source_package is of version $found, but the kernel $kernel of $wanted: install $source_package=$wanted"

# Metadata of another compiler is not understood by this one, nor would the kernel's symbols be the same.
needs=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="rustc \([0-9.]*\).*/\1/p' "$headers/.config")
has=$(rustc --version | cut -d' ' -f2)
[ "$needs" = "$has" ] || die "the kernel $kernel was built with rustc $needs, but rustc is $has: install rustc $needs"

# Those of kernels that have gone.
for tree in "$cache"/*/; do
	name=$(basename "$tree")
	[ "$name" = '*' ] || [ -d "/lib/modules/$name" ] || rm -rf "$tree"
done

tree=$cache/$kernel
# Raised when the recipe below changes: the second one needs rustfmt.
made="$wanted by recipe 2"
if [ "$(cat "$tree/complete" 2>/dev/null)" != "$made" ]; then
	echo "Rust metadata of $kernel: this takes a minute or two"
	rm -rf "$tree"
	mkdir -p "$tree/source" "$tree/build"
	# Only what the metadata is made from: a tenth of it.
	(
		cd "$tree/source"
		set -f --
		top=$source_package
		for part in Makefile Kbuild Kconfig arch/x86 drivers/android drivers/base include io_uring kernel lib/vdso rust scripts \
			security/selinux/include tools/arch tools/bpf/resolve_btfids tools/build tools/include tools/lib \
			tools/Makefile tools/objtool tools/scripts; do
			set -- "$@" "$top/$part"
		done
		tar -xf "$archive" --strip-components=1 --anchored --wildcards --wildcards-match-slash \
			"$@" "$top/*/Kconfig*"
	)
	cp "$headers/.config" "$tree/build/.config"
	cd "$tree/build"
	"$tree/source/scripts/config" --file .config \
		--set-str SYSTEM_TRUSTED_KEYS '' --set-str MODULE_SIG_KEY ''
	clean_make -C "$tree/source" O="$tree/build" LOCALVERSION="$suffix" olddefconfig
	clean_make -C "$tree/source" O="$tree/build" LOCALVERSION="$suffix" -j"$(nproc)" modules_prepare
	cp "$headers/Module.symvers" .
	echo "$made" >"$tree/complete"
fi

clean_make -C "$tree/build" M="$module" modules
