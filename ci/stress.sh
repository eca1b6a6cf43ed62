#!/bin/sh
# Everything at once, for long: a minute with several workers, and some seconds on each reactor and engine, with several
# workers and with one (tests/stress/main.rs): ci/stress.sh [SECONDS], 150 at most, since the test has a deadline.
# KAPOK_SEED is passed on.
set -eu
cd "$(dirname "$0")/.."
export KAPOK_REQUIRE_PROC=1
run() { # seconds workers reactor switch
    KAPOK_STRESS_SECONDS=$1 KAPOK_WORKERS=$2 KAPOK_REACTOR=$3 KAPOK_SWITCH=$4 \
        cargo test -q --release --test stress -- --nocapture
}
run "${1:-60}" 4 epoll setjmp
for workers in 1 2 4; do
    for reactor in epoll io_uring poll; do
        for engine in setjmp ucontext; do
            run 3 $workers $reactor $engine
        done
    done
done
