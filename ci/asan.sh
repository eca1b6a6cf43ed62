#!/bin/sh
# AddressSanitizer over fibers, on epoll and io_uring: what is lent to an operation, time-outs, scopes across workers, the
# stress test: ci/asan.sh [cargo's flags]. Leaks are errors, too. Needs clang, and a rustc with the sanitizer's library.
#
# Of the engines only "ucontext" tells the sanitizer of its switches (csrc/sanitizer.h), so a test that goes through all of
# them is left out. Instrumented frames are several times as large, hence larger stacks. Locals have to lie on the stack: the
# scheduler asks whether they do (`within`).
set -eu
cd "$(dirname "$0")/.."
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" CC=clang CFLAGS="-fsanitize=address" CARGO_TARGET_DIR=target/asan
export ASAN_OPTIONS=detect_stack_use_after_return=0 KAPOK_SWITCH=ucontext KAPOK_STACK_SIZE=1048576
# With a target, what is built for this machine is not instrumented.
target=$(rustc -vV | sed -n 's/^host: //p')
for reactor in epoll io_uring; do
    echo "reactor $reactor:"
    KAPOK_REACTOR=$reactor cargo test --target "$target" --test cancel --test tcp --test workers --test stress --test fan_out "$@" \
        -- --skip on_every_engine
done
