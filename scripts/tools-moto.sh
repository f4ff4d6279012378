#!/usr/bin/env bash
# Installs moto_server, the S3 server on which the tests look at versions, tags and encryption requests,
# into .tools/venv. Does nothing when the pinned version is there, so `make` may call it each time.
set -euo pipefail

version=5.2.5

cd "$(dirname "$0")/.."
venv=.tools/venv
stamp=$venv/moto-$version.installed

if [ -e "$stamp" ] && [ -x "$venv/bin/moto_server" ]; then
  exit 0
fi
if ! command -v python3 >/dev/null; then
  echo "tools-moto: python3 is missing; it is needed for the S3 tests (Debian: apt-get install python3-venv)" >&2
  exit 1
fi
# Debian splits ensurepip off, and a venv without pip looks whole until it is used.
if ! python3 -c 'import ensurepip' 2>/dev/null; then
  echo "tools-moto: python3 has no venv module (Debian: apt-get install python3-venv)" >&2
  exit 1
fi

[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-input "moto[server]==$version"
"$venv/bin/moto_server" --help >/dev/null
touch "$stamp"
echo "tools-moto: moto $version is in $venv"
