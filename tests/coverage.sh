#!/bin/sh
# usage: coverage.sh PYTHON
# Prints the options of pytest that measure line coverage, and fail below the gate in pyproject.toml.
# Only where sys.monitoring makes that cheap: before Python 3.12 it triples the time of the tests.
if "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
    echo "--cov aiodtls --cov-report term:skip-covered"
fi
