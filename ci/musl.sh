#!/bin/sh
# The whole suite in static programs, with musl as the C library: ci/musl.sh [cargo's flags]. Installs the standard library for
# it by rustup, and needs musl-gcc (Debian: musl-tools). Where it cannot be had that is a visible skip, unless
# KAPOK_REQUIRE_TARGETS names it. C++ and what is linked with it stays the host's, and is not tested.
set -eu
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-musl
if ! timeout 120 rustup target add "$target" >/dev/null 2>&1; then
    case ",${KAPOK_REQUIRE_TARGETS:-}," in
        *",$target,"*)
            echo "rustup gives no standard library for $target, and KAPOK_REQUIRE_TARGETS names it" >&2
            exit 1
            ;;
    esac
    echo "SKIP $target: rustup gives no standard library"
    exit
fi
export CARGO_TARGET_DIR=target/musl CC_x86_64_unknown_linux_musl=musl-gcc
KAPOK_REQUIRE_REACTORS=io_uring,epoll,poll cargo test --target "$target" "$@"
