#!/usr/bin/env bash
# Installs WeasyPrint into a venv of its own, .tools/weasyprint: `lettercase bench letters` compares with it. Does nothing
# when the pinned version is there, so `make` may call it each time.
set -euo pipefail

version=70.0

cd "$(dirname "$0")/.."
venv=.tools/weasyprint
stamp=$venv/weasyprint-$version.installed

if [ -e "$stamp" ]; then
  exit 0
fi
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "weasyprint==$version"
# it finds pango only now
"$venv/bin/python" -c 'import weasyprint; weasyprint.HTML(string="<p>a</p>").write_pdf()'
touch "$stamp"
echo "tools-weasyprint: WeasyPrint $version is in $venv"
