#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# btf.sh OUT BTF RELEASE SRCTREE OBJTREE TABLE OBJECT BINDINGS...: whether the functions that OBJECT hooks are of the types that
# BINDINGS say, by what the kernel RELEASE says of itself (BTF). NM: the program of that name.
#
# VSERVER_BTF: the kernel's image, or what /sys/kernel/btf/vmlinux had. Otherwise it is looked for: the image beside what the
# module is built against; /sys/kernel/btf/vmlinux when that kernel runs; /boot/vmlinuz-RELEASE and the image beside its modules.
# Without it, the version has to be one of TABLE; VSERVER_UNCHECKED=1 builds for any.
# VSERVER_CHECK=y, of `make check`: also whether the layouts in layouts.rs beside OUT are the kernel's.
set -e
out=$1 btf=$2 release=$3 srctree=$4 objtree=$5 table=$6 object=$7
shift 7

whole=$out.vmlinux
trap 'rm -f "$whole" "$out.hooks"' EXIT
"${NM:-nm}" "$object" | sed -n 's/.* vserver_addr_//p' | sort -u >"$out.hooks"

say() { echo "vserver: $*" >&2; }

# Whether it can be compared with: what is not compressed.
is_plain() {
	case $(od -An -tx1 -N4 "$1" 2>/dev/null | tr -d ' ') in
	7f454c46 | 9feb0100) return 0 ;;
	esac
	return 1
}

image=
if [ -n "${VSERVER_BTF:-}" ]; then
	[ -r "$VSERVER_BTF" ] || {
		say "error: VSERVER_BTF: $VSERVER_BTF cannot be read"
		exit 1
	}
	image=$VSERVER_BTF
elif grep -qs '^CONFIG_DEBUG_INFO_BTF=y' "$objtree/include/config/auto.conf"; then
	running=
	[ "$(uname -r)" != "$release" ] || running=/sys/kernel/btf/vmlinux
	for place in "$objtree/vmlinux" $running "/boot/vmlinuz-$release" "/usr/lib/modules/$release/vmlinuz" \
		"/lib/modules/$release/vmlinuz"; do
		[ ! -r "$place" ] || {
			image=$place
			break
		}
	done
fi

if [ -n "$image" ] && ! is_plain "$image"; then
	if ! sh "$srctree/scripts/extract-vmlinux" "$image" >"$whole" 2>"$out.log"; then
		cat "$out.log" >&2
		say "$image could not be decompressed: is the program for that installed (zstd, xz-utils)?"
		image=
	else
		image=$whole
	fi
	rm -f "$out.log"
fi

if [ -n "$image" ]; then
	[ "${VSERVER_UNCHECKED:-}" != 1 ] || {
		"$btf" prototypes "$image" "$out.hooks" "$@" >"$out" || say "built all the same: VSERVER_UNCHECKED=1"
		exit 0
	}
	"$btf" prototypes "$image" "$out.hooks" "$@" >"$out.new"
	[ "${VSERVER_CHECK:-}" != y ] || "$btf" layouts "$image" "$(dirname "$out")/layouts.rs" >>"$out.new"
	mv "$out.new" "$out"
	cat "$out"
	exit 0
fi

version=${release%%[!0-9.]*}
if grep -qxF "$version" "$table"; then
	echo "btf: nothing to compare with for $release; $version has been checked" >"$out"
elif [ "${VSERVER_UNCHECKED:-}" = 1 ]; then
	say "built unchecked for $release: VSERVER_UNCHECKED=1"
	: >"$out"
else
	say "error: $release does not say of what types its functions are, and $version is not in $(basename "$table")."
	say "VSERVER_BTF=IMAGE names its image, VSERVER_UNCHECKED=1 builds the module all the same."
	exit 1
fi
