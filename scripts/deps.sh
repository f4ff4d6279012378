#!/usr/bin/env bash
# Gets a bare Debian (a Rust toolchain, make and this checkout) ready to build and run Lettercase.
#
#   scripts/deps.sh demo    what `make demo` needs
#   scripts/deps.sh test    that and what `make test` needs
#   scripts/deps.sh bench   what `lettercase bench letters` compares with
#
# What only builds or reads (a C compiler, CA certificates, Python for the object-store mock, Node.js for
# the client of resumable uploads, qpdf and poppler for letters) is installed by apt-get.
# What has a service of its own (ClamAV, PostgreSQL) is never installed: it is downloaded and unpacked under
# .tools, so that nothing is started or enabled on this machine and nothing of its owner's is touched.
# NO_INSTALL=1 changes nothing: it says what is missing and fails if anything is.
set -euo pipefail
umask 022

purpose=${1:-}
case $purpose in
    demo | test | bench) ;;
    *)
        echo "usage: scripts/deps.sh demo|test|bench" >&2
        exit 2
        ;;
esac
for_what="make $purpose"
[ "$purpose" != bench ] || for_what="lettercase bench letters"
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
export PATH="$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin"
only_check=${NO_INSTALL:-}
missing=0

say() { printf 'deps: %s\n' "$*"; }
lack() {
    say "missing: $*"
    missing=1
}

have_cargo() {
    # The least version this package takes, as its manifest says it.
    local least version
    command -v cargo >/dev/null && command -v rustc >/dev/null || return 1
    least=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
    version=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "${least:-0}" "$version" | sort -V | head -n 1)" = "${least:-0}" ]
}
have_c() {
    local out=0
    command -v cc >/dev/null || return 1
    scratch=$(mktemp) && printf '#include <stdio.h>\nint main(void){return 0;}\n' |
        cc -x c -o "$scratch" - 2>/dev/null || out=1
    rm -f "$scratch"
    return $out
}
have_certificates() {
    [ -s "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ]
}
have_zones() { [ -e /usr/share/zoneinfo/America/New_York ]; }
have_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }
have_curl() { command -v curl >/dev/null; }
have_node() { command -v node >/dev/null && command -v npm >/dev/null; }
have_qpdf() { command -v qpdf >/dev/null; }
have_poppler() { command -v pdftotext >/dev/null && command -v pdfinfo >/dev/null && command -v pdffonts >/dev/null &&
    command -v pdftoppm >/dev/null; }
have_pango() {
    # what WeasyPrint opens by name
    local known
    known=$(ldconfig -p) && grep -q 'libpango-1\.0\.so\.0' <<<"$known" && grep -q 'libpangoft2-1\.0\.so\.0' <<<"$known" &&
        grep -q 'libharfbuzz-subset\.so\.0' <<<"$known"
}
have_setpriv() { [ "$(id -u)" != 0 ] || command -v setpriv >/dev/null; }

# 1. The toolchain: never installed for you, since where it goes is yours to say.
if have_cargo; then
    say "ok: $(rustc --version)"
else
    say "missing: Rust $(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml) or later (https://rustup.rs)"
    exit 1
fi

# 2. Packages without services.
packages=()
need() { # CHECK WHAT PACKAGE...
    local check=$1 what=$2
    shift 2
    if "$check"; then
        say "ok: $what"
    else
        lack "$what"
        packages+=("$@")
    fi
}
need have_c "C compiler and headers (SQLite, TLS)" gcc libc6-dev
need have_certificates "CA certificates" ca-certificates
need have_zones "time zones" tzdata
if [ "$purpose" = test ]; then
    need have_venv "Python with venv (object-store mock, calendar oracle)" python3 python3-venv
    need have_curl "curl (the integrator's guide is run)" curl
    need have_node "Node.js with npm (client of resumable uploads)" nodejs npm
    need have_qpdf "qpdf (reads the letters' PDFs)" qpdf
    need have_poppler "pdftotext, pdfinfo, pdffonts, pdftoppm (read the letters' PDFs)" poppler-utils
    need have_setpriv "setpriv (PostgreSQL refuses root)" util-linux
