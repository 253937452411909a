#!/bin/sh
# usage: python314.sh DIRECTORY
# Unpacks Python 3.14, which no stable suite has; tests/built/debian.sh says how.
exec sh "$(dirname "$0")/debian.sh" sid "$1" python3.14 python3.14-venv
