#!/bin/sh
# usage: run.sh [--all] [ARGUMENTS OF PYTEST]
# Installs what the tests need, then runs lint, types and tests. Without --all: unit tests, simulated
# networks, and the foreign peers that are Debian packages. With --all also the peers that are
# unpacked or built, the mutants, other Pythons and the lowest versions; then a skip is a failure,
# unless a source cannot be had just now, which is said at the end.
#   AIODTLS_NO_APT=1   install no Debian packages, even as root
#   AIODTLS_CACHE      directory of what --all fetches and builds; else aiodtls in the user's cache
#   AIODTLS_VENV       directory of the virtual environment; else .venv
#   CI=true            a missing foreign peer is a failure, not a skip
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=${AIODTLS_VENV:-.venv}
PROGRAMS="openssl gnutls-cli coap-client-openssl redis-server"
PEERS="openssl gnutls-bin libcoap3-bin redis-server"
BUILDERS="autoconf automake libtool gcc make libc6-dev"
all=
if [ "${1:-}" = --all ]; then
    all=1
    shift
fi

have_venv() { "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; }
missing() {
    for program in "$@"; do
        command -v "$program" >/dev/null || printf '%s ' "$program"
    done
}

packages=
# shellcheck disable=SC2086
[ -z "$(missing $PROGRAMS)" ] || packages="$packages $PEERS"
have_venv || packages="$packages python3-venv"
[ -z "$all" ] || [ -z "$(missing autoreconf libtoolize gcc make)" ] || packages="$packages $BUILDERS"
# The attacks make network namespaces.
[ -z "$all" ] || [ -z "$(missing ip tc)" ] || packages="$packages iproute2"
if [ -n "$packages" ]; then
    if [ "$(id -u)" = 0 ] && [ "${AIODTLS_NO_APT:-}" != 1 ] && command -v apt-get >/dev/null; then
        echo "running as root: installing with apt-get:$packages"
        apt-get -qq update
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $packages
    else
        echo "not installed, as only root does that, without AIODTLS_NO_APT=1:$packages"
    fi
fi
# shellcheck disable=SC2086
absent=$(missing $PROGRAMS)
[ -z "$absent" ] || echo "foreign peers that are missing, and whose tests are skipped: $absent"

[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
PATH=$(cd "$VENV/bin" && pwd):$PATH
export PATH
# Without their bytecode, hundreds of programs that the tests start would compile the package anew.
unset PYTHONDONTWRITEBYTECODE
python -m pip --disable-pip-version-check --quiet install --editable '.[test]'

ruff check .
ruff format --check .
codespell aiodtls benchmarks docs examples tests ./*.md
lint-imports
mypy
if [ -z "$all" ]; then
    # shellcheck disable=SC2046
    [ $# -gt 0 ] || set -- $(sh tests/coverage.sh python)
    COVERAGE_CORE=sysmon exec pytest -n 2 -m "not built" "$@"
fi
exec sh tests/all.sh "$@"
