#!/usr/bin/env bash
# Installs schemathesis into a venv of its own, .tools/schemathesis: the tests send what the API's own description
# allows and forbids. Does nothing when the pinned version is there, so `make` may call it each time.
set -euo pipefail

version=4.32.5

cd "$(dirname "$0")/.."
venv=.tools/schemathesis
stamp=$venv/schemathesis-$version.installed

if [ -e "$stamp" ]; then
  exit 0
fi
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "schemathesis==$version"
"$venv/bin/schemathesis" --version >/dev/null
touch "$stamp"
echo "tools-schemathesis: schemathesis $version is in $venv"
