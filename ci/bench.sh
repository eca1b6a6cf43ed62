#!/bin/sh
# The benchmarks build, and run one short round. Figures of a shared machine prove nothing, so none is checked; that the
# servers answer is.
set -eu
cd "$(dirname "$0")/.."
cargo bench --features asm --bench switch -- --test
cargo bench --bench fibers -- --test
cargo bench --bench sync -- --test
cargo bench --bench servers -- --test
