#!/usr/bin/env bash
# Puts clamd and clamdscan under .tools without installing them: nothing is written outside .tools, no
# service is registered or started, and root is not needed. The tests and `make demo` use it where the
# machine has no ClamAV of its own.
#
#   scripts/tools-clamav.sh                 clamd and clamdscan
#   scripts/tools-clamav.sh --testfiles     also Debian's clamav-testfiles (harmless samples), for the tests
#   scripts/tools-clamav.sh --dest DIR      another place than .tools
#
# Leaves DEST/root (the packages' files) and DEST/bin/{clamd,clamdscan} (wrappers that find their libraries).
set -euo pipefail

dest="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.tools"
testfiles=no
while [ $# -gt 0 ]; do
  case "$1" in
    --testfiles) testfiles=yes ;;
    --dest) shift; dest="${1:?--dest needs a directory}" ;;
    *) echo "usage: $0 [--testfiles] [--dest DIR]" >&2; exit 2 ;;
  esac
  shift
done
mkdir -p "$dest"
dest="$(cd "$dest" && pwd)"
root="$dest/root"
bin="$dest/bin"

# --help needs no configuration; --version would want one in /etc.
works() {
  [ -x "$bin/clamd" ] && [ -x "$bin/clamdscan" ] &&
    "$bin/clamd" --help >/dev/null 2>&1 && "$bin/clamdscan" --help >/dev/null 2>&1
}
samples_there() { [ "$testfiles" = no ] || [ -e "$root/usr/share/clamav-testfiles/clam.exe" ]; }

if works && samples_there; then
  exit 0
fi

wanted=()
# What the machine already has is used from there: a second copy would only drift from it.
if command -v clamd >/dev/null && command -v clamdscan >/dev/null; then :; else wanted+=(clamav-daemon clamdscan); fi
[ "$testfiles" = no ] || wanted+=(clamav-testfiles)
if [ "${#wanted[@]}" -gt 0 ]; then
  "$(dirname "${BASH_SOURCE[0]}")/unpack-debs.sh" "$root" "${wanted[@]}"
fi

wrap() { # name, path inside the package
  local target="$root/$2"
  [ -x "$target" ] || target="$(command -v "$1")" || { echo "$0: no $1 came with the packages" >&2; exit 1; }
  local libraries
  libraries="$(find "$root" -name 'libclamav.so*' -printf '%h\n' 2>/dev/null | sort -u | head -1)"
  # exec, so that the process is clamd itself: signals and the parent-death signal then reach it.
  cat >"$bin/$1.new" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec '$target' "\$@"
WRAPPER
  chmod 0755 "$bin/$1.new"
  mv "$bin/$1.new" "$bin/$1"
}
mkdir -p "$bin"
wrap clamd usr/sbin/clamd
wrap clamdscan usr/bin/clamdscan

works || {
  echo "$0: clamd does not start:" >&2
  "$bin/clamd" --help >&2 || true
  exit 1
}
samples_there || { echo "$0: clamav-testfiles has no clam.exe" >&2; exit 1; }
