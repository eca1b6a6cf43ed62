#!/bin/sh
# The scripts of the project, and that the gate calls each of them.
set -eu
cd "$(dirname "$0")/.."
shellcheck .ci/run ci/*.sh
for script in ci/*.sh; do
    grep -q "$script" .ci/run || { echo "$script is not called by .ci/run"; exit 1; }
done
