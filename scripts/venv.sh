#!/bin/sh
# Makes .venv with the packages of the given requirement files, unless it has them already.
set -eu

python=.venv/bin/python
wanted=$(cat "$@" | cksum)
if [ "$(cat .venv/wanted 2>/dev/null)" = "$wanted" ] && $python -c '' 2>/dev/null; then exit; fi
echo "installing Python packages into .venv …"
rm -rf .venv

requirements=
for file in "$@"; do requirements="$requirements -r $file"; done
quiet='-q --disable-pip-version-check --no-input --root-user-action=ignore'

# Debian has ensurepip in a package of its own, and some have neither that nor virtualenv.
# shellcheck disable=SC2086
if python3 -m venv .venv >/dev/null 2>&1 ||
    { rm -rf .venv && python3 -m virtualenv -q .venv >/dev/null 2>&1; }; then
    $python -m pip install $quiet $requirements
else
    rm -rf .venv
    python3 -m pip install $quiet --target .venv/packages $requirements
    mkdir -p .venv/bin
    printf '#!/bin/sh\nPYTHONPATH="%s/.venv/packages" exec python3 "$@"\n' "$PWD" >$python
    chmod +x $python
fi
echo "$wanted" >.venv/wanted
