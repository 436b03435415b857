#!/bin/sh
# Puts what `make build` made where it is used, or takes it away again. Nothing is compiled and nothing in the build
# directory changes, so the same build can be installed in several places.
# Usage: install.sh {install|uninstall} [BUILD]    environment: DESTDIR (default empty), PREFIX (default /usr/local)
set -eu
what=${1:-}
cd "$(dirname "$0")/.."
build=${2:-build}
prefix=${PREFIX:-/usr/local}
case $prefix in
/*) ;;
*) echo "error: PREFIX must be an absolute path, not '$prefix'" >&2; exit 2 ;;
esac
prefix=${prefix%/}
root=${DESTDIR:-}$prefix
share=$root/share
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Every installed file, one line: mode, where it comes from, where below the prefix it goes.
list() {
    for program in openshell openshell-gateway; do
        echo "755 $build/bin/$program bin/$program"
    done
    # The gateway looks for these beside itself, then here.
    for program in openshell-sandbox openshell-local-launcher openshell-driver-local; do
        echo "755 $build/bin/$program libexec/openshell/$program"
    done
    find "$build/share/man" -type f | sort | while read -r page; do
        echo "644 $page share/${page#"$build/share/"}"
    done
    echo "644 $work/openshell.bash share/bash-completion/completions/openshell"
    echo "644 $work/openshell.zsh share/zsh/site-functions/_openshell"
    echo "644 $work/openshell.fish share/fish/vendor_completions.d/openshell.fish"
    echo "644 $work/openshell-gateway.service lib/systemd/user/openshell-gateway.service"
    echo "644 $work/openshell-gateway-system.service lib/systemd/system/openshell-gateway.service"
    echo "644 LICENSE share/doc/openshell/LICENSE"
    find examples -type f | sort | while read -r example; do
        echo "644 $example share/doc/openshell/$example"
    done
}

[ -x "$build/bin/openshell" ] && [ -d "$build/share/man" ] || {
    echo "error: there is no build in '$build'; run make build first" >&2
    exit 1
}
case $what in
install)
    for shell in bash zsh fish; do
        "$build/bin/openshell" completions $shell >"$work/openshell.$shell"
    done
    for unit in deploy/systemd/*.service; do
        sed "s|@BINDIR@|$prefix/bin|" "$unit" >"$work/$(basename "$unit")"
    done
    list >"$work/list"
    while read -r mode from to; do
        strip=
        [ "$mode" = 644 ] || strip=-s
        install -D -m "$mode" $strip "$from" "$root/$to"
    done <"$work/list"
    echo "installed $(wc -l <"$work/list") files below $root"
    ;;
uninstall)
    list >"$work/list"
    while read -r _ _ to; do
        rm -f "$root/$to"
    done <"$work/list"
    # Directories that only our files were in. Those of the system stay, ours or not.
    while read -r _ _ to; do
        dir=${to%/*}
        while :; do
            case $(printf '%s\n' "$root/$dir" | tr -s /) in
            */openshell | */openshell/*) ;;
            /usr/* | /lib/* | /etc/*) break ;;
            esac
            rmdir "$root/$dir" 2>/dev/null || [ ! -e "$root/$dir" ] || break
            case $dir in
            */*) dir=${dir%/*} ;;
            *) break ;;
            esac
        done
    done <"$work/list"
    echo "removed what was installed below $root"
    ;;
*)
    echo "usage: $0 {install|uninstall} [BUILD]" >&2
    exit 2
    ;;
esac
