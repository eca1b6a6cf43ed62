#!/bin/sh
# The inbox, the bell and the search for work, model-checked (src/sched/model.rs): ci/loom.sh [preemptions].
# Each step that the protocol takes was left out once, and two preemptions have found it; three take minutes.
set -eu
cd "$(dirname "$0")/.."
export RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
export LOOM_MAX_PREEMPTIONS="${1:-2}"
cargo test --release --lib sched::model
