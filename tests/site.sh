#!/bin/sh
# usage: site.sh DIRECTORY
# Builds the documentation there; a warning is a failure. With the virtual environment in PATH.
set -eu
cd "$(dirname "$0")/.."
python -m pip --disable-pip-version-check --quiet install --editable '.[docs]'
rm -rf "$1"
exec python -m sphinx -q -W --keep-going -b html docs "$1"
