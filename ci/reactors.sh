#!/bin/sh
# The suite on the reactors that are not the first choice of every machine, and on the one that some machines refuse: here
# it must work. Under the other engine's default each; .ci/run's other test runs leave the choice to Kapok.
set -eu
cd "$(dirname "$0")/.."
export KAPOK_REQUIRE_REACTORS=io_uring,epoll,poll KAPOK_REQUIRE_CLIENTS=1 KAPOK_REQUIRE_CXX=1
for reactor in io_uring epoll poll; do
    echo "reactor $reactor:"
    KAPOK_REACTOR=$reactor cargo test "$@"
done
