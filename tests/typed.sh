#!/bin/sh
# usage: typed.sh DIRECTORY
# Asks basedpyright, in a virtual environment of its own, whether every public symbol has a type.
# aiocoap has no types, so what derives from its classes cannot be known.
set -eu
[ -x "$1/bin/basedpyright" ] || {
    python3 -m venv "$1"
    "$1/bin/python" -m pip -q --disable-pip-version-check install "basedpyright>=1.31" ||
        { echo "basedpyright cannot be had just now"; rm -rf "$1"; exit 0; }
}
status=0
"$1/bin/basedpyright" --verifytypes aiodtls --ignoreexternal --outputjson >"$1/types.json" ||
    status=$?
python - "$1/types.json" <<'END'
import json
import pathlib
import sys

UNTYPED = "aiodtls.contrib.aiocoap."
told = json.loads(pathlib.Path(sys.argv[1]).read_text())["typeCompleteness"]
symbols = [each for each in told["symbols"] if each["isExported"]]
unknown = [
    each["name"]
    for each in symbols
    if not each["isTypeKnown"] and not each["name"].startswith(UNTYPED)
]
assert symbols, "basedpyright has found no symbols"
print(f"{len(symbols)} symbols, without a known type:", *unknown or ["none"], sep="\n  ")
sys.exit(bool(unknown))
END
