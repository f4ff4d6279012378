#!/usr/bin/env bash
# Installs zxing-cpp into .tools/venv: the tests read the bar codes of printed sheets with it, off the picture. Does nothing
# when the pinned version is there, so `make` may call it each time.
set -euo pipefail

version=3.1.1

cd "$(dirname "$0")/.."
venv=.tools/venv
stamp=$venv/zxing-$version.installed

if [ -e "$stamp" ]; then
  exit 0
fi
# the venv and numpy, which pictures are handed over in
scripts/tools-numpy.sh
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "zxing-cpp==$version"
"$venv/bin/python" -c 'import numpy, zxingcpp; zxingcpp.read_barcodes(numpy.full((8, 8), 255, numpy.uint8))'
touch "$stamp"
echo "tools-zxing: zxing-cpp $version is in $venv"
