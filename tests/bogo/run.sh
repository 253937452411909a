#!/bin/sh
# BoringSSL's conformance runner against the sans-IO core: sh tests/bogo/run.sh [--freeze]
# AIODTLS_BOGO_RUNNER is the path of the runner, built as a test binary; PYTHON the interpreter.
# Without --freeze the exit status is 0 where every test came out as in results.txt.
set -eu
cd "$(dirname "$0")/../.."
here=tests/bogo
python=${PYTHON:-python3}

if [ -z "${AIODTLS_BOGO_RUNNER:-}" ]; then
    echo "skipped: AIODTLS_BOGO_RUNNER does not name BoringSSL's runner"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
selection='*DTLS*;SendSplitAlert-*;StrayChangeCipherSpec'

# Deviations are failures to the runner, so its own exit status says nothing.
"$python" -m tests.bogo.server "$AIODTLS_BOGO_RUNNER" -pipe -allow-unimplemented \
    -shim-path "$PWD/$here/client.sh" -shim-config "$PWD/$here/config.json" \
    -idle-timeout 5s -test "$selection" -json-output "$work/found.json" \
    >"$work/log.txt" 2>&1 || true
if [ ! -s "$work/found.json" ]; then
    tail -n 50 "$work/log.txt" >&2
    exit 1
fi

if [ "${1:-}" = --freeze ]; then
    # Nothing is implemented here: the quickest way to every name.
    printf '#!/bin/sh\n[ "$1" = -is-handshaker-supported ] && { echo No; exit 0; }\nexit 89\n' \
        >"$work/nothing.sh"
    chmod +x "$work/nothing.sh"
    "$AIODTLS_BOGO_RUNNER" -pipe -allow-unimplemented -include-disabled \
        -shim-path "$work/nothing.sh" -test "$selection" -json-output "$work/all.json" >/dev/null
    "$python" -m tests.bogo.results freeze "$work/found.json" "$work/all.json"
    exit 0
fi

status=0
"$python" -m tests.bogo.results compare "$work/found.json" || status=$?
if [ "$status" -ne 0 ] && [ -n "${AIODTLS_BOGO_LOG:-}" ]; then
    cp "$work/log.txt" "$AIODTLS_BOGO_LOG"
fi
exit "$status"
