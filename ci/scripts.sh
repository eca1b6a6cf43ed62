#!/bin/sh
# The scripts of the project, and that the gate calls each of them, but those that are run by hand: what repeats the others for
# hours, and the comparison with the peers.
set -eu
cd "$(dirname "$0")/.."
shellcheck .ci/run ci/*.sh
for script in ci/*.sh; do
    case $script in ci/repeat.sh | ci/peers.sh) continue ;; esac
    grep -q "$script" .ci/run || { echo "$script is not called by .ci/run"; exit 1; }
done
