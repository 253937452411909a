#!/bin/sh
# Installs what the tests need, then runs lint, types and all tests. Arguments go to pytest.
#   AIODTLS_NO_APT=1   install no Debian packages, even as root
#   CI=true            a missing foreign peer is a failure, not a skip
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=${AIODTLS_VENV:-.venv}
PEERS="openssl gnutls-bin libcoap3-bin"
PROGRAMS="openssl gnutls-cli coap-client-openssl"

have_venv() { "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; }
missing() {
    for program in $PROGRAMS; do
        command -v "$program" >/dev/null || printf '%s ' "$program"
    done
}

if [ "$(id -u)" = 0 ] && [ "${AIODTLS_NO_APT:-}" != 1 ] && command -v apt-get >/dev/null; then
    packages=
    [ -z "$(missing)" ] || packages=$PEERS
    have_venv || packages="$packages python3-venv"
    if [ -n "$packages" ]; then
        echo "running as root: installing with apt-get: $packages"
        apt-get -qq update
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $packages
    fi
    AIODTLS_NSS=${AIODTLS_NSS:-${XDG_CACHE_HOME:-$HOME/.cache}/aiodtls/debian13}
    if sh tests/debian13.sh "$AIODTLS_NSS"; then
        export AIODTLS_NSS
    else
        unset AIODTLS_NSS
        echo "NSS of Debian 13 could not be fetched: its tests are skipped"
    fi
fi
absent=$(missing)
[ -z "$absent" ] || echo "foreign peers that are missing, and whose tests are skipped: $absent"

if [ ! -x "$VENV/bin/python" ]; then
    "$PYTHON" -m venv "$VENV"
fi
PATH=$(cd "$VENV/bin" && pwd):$PATH
export PATH
python -m pip --disable-pip-version-check --quiet install --editable '.[test]'

ruff check .
ruff format --check .
mypy
exec pytest -n 2 "$@"
