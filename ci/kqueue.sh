#!/bin/sh
# The suite over kqueue on Linux: over the model of it in tests/support/kqueue_model, whose own tests run with it, with both
# ways to hand over changes. With KAPOK_LIBKQUEUE=<prefix> over the libkqueue that is installed there instead; what that does
# that the systems do not is in docs/portability.md.
set -eu
cd "$(dirname "$0")/.."
export KAPOK_REACTOR=kqueue
if [ -n "${KAPOK_LIBKQUEUE:-}" ]; then
    cargo test --no-fail-fast --target-dir target/libkqueue "$@"
    exit
fi
export CARGO_TARGET_DIR=target/kqueue
export RUSTFLAGS="--cfg kapok_kqueue_model"
cargo clippy --all-targets -- -D warnings
for engine in setjmp ucontext; do
    echo "switch $engine:"
    KAPOK_SWITCH=$engine ci/suite.sh "$@"
done
KAPOK_KQUEUE_CHANGES=immediate cargo test --test echo --test httpd "$@"
for changes in batched immediate; do
    KAPOK_KQUEUE_CHANGES=$changes KAPOK_REQUIRE_FAULTS=1 cargo test --test faults "$@" every_fault -- --ignored
done
