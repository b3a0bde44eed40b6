#!/bin/sh
# Installs the system packages that are missing; with all of them there it does nothing and says nothing.
#   deps.sh run        what building and running take
#   deps.sh test       the same, and what the tests take
#   deps.sh conformance  the first, and CPython 2.7 with what builds its packages, where the distribution has it
#   deps.sh chromium   prints the path of the browser for the tests
set -eu

browser() {
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" && return
    done
    return 1
}

postgres_is_there() {
    for directory in $(printf %s "$PATH" | tr : ' ') /usr/lib/postgresql/*/bin; do
        [ ! -x "$directory/initdb" ] || return 0
    done
    return 1
}

is_installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
}

missing() {
    for package in libpq-dev libssl-dev zlib1g-dev pkg-config; do
        # pkgconf is a pkg-config too.
        [ "$package" != pkg-config ] || ! command -v pkg-config >/dev/null || continue
        is_installed "$package" || echo "$package"
    done
    postgres_is_there || echo postgresql
    if [ "$1" = conformance ]; then
        command -v cc >/dev/null || echo gcc
        python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
        apt-cache policy python2.7-dev 2>/dev/null | grep -q 'Candidate: [0-9]' || return 0
        is_installed python2.7-dev || echo python2.7-dev
    fi
    [ "$1" = test ] || return 0
    [ -n "${CHROMIUM:-}" ] || browser >/dev/null || echo chromium
    command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || echo pgbouncer
    command -v python3 >/dev/null || echo python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    elif command -v sudo >/dev/null; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        echo "neither root nor sudo; please run as root: $*" >&2
        return 1
    fi
}

install() {
    as_root apt-get install -qq -y --no-install-recommends "$@" >"$log" 2>&1
}

if [ "$1" = chromium ]; then
    browser || { echo "no Chromium found; install it or set CHROMIUM" >&2; exit 1; }
    exit
fi

command -v swift >/dev/null || { echo "no swift found; install Swift 6.2 or newer from https://swift.org/install" >&2; exit 1; }
if ! command -v apt-get >/dev/null; then
    command -v pkg-config >/dev/null && pkg-config --exists libpq && postgres_is_there ||
        echo "this is no Debian or Ubuntu: if the build fails, install libpq, OpenSSL, zlib, pkg-config and PostgreSQL" >&2
    exit 0
fi
packages=$(missing "$1")
[ -n "$packages" ] || exit 0
echo "installing" $packages "…"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Package lists may be missing or too old to download by.
# shellcheck disable=SC2086
install $packages || { as_root apt-get update -qq && install $packages; } || {
    cat "$log" >&2
    echo "could not install" $packages >&2
    exit 1
}
