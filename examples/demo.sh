#!/bin/sh
# Makes a virtual environment, installs aiodtls into it and runs the demo.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=${AIODTLS_VENV:-.venv}

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "aiodtls needs Python 3.11 or later; set PYTHON to one" >&2
    exit 1
fi
if [ ! -x "$VENV/bin/python" ]; then
    echo "making a virtual environment in $VENV"
    if ! "$PYTHON" -m venv "$VENV"; then
        rm -rf "$VENV"
        echo "python3 -m venv does not work; on Debian: apt-get install python3-venv" >&2
        exit 1
    fi
fi
echo "installing aiodtls"
"$VENV/bin/python" -m pip --disable-pip-version-check --quiet install --editable .
exec "$VENV/bin/python" -m aiodtls demo "$@"
