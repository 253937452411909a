# Sourced by the scripts that build a peer. What they have in common: a directory that the same
# recipe has filled is kept, and one that a build fills appears only when the build is done.
#   begin DIRECTORY FILE...   ends the script where nothing is to be done; else makes $WORK and
#                             $BUILT; the recipe is the script itself and the files
#   finish                    makes $BUILT the content of DIRECTORY
. "$(dirname "$0")/apt.sh"
MAKEFLAGS=-j$(nproc)
export MAKEFLAGS

begin() {
    TARGET=$(realpath -m "$1")
    shift
    RECIPE=$(cat "$0" "$@" | sha256sum)
    if [ "$(cat "$TARGET/recipe" 2>/dev/null)" = "$RECIPE" ]; then
        exit 0
    fi
    echo "building $(basename "$0" .sh) in $TARGET"
    mkdir -p "$(dirname "$TARGET")"
    WORK=$(mktemp -d "$TARGET.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    BUILT=$WORK/built
    mkdir "$BUILT"
}

finish() {
    cd /
    echo "$RECIPE" >"$BUILT/recipe"
    chmod 755 "$BUILT"
    rm -rf "$TARGET"
    mv "$BUILT" "$TARGET"
}

# Where a source package's tarball is fetched from: a suite that has a version new enough.
source_tree() {
    open_apt "$WORK/apt" "$2"
    source_of "$1"
    mkdir "$WORK/tree"
    tar -xf "$(ls "$STATE"/source/*.orig.tar.*z* | grep -v asc)" -C "$WORK/tree" --strip-components=1
}

# Runs a step of the build, silent unless it fails.
step() {
    "$@" >"$WORK/log" 2>&1 || { tail -n 30 "$WORK/log" >&2; return 1; }
}
