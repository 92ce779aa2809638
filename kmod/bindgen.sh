#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# bindgen.sh BOUND OUT BINDGEN HEADER OPTIONS -- FLAGS: bindgen for what is not in BOUND, the bindings of the kernel crate. What
# is a name without contents there and has contents here is bound here; what has none here either is left to there.
set -e
bound=$1 out=$2 bindgen=$3 header=$4
shift 4

awk -v known="$out.known" -v empty="$out.empty" '
	$1 != "pub" || $2 !~ /^(struct|union|type)$/ { next }
	{ kind = $2; name = $3; sub("[<:;({].*", "", name) }
	name ~ /^(_bindgen_ty_|__Bindgen|__Incomplete)/ { next }
	kind != "type" { getline; if (/_unused: \[u8; 0\]|_address: u8/) { print name > empty; next } }
	{ print name > known }
' "$bound"

# bindgen writes one line when it finds no rustfmt.
[ -s "$out.known" ] || {
	echo "$bound names no types, one a line: was it made without rustfmt?" >&2
	exit 1
}

# One argument has at most 128 kB.
split -l 2500 --filter='paste -sd"|"' "$out.known" >"$out.regex"
first= second=
{ read -r first; read -r second || true; } <"$out.regex"
"$bindgen" "$header" --blocklist-type "$first" --blocklist-type "$second" -o "$out.all" "$@"

awk -v empty="$out.empty" '
	BEGIN { while ((getline name <empty) > 0) is_empty[name] = 1 }
	/^#\[/ { attributes = attributes $0 "\n"; next }
	/^pub struct / && ($3 in is_empty) {
		head = $0; getline
		if (/_unused: \[u8; 0\]/) { getline; attributes = ""; next }
		printf "%s%s\n", attributes, head; attributes = ""; print; next
	}
	{ printf "%s", attributes; attributes = ""; print }
' "$out.all" >"$out"
rm -f "$out.known" "$out.empty" "$out.regex" "$out.all"
