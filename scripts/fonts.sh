#!/usr/bin/env bash
# Makes templates/fonts/ anew from Debian's packages. Needed only when a font or a text of
# templates/letters/common/languages.toml in Chinese, Japanese or Korean changes; the result is committed, since the
# same letter has to have the same bytes on every machine.
#
# Needs apt-get, dpkg, Python with venv, and the network. The same packages and texts give the same bytes.
set -euo pipefail
umask 022
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"

core=fonts-noto-core=20201225-1
cjk=fonts-noto-cjk=1:20220127+repack1-1
fonttools=fonttools==4.68.0
out=templates/fonts
texts=templates/letters/common/languages.toml

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet "$fonttools"
(cd "$scratch" && apt-get -q download "$core" "$cjk")
for package in "$scratch"/*.deb; do dpkg -x "$package" "$scratch/root"; done
noto=$scratch/root/usr/share/fonts

subset() { # FILE NAME ARGUMENT...
    local file=$1 name=$2
    shift 2
    # Layout stays whole, hints for screens go; the time of the font's making stays as it was.
    "$scratch/venv/bin/pyftsubset" "$file" --output-file="$out/$name" --layout-features='*' --no-hinting \
        --glyph-names --name-IDs='*' --notdef-outline --no-recalc-timestamp "$@"
}
for style in Regular Bold; do
    # Whole scripts: names and addresses are written in them.
    for family in NotoSans NotoSansArabic NotoSansDevanagari; do
        subset "$noto/truetype/noto/$family-$style.ttf" "$family-$style.ttf" --unicodes='*'
    done
    # Only what the page of languages says: the whole fonts have 20 MB each. The numbers are the faces of the collection.
    for face in 0:JP 1:KR 2:SC 3:TC; do
        subset "$noto/opentype/noto/NotoSansCJK-$style.ttc" "NotoSansCJK${face#*:}-$style.otf" \
            --font-number="${face%:*}" --text-file="$texts"
    done
done
install -m 644 "$scratch/root/usr/share/doc/fonts-noto-core/copyright" "$out/LICENSE-noto-core.txt"
install -m 644 "$scratch/root/usr/share/doc/fonts-noto-cjk/copyright" "$out/LICENSE-noto-cjk.txt"
ls -l "$out"
