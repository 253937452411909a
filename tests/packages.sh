#!/bin/sh
# usage: packages.sh [ARGUMENTS OF PYTEST]
# Builds wheel and sdist twice, from copies of the tracked files in two places, and compares them bit
# by bit. Checks what is in them, installs the wheel into a fresh environment for each Python, tries
# it there, resolves its extras, and runs the tests of the sdist, the arguments of pytest or all but
# those that need a built peer.
#   PYTHON          the interpreter; else python3
#   AIODTLS_CACHE   where the other Pythons may be unpacked, as tests/all.sh does
set -eu
cd "$(dirname "$0")/.."
here=$PWD
PYTHON=${PYTHON:-python3}
cache=${AIODTLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/aiodtls}
[ -e .git ] || { echo "packages are made from a clone, not from an sdist"; exit 1; }
[ $# -gt 0 ] || set -- -m "not built"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
PIP_DISABLE_PIP_VERSION_CHECK=1
export SOURCE_DATE_EPOCH PIP_DISABLE_PIP_VERSION_CHECK

# pip of the tools installs into the other environments too.
install() {
    environment=$1
    shift
    "$work/tools/bin/pip" --python "$environment/bin/python" install -qq "$@"
}

echo "-- building twice"
"$PYTHON" -m venv "$work/tools"
install "$work/tools" 'build>=1.2' 'twine>=6' 'check-wheel-contents>=0.6'
git ls-files >"$work/tracked"
for copy in one a-longer-name/two; do
    mkdir -p "$work/$copy"
    tar -cf - -T "$work/tracked" | tar -xf - -C "$work/$copy"
    # Neither the times of files nor who may read them come into the packages.
    find "$work/$copy" -exec touch {} +
    # The wheel is made from the sdist.
    (umask 077 && "$work/tools/bin/python" -m build -o "$work/$copy-dist" "$work/$copy" >"$work/log" 2>&1) ||
        { cat "$work/log"; exit 1; }
done
dist=$work/one-dist
for package in "$dist"/*; do
    cmp "$package" "$work/a-longer-name/two-dist/$(basename "$package")"
done
wheel=$(ls "$dist"/*.whl)
sdist=$(ls "$dist"/*.tar.gz)
"$work/tools/bin/python" -m build --wheel -o "$work/direct" "$work/one" >"$work/log" 2>&1
cmp "$wheel" "$work/direct/$(basename "$wheel")"

echo "-- contents"
"$work/tools/bin/twine" check --strict "$dist"/*
"$work/tools/bin/check-wheel-contents" "$wheel"
tar -tzf "$sdist" | sed 's#^[^/]*/##' | LC_ALL=C sort >"$work/in-sdist"
# PKG-INFO is made.
{ cat "$work/tracked"; echo PKG-INFO; } | LC_ALL=C sort | diff - "$work/in-sdist"
"$PYTHON" -m zipfile -l "$wheel" | awk '/^aiodtls\// {print $1}' | LC_ALL=C sort >"$work/in-wheel"
grep '^aiodtls/' "$work/tracked" | LC_ALL=C sort | diff - "$work/in-wheel"

# Installs the wheel alone, and tries it where the source tree cannot be imported.
try() {
    echo "-- the wheel with $("$1" --version)"
    fresh=$work/fresh-$2
    "$1" -m venv --without-pip "$fresh"
    install "$fresh" "$wheel"
    "$work/tools/bin/pip" --python "$fresh/bin/python" check
    (
        cd "$work"
        "$fresh/bin/aiodtls" --version
        "$fresh/bin/aiodtls" demo --messages 1 --burst 10 >"$work/demo" 2>&1 || { cat "$work/demo"; exit 1; }
        "$fresh/bin/python" -W error - <<'CODE'
import importlib, pkgutil, aiodtls
for module in pkgutil.walk_packages(aiodtls.__path__, "aiodtls."):
    # Adapters need their extras.
    if ".contrib." not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
CODE
    )
}
try "$PYTHON" system
for other in "$cache/debian13/usr/bin/python3.13" "$cache/python3.14/usr/bin/python3.14"; do
    if [ -x "$other" ]; then try "$other" "$(basename "$other")"; fi
done

echo "-- extras"
extras=$("$PYTHON" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"])')
for extra in $extras; do
    install "$work/fresh-system" --dry-run --only-binary :all: "$wheel[$extra]"
done

echo "-- the tests of the sdist"
mkdir "$work/unpacked"
tar -xzf "$sdist" -C "$work/unpacked" --strip-components 1
"$PYTHON" -m venv --without-pip "$work/tests"
install "$work/tests" "$wheel[test]"
cd "$work/unpacked"
"$work/tests/bin/python" -m pytest -p no:cacheprovider "$@"
cd "$here"
