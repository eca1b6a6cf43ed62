#!/bin/sh
# By hand, and not part of the gate, since it builds what the library never needs: the comparison with the peers is formatted,
# has no warning, and each of its works and servers runs on each peer that can be had here. Arguments go to it, in place of one
# short round: `ci/peers.sh --servers` measures all servers under all loads (reckoned, not tried: a quarter of an hour).
set -eu
cd "$(dirname "$0")/../benches/peers"
cargo fmt --check
clang-format --dry-run --Werror contexts/*.c uv/*.c cpp/*.cc
cargo clippy --release -- -D warnings
cargo build --release --quiet
if [ $# -gt 0 ]; then
    exec target/release/kapok-peers "$@"
fi
target/release/kapok-peers --test
target/release/kapok-peers --servers --test
