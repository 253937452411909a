#!/bin/sh
# usage: mbedtls.sh DIRECTORY
# Builds mbedTLS's example programs from Debian's source package: no package has them.
set -eu
. "$(dirname "$0")/build.sh"
begin "$1"
source_tree mbedtls trixie
cd "$WORK/tree"
step make lib
step make -C programs ssl/ssl_client2 ssl/ssl_server2 test/udp_proxy
mkdir -p "$BUILT/programs/ssl" "$BUILT/programs/test"
cp programs/ssl/ssl_client2 programs/ssl/ssl_server2 "$BUILT/programs/ssl/"
cp programs/test/udp_proxy "$BUILT/programs/test/"
finish
