#!/bin/sh
# usage: tinydtls.sh DIRECTORY
# Builds tinydtls as aiocoap's own transport for coaps:// has it, with aiocoap, for the Python that
# is first in PATH.
set -eu
. "$(dirname "$0")/build.sh"
begin "$1"
install() {
    python -m pip --disable-pip-version-check --quiet install --root-user-action ignore "$@"
}
install --dry-run DTLSSocket==0.2.3 >/dev/null 2>&1 || exit 75
step install --target "$BUILT/packages" DTLSSocket==0.2.3 aiocoap==0.4.17
finish
