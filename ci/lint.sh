#!/bin/sh
# No warning of rustc or clippy, with and without the features that need nothing installed.
set -eu
cd "$(dirname "$0")/.."
cargo clippy --all-targets -- -D warnings
cargo clippy --all-targets --features asm,boost-names,futures-io -- -D warnings