fi

if [ "$purpose" = bench ]; then
    need have_venv "Python with venv (WeasyPrint)" python3 python3-venv
    need have_pango "Pango (sets the text of WeasyPrint)" libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0
fi

if [ ${#packages[@]} -gt 0 ] && [ -z "$only_check" ]; then
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            say "please run as root: apt-get install --no-install-recommends ${packages[*]}"
            exit 1
        fi
        as_root=(sudo)
    fi
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here; please install what these are called on your system: ${packages[*]}"
        exit 1
    fi
    say "installing ${packages[*]}"
    mkdir -p .tools
    if ! {
        "${as_root[@]}" apt-get -q update &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
                apt-get -q -y --no-install-recommends install "${packages[@]}"
    } >.tools/apt-install.log 2>&1; then
        tail -n 20 .tools/apt-install.log >&2
        say "apt-get failed; its whole log is .tools/apt-install.log"
        exit 1
    fi
    missing=0
fi

# 3. Components with services: unpacked, never installed.
have_clamav() { command -v clamd >/dev/null || [ -x .tools/bin/clamd ]; }
have_postgres() { scripts/tools-postgres.sh --check; }
have_moto() { [ -x .tools/venv/bin/moto_server ]; }
have_tus() { scripts/tools-tus.sh --check; }
have_schemathesis() { ls .tools/schemathesis/schemathesis-*.installed >/dev/null 2>&1; }
have_weasyprint() { ls .tools/weasyprint/weasyprint-*.installed >/dev/null 2>&1; }
have_zxing() { ls .tools/venv/zxing-*.installed >/dev/null 2>&1; }
have_postfix() { [ -x .tools/bin/smtp-sink ] && [ -x .tools/bin/smtp-source ]; }
have_faketime() { [ -f .tools/lib/libfaketime.so.1 ]; }
have_dkimpy() { ls .tools/venv/dkimpy-*.installed >/dev/null 2>&1; }
have_numpy() { [ -d "$(echo .tools/venv/lib/python3*/site-packages/numpy)" ]; }

component() { # CHECK WHAT SCRIPT [ARGUMENT...]
    local check=$1 what=$2 script=$3
    shift 3
    if [ -n "$only_check" ]; then
        if "$check"; then say "ok: $what"; else lack "$what"; fi
    elif [ -x "$script" ]; then
        # The script itself sees whether there is anything left to do.
        "$script" "$@" || { say "failed: $what ($script)"; exit 1; }
        say "ok: $what"
    elif "$check"; then
        say "ok: $what"
    else
        lack "$what"
    fi
}
if [ "$purpose" = bench ]; then
    component have_weasyprint "WeasyPrint" scripts/tools-weasyprint.sh
elif [ "$purpose" = demo ]; then
    component have_clamav "ClamAV" scripts/tools-clamav.sh
else
    component have_clamav "ClamAV" scripts/tools-clamav.sh --testfiles
    component have_postgres "PostgreSQL" scripts/tools-postgres.sh
    component have_moto "object-store mock" scripts/tools-moto.sh
    component have_tus "client of resumable uploads" scripts/tools-tus.sh
    component have_schemathesis "schemathesis (sends what the API describes)" scripts/tools-schemathesis.sh
    component have_numpy "numpy (calendar oracle)" scripts/tools-numpy.sh
    component have_zxing "zxing-cpp (reads bar codes off printed sheets)" scripts/tools-zxing.sh
    component have_postfix "smtp-sink (takes and refuses mails)" scripts/tools-postfix.sh
    component have_faketime "libfaketime (a node whose clock is wrong)" scripts/tools-faketime.sh
    component have_dkimpy "dkimpy (verifies signatures of mails)" scripts/tools-dkimpy.sh
fi

if [ "$missing" != 0 ]; then
    say "not ready for $for_what"
    exit 1
fi
say "ready for $for_what"
