#!/usr/bin/env bash
# Downloads Debian packages and the libraries they need and this machine lacks, and unpacks them into a
# directory. Nothing is installed: dpkg's database, its services and apt's own lists stay as they are, and
# no rights are needed. Later calls download only what changed.
#
#   scripts/unpack-debs.sh DIR PACKAGE...
#
# Of what apt would install beside the named packages only libraries are taken: the rest (adduser, debconf,
# perl and so on) serves their installation scripts, which never run here. A PACKAGE with a `*` in it is not
# asked for, but kept where apt brings it along: `postgresql 'postgresql-[0-9]*'` is whichever version it is.
set -euo pipefail
umask 022

if [ $# -lt 2 ]; then
    echo "usage: scripts/unpack-debs.sh DIR PACKAGE..." >&2
    exit 2
fi
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1" "$top/.tools"
dir=$(cd "$1" && pwd)
shift
asked=() kept=()
for package in "$@"; do
    kept+=("$package")
    case $package in *'*'*) ;; *) asked+=("$package") ;; esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "unpack-debs: no apt here; please install by other means: $*" >&2
    exit 1
fi

exec 9>"$top/.tools/lock"
flock 9

# An apt of our own beside the system's: its sources, proxies and keys, but lists and cache under .tools.
state="$top/.tools/apt"
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
apt() {
    apt-get -q -o Dir::State="$state" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$state/cache" \
        -o Debug::NoLocking=true -o APT::Sandbox::User= -o Acquire::Retries=3 \
        -o Acquire::Languages=none -o Acquire::GzipIndexes=true "$@"
}
if [ -z "$(find "$state/lists" -maxdepth 1 -name '*Packages*' -mtime -1 -print -quit)" ]; then
    echo "unpack-debs: reading the package lists"
    apt update >"$state/update.log" 2>&1 || { cat "$state/update.log" >&2; exit 1; }
fi

if ! plan=$(apt --simulate --reinstall --no-install-recommends install "${asked[@]}" 2>"$state/plan.log"); then
    printf '%s\n' "$plan" >&2
    cat "$state/plan.log" >&2
    exit 1
fi

wanted_by_name() {
    local pattern
    for pattern in "${kept[@]}"; do
        # shellcheck disable=SC2053 # it is meant as a pattern
        [[ $1 == $pattern ]] && return 0
    done
    return 1
}

wanted_as_library() {
    case $1 in
        # The C library must be the running loader's; the others serve perl or just-in-time code.
        libc6* | libc-* | libllvm* | libz3-* | libperl* | lib*-perl) return 1 ;;
        lib*) return 0 ;;
        *) return 1 ;;
    esac
}

# `Inst NAME [OLD] (NEW SUITE [ARCH])` is what apt would do.
wanted=()
while read -r name version; do
    wanted_by_name "$name" || wanted_as_library "$name" || continue
    [ -e "$dir/.unpacked/${name}_$version" ] || wanted+=("$name=$version")
done < <(printf '%s\n' "$plan" | sed -n 's/^Inst \([^ ]*\) \(\[[^]]*\] \)\{0,1\}(\([^ ]*\) .*/\1 \3/p')

for package in "${asked[@]}"; do
    if ! grep -q "^Inst $package " <<<"$plan"; then
        echo "unpack-debs: apt can't download $package" >&2
        exit 1
    fi
done
[ ${#wanted[@]} -gt 0 ] || exit 0

echo "unpack-debs: downloading ${#wanted[@]} packages for ${asked[*]}"
(cd "$state/cache/archives" && apt download "${wanted[@]}" >"$state/download.log" 2>&1) ||
    { cat "$state/download.log" >&2; exit 1; }
mkdir -p "$dir/.unpacked"
for item in "${wanted[@]}"; do
    name=${item%%=*} version=${item#*=}
    # apt writes the epoch's colon as %3a in file names.
    deb=("$state/cache/archives/${name%%:*}_${version//:/%3a}"_*.deb)
    dpkg-deb -x "${deb[0]}" "$dir"
    touch "$dir/.unpacked/${name}_$version"
    rm -f "${deb[0]}"
done
