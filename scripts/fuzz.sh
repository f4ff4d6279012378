#!/usr/bin/env bash
# Runs the fuzz targets of fuzz/, one after the other.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]    each target for so long (60), or those named only
#
# Needs rustup; a nightly toolchain and cargo-fuzz are installed where they are missing, unless NO_INSTALL=1. What was
# learnt is kept in fuzz/corpus (not committed). A finding lies in fuzz/artifacts/TARGET: fix the parser, and commit the
# file as fuzz/findings/TARGET/NAME, which the test `fuzzing::` replays with the seeds.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.cargo/bin"

seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(find fuzz/fuzz_targets -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort)

install() { # NAME, then how to look for it, then how to get it, each as one word
    eval "$2" >/dev/null 2>&1 && return
    if [ -n "${NO_INSTALL:-}" ]; then
        echo "fuzz: missing: $1" >&2
        exit 1
    fi
    echo "fuzz: installing $1"
    eval "$3"
}
install 'a nightly toolchain' 'cargo +nightly --version' 'rustup toolchain install nightly --profile minimal'
install cargo-fuzz 'cargo fuzz --version' 'cargo install cargo-fuzz --version 0.13.2 --locked'

# Files that a target makes belong into memory.
[ -w /dev/shm ] && export TMPDIR=/dev/shm
# What is freed counts against the limit of memory as long as it is kept aside.
export ASAN_OPTIONS="${ASAN_OPTIONS:-quarantine_size_mb=32}"

cargo +nightly fuzz build
found=0
for target in "${targets[@]}"; do
    case $target in
        messages | records | text) most=4096 ;;
        *) most=16384 ;;
    esac
    mkdir -p "fuzz/corpus/$target" "fuzz/findings/$target"
    echo "==> $target for $seconds s"
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" "fuzz/findings/$target" -- \
        -max_total_time="$seconds" -max_len=$most -rss_limit_mb=512 -timeout=10 -print_final_stats=1 -verbosity=1 || found=1
    rmdir --ignore-fail-on-non-empty "fuzz/findings/$target" fuzz/findings
done
exit $found
