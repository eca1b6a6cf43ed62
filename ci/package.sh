#!/bin/sh
# What would be published has everything that a user needs to build it.
set -eu
cd "$(dirname "$0")/.."
cargo package --list --allow-dirty >target/package-list
for file in csrc/kapok_fctx.h csrc/setjmp.c src/ffi/bindings.rs README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE; do
    grep -qx "$file" target/package-list || { echo "the package lacks $file"; exit 1; }
done
for source in csrc/asm/*; do
    grep -qx "$source" target/package-list || { echo "the package lacks $source"; exit 1; }
done
for source in csrc/*.c csrc/asm/*.S; do
    grep -q "\"$source\"" build.rs || { echo "build.rs does not compile $source"; exit 1; }
done
