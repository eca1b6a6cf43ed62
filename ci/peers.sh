#!/bin/sh
# By hand, and not part of the gate, since it builds what the library never needs: the comparison with the peers is formatted,
# has no warning, and each of its works runs on each peer that can be had here. Arguments go to it, in place of one short round.
set -eu
cd "$(dirname "$0")/../benches/peers"
cargo fmt --check
cargo clippy --release -- -D warnings
if [ $# -eq 0 ]; then
    set -- --test
fi
cargo run --release --quiet -- "$@"
