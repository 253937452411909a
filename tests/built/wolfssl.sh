#!/bin/sh
# usage: wolfssl.sh DIRECTORY
# Builds wolfSSL's example programs from Debian's source package: its binary package has neither
# DTLS 1.3 nor connection ids. Stable suites have versions without the hybrid groups.
set -eu
. "$(dirname "$0")/build.sh"
begin "$1"
source_tree wolfssl sid
cd "$WORK/tree"
step sh autogen.sh
step ./configure --quiet --disable-shared --enable-static --disable-crypttests \
    --enable-dtls --enable-dtls13 --enable-dtls-mtu --enable-dtls-frag-ch --enable-dtlscid \
    --enable-psk --enable-aesccm --enable-srtp --enable-alpn --enable-session-ticket \
    --enable-postauth --enable-curve25519 --enable-ed25519 --enable-curve448 --enable-ed448 \
    --enable-mlkem --enable-sni --enable-hkdf --enable-rpk
step make examples/client/client examples/server/server
mkdir -p "$BUILT/examples/client" "$BUILT/examples/server"
cp examples/client/client "$BUILT/examples/client/"
cp examples/server/server "$BUILT/examples/server/"
cp -r certs "$BUILT/certs"
finish
