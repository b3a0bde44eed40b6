#!/bin/sh
# Unpacks peers from Debian's packages into Benchmarks/.peers; installs nothing, starts nothing.
# Who has no apt does without them, and the tables say so.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
wanted="libuv1 nginx libnginx-mod-nchan"
[ "$(cat "$here/.peers/wanted" 2>/dev/null)" != "$wanted" ] || exit 0
command -v apt-get >/dev/null && command -v dpkg >/dev/null || exit 0
rm -rf "$here/.peers"
mkdir -p "$here/.peers/packages"
cd "$here/.peers/packages"
# shellcheck disable=SC2086
apt-get download -qq $wanted 2>/dev/null || { echo "peers from Debian are not available here" >&2; exit 0; }
for package in *.deb; do dpkg -x "$package" ..; done
rm -r "$here/.peers/packages"
echo "$wanted" >"$here/.peers/wanted"
