#!/usr/bin/env bash
# Installs tus-js-client, the client with which the tests send resumable uploads, into .tools/node: exactly what the
# lock file under tests/uploads/client names. Does nothing when that is there, so `make` may call it each time.
#
#   scripts/tools-tus.sh [--check]     --check: only say whether it is there
set -euo pipefail

cd "$(dirname "$0")/.."
from=tests/uploads/client
to=.tools/node

there() {
  cmp -s "$from/package.json" "$to/package.json" && cmp -s "$from/package-lock.json" "$to/installed.json" &&
    [ -e "$to/node_modules/tus-js-client/package.json" ]
}

if [ "${1:-}" = --check ]; then
  there
  exit
fi
there && exit 0
if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
  echo "tools-tus: node and npm are missing; they are needed for the upload tests (Debian: apt-get install nodejs npm)" >&2
  exit 1
fi

mkdir -p "$to"
cp "$from/package.json" "$from/package-lock.json" "$to/"
# No package's own scripts: nothing of them has to be built.
npm ci --prefix "$to" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
node -e 'require(process.argv[1])' "$PWD/$to/node_modules/tus-js-client"
cp "$from/package-lock.json" "$to/installed.json"
echo "tools-tus: tus-js-client is in $to"
