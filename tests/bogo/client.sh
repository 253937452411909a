#!/usr/bin/env bash
# What the runner starts for each test: hands its arguments to the server and returns its answer.
[ "$1" = -is-handshaker-supported ] && { echo No; exit 0; }
exec 3<>"/dev/tcp/127.0.0.1/${AIODTLS_SHIM_PORT:?}"
printf '%s\0' "$#" "$@" >&3
IFS= read -r -u 3 status
IFS= read -r -d '' -u 3 text
printf '%s' "$text" >&2
exit "$status"
