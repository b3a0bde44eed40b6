#!/bin/sh
# Installs each release of a client that is tested against, of which no two fit into one environment, into
# .venv/clients/NAME, unless it is there: clients.sh Tests/Integration/realtime/requirements-NAME.txt …
set -eu

pip='.venv/bin/python -m pip'
$pip --version >/dev/null 2>&1 || pip='python3 -m pip'
for file in "$@"; do
    name=$(basename "$file" .txt)
    directory=.venv/clients/${name#requirements-}
    wanted=$(cksum <"$file")
    [ "$(cat "$directory/wanted" 2>/dev/null)" != "$wanted" ] || continue
    echo "installing $(head -1 "$file") …"
    rm -rf "$directory"
    $pip install -q --disable-pip-version-check --no-input --root-user-action=ignore \
        --target "$directory" -r "$file"
    echo "$wanted" >"$directory/wanted"
done
