#!/bin/sh
# The whole suite under each reactor that is not the default, times each switch engine, with nothing skipped:
# ci/reactors.sh [cargo's flags]. The other test runs leave the choice to Kapok, which takes the first that works: epoll.
# kqueue has a script of its own.
set -eu
cd "$(dirname "$0")/.."
export KAPOK_REQUIRE_REACTORS=io_uring,epoll,poll KAPOK_REQUIRE_CLIENTS=1 KAPOK_REQUIRE_CXX=1 KAPOK_REQUIRE_FAULTS=1
for reactor in io_uring poll; do
    for engine in setjmp ucontext; do
        echo "reactor $reactor, switch $engine:"
        KAPOK_REACTOR=$reactor KAPOK_SWITCH=$engine ci/suite.sh "$@"
    done
done
