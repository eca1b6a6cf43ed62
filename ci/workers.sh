#!/bin/sh
# The whole suite with several workers, and with one: ci/workers.sh [cargo's flags]. The other test runs leave the number to
# Kapok, which takes one for each processor. Then two fibers on two workers wake each other, 2.5 million times in all. A wake-up
# across processors takes up to 75 µs, so ten million would be a quarter of an hour and near the deadline; by hand, five times:
#     KAPOK_ROUNDS=2000000 cargo test --release --test workers ping_pong_between -- --nocapture
set -eu
cd "$(dirname "$0")/.."
export KAPOK_REQUIRE_REACTORS=io_uring,epoll,poll KAPOK_REQUIRE_CLIENTS=1 KAPOK_REQUIRE_CXX=1 KAPOK_REQUIRE_FAULTS=1
for run in "1 epoll" "4 io_uring"; do
    workers=${run% *} reactor=${run#* }
    echo "workers $workers, reactor $reactor:"
    KAPOK_WORKERS=$workers KAPOK_REACTOR=$reactor ci/suite.sh "$@"
done
for reactor in epoll io_uring poll epoll io_uring; do
    KAPOK_REACTOR=$reactor KAPOK_ROUNDS=500000 cargo test -q --release --test workers ping_pong_between -- --nocapture
done
