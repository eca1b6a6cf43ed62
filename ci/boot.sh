#!/bin/sh
# The whole suite as where the C library has no makecontext: contexts boot by sigaltstack, and there is one engine.
set -eu
cd "$(dirname "$0")/.."
export KAPOK_BOOT=sigaltstack CARGO_TARGET_DIR=target/boot
KAPOK_REQUIRE_REACTORS=io_uring,epoll,poll KAPOK_REQUIRE_CLIENTS=1 KAPOK_REQUIRE_CXX=1 ci/suite.sh "$@"
