#!/bin/sh
# ThreadSanitizer over fibers: several workers, cancelling, and the stress test: ci/tsan.sh [cargo's flags]. The standard
# library is built along, or its locks and threads would not be seen. Needs clang, and rustup's rust-src.
#
# Of the engines only "ucontext" tells the sanitizer of its switches (csrc/sanitizer.h). To it each fiber is a thread of its own,
# ordered with others by nothing but what the program does, and by the switches. Fences it does not know.
set -eu
cd "$(dirname "$0")/.."
if ! timeout 60 rustup component add rust-src >/dev/null 2>&1; then
    # The standard library cannot be built without its source.
    [ "${KAPOK_REQUIRE_TSAN:-}" != 1 ] || { echo "rustup gives no rust-src, and KAPOK_REQUIRE_TSAN=1"; exit 1; }
    echo "SKIP ThreadSanitizer: rustup gives no rust-src"
    exit
fi
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread" CC=clang CFLAGS="-fsanitize=thread" CARGO_TARGET_DIR=target/tsan
export KAPOK_SWITCH=ucontext KAPOK_STACK_SIZE=1048576
target=$(rustc -vV | sed -n 's/^host: //p')
# The sanitizer itself does not survive the want of memory that this test makes.
cargo test -Zbuild-std --target "$target" --test cancel --test workers --test stress "$@" -- \
    --skip worker_without_a_thread_is_an_error
