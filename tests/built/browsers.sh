#!/bin/sh
# usage: browsers.sh TARGET
# Links Chromium, Firefox and chromedriver below TARGET. Only root can install those that are missing.
set -eu
target=$1
PROGRAMS="chromium chromedriver firefox-esr"
PACKAGES="chromium chromium-driver firefox-esr"

missing() {
    for program in $PROGRAMS; do
        command -v "$program" >/dev/null || printf '%s ' "$program"
    done
}

if [ -n "$(missing)" ] && [ "$(id -u)" = 0 ] && [ "${AIODTLS_NO_APT:-}" != 1 ]; then
    apt-get -qq update || exit 75
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $PACKAGES || exit 75
fi
if [ -n "$(missing)" ]; then
    echo "missing: $(missing)" >&2
    exit 75
fi
mkdir -p "$target"
for program in $PROGRAMS; do
    ln -sf "$(command -v "$program")" "$target/$program"
done
