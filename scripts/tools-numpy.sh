#!/usr/bin/env bash
# Installs numpy into .tools/venv: the tests compare our calendar with its business days. Does nothing when the
# pinned version is there, so `make` may call it each time.
set -euo pipefail

version=2.4.6

cd "$(dirname "$0")/.."
venv=.tools/venv
stamp=$venv/numpy-$version.installed

if [ -e "$stamp" ]; then
  exit 0
fi
# the venv is made by the one that needs it first
scripts/tools-moto.sh
# by the interpreter, not by bin/pip: a venv that was copied still installs into itself
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "numpy==$version"
"$venv/bin/python" -c 'import numpy, zoneinfo; numpy.busday_offset("2026-01-01", 1); zoneinfo.ZoneInfo("America/New_York")'
touch "$stamp"
echo "tools-numpy: numpy $version is in $venv"
