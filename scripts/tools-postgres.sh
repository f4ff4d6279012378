#!/usr/bin/env bash
# Gives the tests a PostgreSQL of their own: `.tools/bin/initdb` and `.tools/bin/postgres` (and pg_ctl, psql, pg_dump,
# pg_restore).
# They run the system's PostgreSQL where there is one, else an unpacked one; no service is installed,
# started or touched. Run by root, they step down to `nobody` (scripts/README.md).
#
#   scripts/tools-postgres.sh [--check]     --check: only say whether it is there
set -euo pipefail
umask 022

top=$(cd "$(dirname "$0")/.." && pwd)
bin="$top/.tools/bin"
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)

# Can the user that will run it reach it? PostgreSQL refuses root.
reachable() {
    if [ "$(id -u)" = 0 ]; then "${nobody[@]}" test -x "$1"; else test -x "$1"; fi
}

works() {
    [ -x "$bin/postgres" ] && [ -x "$bin/pg_restore" ] && "$bin/postgres" --version >/dev/null 2>&1
}

newest() {
    # The highest version's bin directory under the given root, if any.
    local found
    found=$(find "$1/usr/lib/postgresql" -mindepth 3 -maxdepth 3 -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n 1)
    [ -z "$found" ] || dirname "$found"
}

if [ "${1:-}" = --check ]; then
    works || [ -n "$(newest "")" ]
    exit
fi
works && exit 0

root=
home=$(newest "")
if [ -z "$home" ]; then
    root="$top/.tools/root"
    mkdir -p "$root"
    if ! reachable "$root"; then
        # A checkout below /root, say: `nobody` can't go there, so the tree gets a place where it can.
        [ -f "$top/.tools/postgres-root" ] && root=$(cat "$top/.tools/postgres-root")
        [ -d "$root" ] && reachable "$root" || root=$(mktemp -d /var/tmp/lettercase-postgres.XXXXXX)
        chmod 755 "$root"
        printf '%s\n' "$root" >"$top/.tools/postgres-root"
    fi
    # The metapackage knows which version this Debian has.
    "$top/scripts/unpack-debs.sh" "$root" postgresql 'postgresql-[0-9]*' 'postgresql-client-[0-9]*'
    home=$(newest "$root")
    # Its just-in-time compiler wants LLVM, which is not unpacked: without this file PostgreSQL does without.
    rm -f "${home%/bin}/lib/llvmjit.so"
fi
reachable "$home/postgres" || { echo "tools-postgres: $home/postgres can't be run" >&2; exit 1; }

libraries=
if [ -n "$root" ]; then
    multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
    libraries="$root/usr/lib/$multiarch:$root/lib/$multiarch:$root/usr/lib:$root/lib"
fi

mkdir -p "$bin"
for tool in initdb postgres pg_ctl psql pg_dump pg_restore; do
    cat >"$bin/$tool.new" <<WRAPPER
#!/usr/bin/env bash
# Made by scripts/tools-postgres.sh.
home='$home'
libraries='$libraries'
WRAPPER
    cat >>"$bin/$tool.new" <<'WRAPPER'
tool=$(basename "$0")
if [ -n "$libraries" ]; then
    export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
if [ "$(id -u)" != 0 ]; then
    exec "$home/$tool" "$@"
fi
case $tool in psql | pg_dump | pg_restore) exec "$home/$tool" "$@" ;; esac
# PostgreSQL refuses root. The data directory has to belong to the user it runs as; so it is made, and
# handed over, here. Only an empty directory changes its owner.
if [ "$tool" = initdb ]; then
    data=${PGDATA:-} previous=
    for argument in "$@"; do
        case $argument in
            --pgdata=*) data=${argument#--pgdata=} ;;
            -D?*) data=${argument#-D} ;;
        esac
        case $previous in -D | --pgdata) data=$argument ;; esac
        previous=$argument
    done
    if [ -n "$data" ]; then
        mkdir -p "$data"
        [ -n "$(ls -A "$data")" ] || { chmod 700 "$data" && chown 65534:65534 "$data"; }
    fi
fi
# A working directory that may not be entered is a warning in each of its commands.
cd / || exit 1
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$home/$tool" "$@"
WRAPPER
    chmod 755 "$bin/$tool.new"
    mv "$bin/$tool.new" "$bin/$tool"
done
works || { echo "tools-postgres: .tools/bin/postgres does not run:" >&2; "$bin/postgres" --version >&2; exit 1; }
echo "tools-postgres: $("$bin/postgres" --version)"
