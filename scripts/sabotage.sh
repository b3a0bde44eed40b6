#!/bin/sh
# Builds a copy of the project in .build-sabotage with the faults of Tests/Integration/mutants.py, and lets the oracle
# judge each. Needs what `make deps-test` installs.
set -eu
cd "$(dirname "$0")/.."
copy=.build-sabotage
.venv/bin/python Tests/Integration/mutants.py "$copy"
swift build --package-path "$copy" --product jobfeed-server
unset JOBFEED_SERVER
JOBFEED_MUTANT="$PWD/$copy/.build/debug/jobfeed-server" \
    .venv/bin/python -m pytest -q -rA -s Tests/Integration/test_oracle.py -k mutant
