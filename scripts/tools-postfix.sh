#!/usr/bin/env bash
# Puts Postfix's smtp-sink and smtp-source under .tools: a mail server that faults can be ordered from, and what the
# bench measures beside; and `postfix-master`, which runs a Postfix that queues for real with a configuration of its
# caller's. Nothing is installed and no service is started. Does nothing where they are there.
#
#   scripts/tools-postfix.sh
set -euo pipefail
umask 022

top=$(cd "$(dirname "$0")/.." && pwd)
bin="$top/.tools/bin"

# Asked for what it does not know, each says how it is used.
works() {
    local tool said
    for tool in smtp-sink smtp-source; do
        [ -x "$bin/$tool" ] || return 1
        said=$("$bin/$tool" -V 2>&1) || true
        grep -q usage <<<"$said" || return 1
    done
    [ -x "$bin/postfix-master" ]
}
works && exit 0

root="$top/.tools/root"
"$top/scripts/unpack-debs.sh" "$root" postfix
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
libraries="$root/usr/lib/postfix:$root/usr/lib/$multiarch:$root/lib/$multiarch"
mkdir -p "$bin"
for tool in smtp-sink smtp-source postfix-master; do
    case $tool in
        postfix-master) runs=usr/lib/postfix/sbin/master ;;
        *) runs=usr/sbin/$tool ;;
    esac
    # smtp-sink wants to be told whom to become, where root runs it
    become=
    [ "$tool" != smtp-sink ] || become='[ "$(id -u)" != 0 ] || set -- -u nobody "$@"'
    # exec, so that the process is the tool itself and signals reach it
    cat >"$bin/$tool.new" <<WRAPPER
#!/bin/sh
# Made by scripts/tools-postfix.sh.
LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
$become
exec '$root/$runs' "\$@"
WRAPPER
    chmod 755 "$bin/$tool.new"
    mv "$bin/$tool.new" "$bin/$tool"
done
works || { echo "tools-postfix: smtp-sink does not run:" >&2; "$bin/smtp-sink" -V >&2 || true; exit 1; }
echo "tools-postfix: $(find "$root/.unpacked" -name 'postfix_*' -printf '%f\n')"
