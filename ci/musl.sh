#!/bin/sh
# The whole suite in static programs, with musl as the C library: ci/musl.sh [cargo's flags]. Installs the standard library for
# it by rustup, and needs musl-gcc (Debian: musl-tools). C++ and what is linked with it stays the host's, and is not tested.
set -eu
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-musl
rustup target add "$target" >/dev/null 2>&1 || { echo "rustup has no standard library for $target" >&2; exit 1; }
export CARGO_TARGET_DIR=target/musl CC_x86_64_unknown_linux_musl=musl-gcc
KAPOK_REQUIRE_REACTORS=io_uring,epoll,poll cargo test --target "$target" "$@"
