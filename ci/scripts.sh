#!/bin/sh
# The scripts of the project, and that the gate calls each of them, but the one that repeats what others do, for hours.
set -eu
cd "$(dirname "$0")/.."
shellcheck .ci/run ci/*.sh
for script in ci/*.sh; do
    [ "$script" != ci/repeat.sh ] || continue
    grep -q "$script" .ci/run || { echo "$script is not called by .ci/run"; exit 1; }
done
