#!/bin/sh
# usage: debian.sh SUITE DIRECTORY PACKAGE...
# Unpacks packages of a Debian suite, with all that they need, below DIRECTORY: newer than what the
# system has, and beside it. Nothing is installed and root is not needed: apt runs with a state of
# its own, and the programs run by their own dynamic linker (tests/peers.py).
# A directory made from the same list of packages is kept.
set -eu
suite=$1
target=$(realpath -m "$2")
shift 2
if [ "$(cat "$target/packages" 2>/dev/null)" = "$*" ]; then
    exit 0
fi
. "$(dirname "$0")/apt.sh"
echo "fetching $* of Debian's $suite into $target"
mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/unpacked"
open_apt "$work" "$suite"
unpack "$work/unpacked" "$@"
# A Python starts itself anew by its own path, so what runs it by its linker stands there.
for python in "$work"/unpacked/usr/bin/python3.[0-9]*; do
    case $python in *[0-9]) ;; *) continue ;; esac
    mv "$python" "$python.program"
    name=$(basename "$python")
    libraries=$(dirname "$(ls -d "$work"/unpacked/usr/lib/*/ld-linux*.so.*)")
    libraries=$target/${libraries#"$work"/unpacked/}
    cat >"$python" <<WRAPPER
#!/bin/sh
exec $libraries/ld-linux*.so.* --library-path $libraries --argv0 "\$0" \\
    $target/usr/bin/$name.program "\$@"
WRAPPER
    chmod 755 "$python"
done
echo "$*" >"$work/unpacked/packages"
chmod 755 "$work/unpacked"
rm -rf "$target"
mv "$work/unpacked" "$target"
