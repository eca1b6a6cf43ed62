#!/bin/sh
# Rust and C are formatted as rustfmt.toml and .clang-format say.
set -eu
cd "$(dirname "$0")/.."
for manifest in Cargo.toml benches/*/Cargo.toml; do
    cargo fmt --check --manifest-path "$manifest"
done
clang-format --dry-run --Werror csrc/*.c csrc/*.h csrc/asm/*.h csrc/test/*.c csrc/test/*.h csrc/test/*.cpp tests/*/*.c benches/servers/*.c benches/servers/*.h \
    benches/peers/contexts/*.c benches/peers/uv/*.c benches/peers/cpp/*.cc
