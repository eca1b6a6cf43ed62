#!/bin/sh
# Random scripts of operations on every reactor of the build, compared with poll: KAPOK_SCRIPTS of them (10,000) from KAPOK_SEED
# on (1), and the same on kqueue, over the model of it. See src/reactor/differential/mod.rs.
set -eu
cd "$(dirname "$0")/.."
export KAPOK_SCRIPTS="${KAPOK_SCRIPTS:-10000}" KAPOK_REQUIRE_REACTORS=io_uring,epoll,poll
cargo test --release --lib differential "$@"
KAPOK_REACTOR=kqueue RUSTFLAGS="--cfg kapok_kqueue_model" cargo test --release --lib --target-dir target/kqueue differential "$@"
