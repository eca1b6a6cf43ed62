#!/bin/sh
# A million fibers alive at once, and a thousand of them that overflow their stacks, each in a child process: ci/million.sh
# [FIBERS [OVERFLOWS]]. By hand: it takes some 5 GiB of memory, and minutes.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --example million
exec target/release/examples/million "${1:-1000000}" --overflow "${2:-1000}"
