#!/bin/sh
# Runs Autobahn's fuzzing client against the echo server: conformance.sh CASES COUNT (see Tests/Conformance/run.py).
# CONFIGURATION=release builds the server optimised. The client is Python 2.7 code. Where there is no CPython 2.7 (PYTHON2 may name it), this says so and passes.
set -eu

python2() {
    for name in ${PYTHON2:-} "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python2.7 python2.7; do
        # Behind a name may stand a launcher that finds nothing, or itself again and again.
        timeout 10 "$name" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null || continue
        "$name" -c 'import sys; print(sys.executable)'
        return
    done
    return 1
}

scripts/deps.sh conformance
if ! found=$(python2); then
    echo "SKIPPED: no CPython 2.7, which Autobahn's test suite needs; install one and set PYTHON2 to its path"
    exit
fi

venv=.venv-autobahn
wanted=$(echo "$found" | cat - Tests/Conformance/requirements.txt | cksum)
if [ "$(cat $venv/wanted 2>/dev/null)" != "$wanted" ]; then
    echo "installing Autobahn's test suite into $venv …"
    rm -rf $venv
    quiet='-q --disable-pip-version-check --no-input'
    python3 -m venv $venv/tool
    # The last virtualenv that makes environments of Python 2.7.
    # shellcheck disable=SC2086
    $venv/tool/bin/python -m pip install $quiet 'virtualenv<20.22' 'setuptools<81'
    $venv/tool/bin/python -m virtualenv -q -p "$found" $venv/python2
    log=$(mktemp)
    # shellcheck disable=SC2086
    $venv/python2/bin/python -m pip install $quiet -r Tests/Conformance/requirements.txt >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        rm -f "$log"
        exit 1
    }
    rm -f "$log"
    echo "$wanted" >$venv/wanted
fi

configuration=${CONFIGURATION:-debug}
swift build -c "$configuration" --product websocket-echo
python3 Tests/Conformance/run.py $venv/python2/bin/wstest ".build/$configuration/websocket-echo" "$@"
