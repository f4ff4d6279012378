#!/usr/bin/env bash
# Runs a node of an earlier commit beside one of this checkout, both on one PostgreSQL with this checkout's schema
# (tests/backup/rolling.rs says what must hold). The earlier node is built here, from a worktree under target/.
#
#   scripts/upgrade-test.sh [COMMIT]    COMMIT: a commit whose schema is older than this one's
set -euo pipefail
umask 022

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
# The last commit before migration 0007. Take a later one once this one's schema is no longer served.
commit=${1:-4d381af1d538}
source="$top/target/upgrade-source"
built="$top/target/upgrade"

if ! git cat-file -e "$commit^{commit}" 2>/dev/null; then
    echo "upgrade-test: commit $commit is not in this clone; a shallow one has to be deepened: git fetch --unshallow" >&2
    exit 1
fi
commit=$(git rev-parse "$commit^{commit}")
if [ "$(git -C "$source" rev-parse HEAD 2>/dev/null)" != "$commit" ] || [ "$(git -C "$source" rev-parse --show-toplevel 2>/dev/null)" != "$source" ]; then
    [ ! -d "$source" ] || git worktree remove --force "$source"
    git worktree prune
    git worktree add --detach "$source" "$commit" >/dev/null
fi
# Dependencies of the same versions need no second build: copies of what is there, since cargo writes into its own files.
if [ ! -d "$built" ] && [ -d target/debug/deps ]; then
    mkdir -p "$built/debug"
    cp target/CACHEDIR.TAG "$built/" 2>/dev/null || true
    cp -a target/debug/.fingerprint target/debug/build "$built/debug/"
    mkdir "$built/debug/deps"
    find target/debug/deps -maxdepth 1 -type f ! -name '*lettercase-*' -exec cp -al -t "$built/debug/deps" {} +
fi
echo "upgrade-test: building $(git log -1 --format='%h of %cs: %s' "$commit")"
cargo build --quiet --locked --manifest-path "$source/Cargo.toml" --target-dir "$built"
export LETTERCASE_TEST_OLDER="$built/debug/lettercase"
echo "upgrade-test: $("$LETTERCASE_TEST_OLDER" --version) of $(git rev-parse --short "$commit")"
exec cargo test --test lettercase -- --exact --nocapture --ignored backup::rolling::an_older_node_and_this_one_work_side_by_side_on_the_newer_schema
