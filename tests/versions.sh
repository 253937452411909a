#!/bin/sh
# usage: versions.sh PYTHON lowest|newest DIRECTORY [ARGUMENTS OF PYTEST]
# Runs the unit tests and simulated networks, without foreign peers, with the lowest or the newest
# version of every dependency, in a virtual environment at DIRECTORY. pip is that of python3.
set -eu
cd "$(dirname "$0")/.."
python=$1
which=$2
venv=$3
shift 3
[ -x "$venv/bin/python" ] || "$python" -m venv --without-pip "$venv"
install() {
    python3 -m pip --python "$venv/bin/python" --disable-pip-version-check --quiet install \
        --root-user-action ignore "$@"
}
if [ "$which" = lowest ]; then
    python3 tests/lowest.py test uvloop >"$venv/lowest.txt"
    install --requirement "$venv/lowest.txt"
    install --no-deps --editable .
else
    install --upgrade --upgrade-strategy eager --editable '.[test,uvloop]'
fi
"$venv/bin/python" -c 'import sys, cryptography, OpenSSL, pytest; print(f"""Python {
sys.version.split()[0]}, cryptography {cryptography.__version__}, pyOpenSSL {
OpenSSL.__version__}, pytest {pytest.__version__}""")'
exec "$venv/bin/python" -m pytest -n 2 -m "not built" --ignore tests/foreign \
    --ignore tests/documentation "$@"
