#!/bin/sh
# The scripts of the project, and that the gate calls each of them, but those that take hours or are for others to call.
set -eu
cd "$(dirname "$0")/.."
shellcheck .ci/run ci/*.sh
for script in ci/*.sh; do
    case $script in ci/repeat.sh | ci/peers.sh | ci/million.sh | ci/programs.sh | ci/suite.sh | ci/link.sh | ci/unpack.sh) continue ;; esac
    grep -q "$script" .ci/run || { echo "$script is not called by .ci/run"; exit 1; }
done
