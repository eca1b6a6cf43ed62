#!/bin/sh
# The suite many times over, under each engine, to find what fails now and then: ci/repeat.sh [TIMES]
set -eu
cd "$(dirname "$0")/.."
times=${1:-20}
cargo test --no-run -q
i=1
while [ "$i" -le "$times" ]; do
    for engine in setjmp ucontext; do
        KAPOK_SWITCH=$engine cargo test -q >target/repeat.log 2>&1 || { cat target/repeat.log; echo "run $i, $engine"; exit 1; }
    done
    echo "run $i of $times: passed"
    i=$((i + 1))
done
