#!/bin/sh
# The benchmarks build, and run one short round. Figures of a shared machine prove nothing, so none is checked.
set -eu
cd "$(dirname "$0")/.."
cargo bench --bench fibers -- --test
