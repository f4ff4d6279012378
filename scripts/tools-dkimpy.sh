#!/usr/bin/env bash
# Installs dkimpy into .tools/venv: the tests verify the signatures of mails with it. Does nothing when the pinned version is
# there, so `make` may call it each time.
set -euo pipefail

version=1.1.8

cd "$(dirname "$0")/.."
venv=.tools/venv
stamp=$venv/dkimpy-$version.installed

if [ -e "$stamp" ]; then
  exit 0
fi
# the venv
scripts/tools-numpy.sh
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "dkimpy==$version" "pynacl==1.6.2"
"$venv/bin/python" -c 'import dkim, nacl'
touch "$stamp"
echo "tools-dkimpy: dkimpy $version is in $venv"
