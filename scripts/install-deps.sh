#!/bin/sh
# Installs what the build and the tests need from Debian, once. Fast when nothing is missing.
set -eu
packages="meson ninja-build pkg-config gcc libc6-dev clang clang-format libclang-rt-14-dev git
libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libprotobuf-dev libssl-dev libuv1-dev
libc-ares-dev libyaml-dev libjansson-dev libsqlite3-dev libseccomp-dev libcap-dev zlib1g-dev libzstd-dev
libssh-dev uidmap zstd libcmocka-dev mandoc curl ca-certificates openssl python3 python3-grpcio python3-protobuf python3-h2 iproute2
universal-ctags openssh-client zsh fish python3-requests python3-urllib3 python3-httpx python3-websockets netcat-openbsd"
missing=""
for p in $packages; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then sudo=""; elif command -v sudo >/dev/null; then sudo=sudo; else
    echo "error: these packages are missing and this user may not install them:$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q >/dev/null
$sudo apt-get install -y -q --no-install-recommends $missing >/dev/null
