#!/bin/sh
# What tests/run.sh --all runs behind lint and types, with the virtual environment first in PATH.
# Each part runs whatever became of those before it; the exit status is 0 where all passed.
# A later part is one more line below.
set -eu
VENV=${AIODTLS_VENV:-.venv}
AIODTLS_CACHE=${AIODTLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/aiodtls}
AIODTLS_ALL=1
AIODTLS_UNAVAILABLE=
export AIODTLS_CACHE AIODTLS_ALL AIODTLS_UNAVAILABLE
mkdir -p "$AIODTLS_CACHE"
failed=
times=

part() {
    name=$1
    shift
    printf '\n== %s\n' "$name"
    began=$(date +%s)
    "$@" || failed="$failed
  $name"
    times="$times
  $(($(date +%s) - began)) s  $name"
}

# Makes a peer in the cache. Status 75 says that its source cannot be had just now.
peer() {
    status=0
    sh "$2" "$AIODTLS_CACHE/$1" || status=$?
    if [ "$status" = 75 ]; then
        AIODTLS_UNAVAILABLE="$AIODTLS_UNAVAILABLE $1"
        return 0
    fi
    return "$status"
}

# Runs the tests with a Python that is unpacked in the cache, where it could be had.
# shellcheck disable=SC2086
with_python() {
    case " $AIODTLS_UNAVAILABLE " in
    *" $2 "*) echo "Python $1 cannot be had just now" ;;
    *) sh tests/versions.sh "$AIODTLS_CACHE/$2/usr/bin/python$1" newest "$VENV-$1" $3 ;;
    esac
}

part "Debian 13" peer debian13 tests/debian13.sh
part "build mbedTLS" peer mbedtls tests/built/mbedtls.sh
part "build wolfSSL" peer wolfssl tests/built/wolfssl.sh
part "build pion" peer pion tests/built/pion.sh
part "build tinydtls" peer tinydtls tests/built/tinydtls.sh
part "Python 3.14" peer python3.14 tests/built/python314.sh
part "browsers" peer browsers tests/built/browsers.sh
part "tests" pytest -n 2 "$@"
part "5,000 clients behind one address" env AIODTLS_CROWD=5000 pytest tests/simulated/test_crowds.py
if [ -f tests/mutants/__main__.py ] || [ -f tests/mutants.py ]; then
    part "mutants" python -m tests.mutants
fi
part "attacks beside honest clients" python -m tests.adversary
part "tests with the lowest versions" sh tests/versions.sh python3 lowest "$VENV-lowest"
part "tests with Python 3.13" with_python 3.13 debian13 ""
part "tests with Python 3.14" with_python 3.14 python3.14 "--cov aiodtls --cov-report term:skip-covered"
part "packages" sh tests/packages.sh -n 2 -m "not built" --ignore tests/foreign \
    --ignore tests/simulated --ignore tests/faults
part "public types" sh tests/typed.sh "$AIODTLS_CACHE/basedpyright"
part "documentation" sh tests/site.sh "$AIODTLS_CACHE/site"
part "BoringSSL's runner" env PYTHON=python sh tests/bogo/run.sh

printf '\nseconds of each part:%s\n' "$times"
[ -z "$AIODTLS_UNAVAILABLE" ] || printf 'cannot be had just now:%s\n' "$AIODTLS_UNAVAILABLE"
[ -z "$failed" ] || { printf 'failed:%s\n' "$failed"; exit 1; }
