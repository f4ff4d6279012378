#!/usr/bin/env bash
# Puts libfaketime at .tools/lib/libfaketime.so.1: preloaded, it gives a process another clock than its machine's. Nothing is
# installed. Does nothing where it is there.
#
#   scripts/tools-faketime.sh
set -euo pipefail
umask 022

top=$(cd "$(dirname "$0")/.." && pwd)
library="$top/.tools/lib/libfaketime.so.1"

# A clock is moved by an hour.
works() {
    local now then
    [ -f "$library" ] || return 1
    now=$(date -u +%s)
    then=$(LD_PRELOAD="$library" FAKETIME=+1h date -u +%s) || return 1
    [ $((then - now)) -ge 3600 ] && [ $((then - now)) -lt 3660 ]
}
works && exit 0

root="$top/.tools/root"
"$top/scripts/unpack-debs.sh" "$root" libfaketime
found=$(find "$root/usr/lib" -path '*/faketime/libfaketime.so.1' -type f -print -quit)
[ -n "$found" ] || { echo "tools-faketime: the package has no libfaketime.so.1" >&2; exit 1; }
mkdir -p "$(dirname "$library")"
cp "$found" "$library.new"
mv "$library.new" "$library"
works || { echo "tools-faketime: the library does not move a clock" >&2; exit 1; }
echo "tools-faketime: $(find "$root/.unpacked" -name 'libfaketime_*' -printf '%f\n')"
