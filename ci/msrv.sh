#!/bin/sh
# The library builds with the oldest Rust that it promises, 1.85: Debian's own package of it, unpacked beside the system.
set -eu
cd "$(dirname "$0")/.."
prefix=${KAPOK_MSRV_PREFIX:-/var/cache/kapok-rust-1.85}
if [ ! -x "$prefix/usr/bin/rustc" ]; then
    rm -rf "$prefix"
    mkdir -p "$prefix/debs"
    apt-get update -qq
    version=$(apt-cache madison rustc-web | awk -F'|' '{gsub(/ /, "", $2)} $2 ~ /^1\.85\./ {print $2; exit}')
    [ -n "$version" ] || { echo "Debian has no rustc-web 1.85 any more"; exit 1; }
    llvm=$(apt-cache show "libstd-rust-web-1.85=$version" | sed -n 's/^Depends:.*\(libllvm[0-9.]*\).*/\1/p' | head -n 1)
    (cd "$prefix/debs" && apt-get download -qq "rustc-web=$version" "cargo-web=$version" \
        "libstd-rust-web-dev=$version" "libstd-rust-web-1.85=$version" "$llvm")
    for deb in "$prefix"/debs/*.deb; do dpkg -x "$deb" "$prefix"; done
    rm -rf "$prefix/debs"
fi
LD_LIBRARY_PATH=$prefix/usr/lib/x86_64-linux-gnu
RUSTC=$prefix/usr/bin/rustc
export LD_LIBRARY_PATH RUSTC
"$RUSTC" --version
cargo check --lib --target-dir target/msrv
cargo check --lib --features futures-io --target-dir target/msrv
