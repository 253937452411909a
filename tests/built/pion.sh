#!/bin/sh
# usage: pion.sh DIRECTORY
# Builds our driver of pion/dtls (tests/foreign/pion) from Debian's packages of Go and of pion's
# release, which speaks DTLS 1.2 alone.
set -eu
. "$(dirname "$0")/build.sh"
driver=$(cd "$(dirname "$0")/../foreign/pion" && pwd)
begin "$1" "$driver"/*.go
open_apt "$WORK/apt" forky
unpack "$WORK/root" golang-go golang-github-pion-dtls-v3-dev
# Debian's packages have the layout of a GOPATH.
GOROOT=$(echo "$WORK"/root/usr/lib/go-*)
GOPATH=$WORK/root/usr/share/gocode
export GOROOT GOPATH GO111MODULE=off GOTOOLCHAIN=local GOFLAGS= CGO_ENABLED=0 GOCACHE="$WORK/cache"
cp -r "$driver" "$WORK/driver"
cd "$WORK/driver"
step "$GOROOT/bin/go" build -tags dtls12 -o "$BUILT/pion-driver" .
finish
