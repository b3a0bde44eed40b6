#!/bin/sh
# Checks that need no tool of their own: shell and Python syntax, white space.
set -eu

for script in scripts/*.sh; do sh -n "$script"; done
bash -n .ci/run
if command -v python3 >/dev/null; then
    find Tests Benchmarks -name .venv -prune -o \( -name '*.py' -o -path Benchmarks/run \) -exec python3 -c '
import ast, sys
for name in sys.argv[1:]:
    ast.parse(open(name, encoding="utf-8").read(), name)' {} +
fi
# Two greps: tabs and spaces at the end of a line, tabs anywhere.
files=$(find web-demo Tests Benchmarks Sources/JobFeedSchema scripts -name '.[!.]*' -prune -o \
    \( -name '*.js' -o -name '*.css' -o -name '*.html' -o -name '*.py' -o -name '*.sql' -o -name '*.sh' \) -print)
# shellcheck disable=SC2086
if grep -nE '[[:blank:]]+$' $files || grep -n "$(printf '\t')" $files; then
    echo "white space at the end of a line, or a tab" >&2
    exit 1
fi
