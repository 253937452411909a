# Sourced by the scripts beside it: apt with a state of its own, in a directory of its own.
# The machine's own apt configuration is read for its mirror, and never changed. Root is not needed.
#   open_apt DIRECTORY SUITE   reads the lists of a Debian suite into the directory
#   unpack TARGET PACKAGE...   unpacks the packages, with all that they depend on, below TARGET
#   source_of NAME             fetches the upstream tarballs of a source package into DIRECTORY/source
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
SECONDS_AT_MOST=600
# What a script ends with where a mirror does not give what it should, as mirrors move.
UNAVAILABLE=75

unavailable() {
    echo "$1 cannot be had just now" >&2
    exit "$UNAVAILABLE"
}

mirror() {
    if [ -n "${AIODTLS_DEBIAN_MIRROR:-}" ]; then
        echo "$AIODTLS_DEBIAN_MIRROR"
        return
    fi
    sites=$(apt-get indextargets --format '$(ORIGIN) $(SITE)' | grep '^Debian ' | cut -d ' ' -f 2)
    # A machine that has never run "apt-get update" knows no origins yet.
    [ -n "$sites" ] || sites=$(apt-get indextargets --format '$(SITE)')
    echo "$sites" | grep -v security | sort -u | head -n 1
}

open_apt() {
    STATE=$1
    [ -r "$KEYRING" ] || { echo "no $KEYRING to verify Debian's packages by" >&2; exit 1; }
    mkdir -p "$STATE/lists/partial" "$STATE/cache/archives/partial" "$STATE/source"
    : >"$STATE/status"
    for kind in deb deb-src; do
        echo "$kind [signed-by=$KEYRING] $(mirror) $2 main"
    done >"$STATE/sources.list"
    apt_get update || unavailable "the package lists of $2"
}

apt_with() {
    program=$1
    shift
    timeout "$SECONDS_AT_MOST" "$program" -o Dir::State="$STATE" -o Dir::State::lists="$STATE/lists" \
        -o Dir::State::status="$STATE/status" -o Dir::Cache="$STATE/cache" -o APT::Sandbox::User= \
        -o Dir::Etc::sourcelist="$STATE/sources.list" -o Dir::Etc::sourceparts=- \
        -o Acquire::Languages=none -o Acquire::Retries=3 -o Debug::NoLocking=1 "$@"
}

apt_get() {
    apt_with apt-get -qq "$@"
}

unpack() {
    UNPACKED=$1
    shift
    apt_get install -y --no-install-recommends --download-only "$@" >/dev/null || unavailable "$*"
    for package in "$STATE"/cache/archives/*.deb; do
        dpkg-deb --extract "$package" "$UNPACKED"
    done
}

source_of() {
    # The tarballs alone: what Debian adds to them is not built here.
    (cd "$STATE/source" && apt_get source --download-only --tar-only "$1" >/dev/null) ||
        unavailable "the source of $1"
}
