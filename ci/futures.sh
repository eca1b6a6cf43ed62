#!/bin/sh
# The traits of futures-io, which are behind a feature of that name, on each reactor.
set -eu
cd "$(dirname "$0")/.."
for reactor in epoll io_uring poll; do
    KAPOK_REACTOR=$reactor cargo test --features futures-io --test futures_io
done
