#!/bin/sh
# usage: debian13.sh DIRECTORY
# Unpacks foreign peers of Debian 13, with all they need, below DIRECTORY: newer than what the
# system has, and beside it. Nothing is installed and root is not needed: the packages are fetched
# by apt with a state of its own, and their programs run by their own dynamic linker
# (tests/peers.py). A directory made from the same list of packages is kept.
set -eu
PACKAGES="libnss3-tools openssl gnutls-bin"
# The mirror that the system itself uses.
SITES=$(apt-get indextargets --format '$(SITE)' | grep -v security | sort -u)
MIRROR=${AIODTLS_DEBIAN_MIRROR:-$(echo "$SITES" | head -n 1)}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
SECONDS_AT_MOST=300

target=$1
if [ "$(cat "$target/packages" 2>/dev/null)" = "$PACKAGES" ]; then
    exit 0
fi
[ -r "$KEYRING" ] || { echo "no $KEYRING to verify Debian's packages by" >&2; exit 1; }
echo "fetching Debian 13's $PACKAGES into $target"
mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/unpacked"
: >"$work/status"
echo "deb [signed-by=$KEYRING] $MIRROR trixie main" >"$work/sources.list"
apt() {
    timeout "$SECONDS_AT_MOST" apt-get -qq -o Dir::State="$work" -o Dir::State::lists="$work/lists" \
        -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" -o APT::Sandbox::User= \
        -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
        -o Acquire::Languages=none -o Debug::NoLocking=1 "$@"
}
apt update
# shellcheck disable=SC2086
apt install -y --no-install-recommends --download-only $PACKAGES >/dev/null
for package in "$work"/cache/archives/*.deb; do
    dpkg-deb --extract "$package" "$work/unpacked"
done
echo "$PACKAGES" >"$work/unpacked/packages"
chmod 755 "$work/unpacked"
rm -rf "$target"
mv "$work/unpacked" "$target"
