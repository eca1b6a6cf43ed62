#!/bin/sh
# The library builds with the oldest versions of its dependencies that Cargo.toml allows: ci/minimal.sh. In a copy, which has a
# lock file of its own, and without what only tests need: that asks for newer ones, and no user gets it.
set -eu
cd "$(dirname "$0")/.."
copy=target/minimal/source
rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z build.rs csrc src tests benches docs README.md | xargs -0 cp --parents -t "$copy"
awk '/^\[/ { leave = /dev-dependencies/ } !leave' Cargo.toml >"$copy/Cargo.toml"
cd "$copy"
RUSTC_BOOTSTRAP=1 cargo update --quiet -Z direct-minimal-versions
export CARGO_TARGET_DIR=../target
for features in "" boost-names,futures-io; do
    cargo check --quiet --lib --features "$features"
done
for dependency in $(cargo tree --depth 1 --edges normal,build --prefix none --format '{lib}={p}' | sed -n '2,$s/=\([^ ]*\) v/=\1@/p' | cut -d= -f2); do
    name=${dependency%@*} version=${dependency#*@}
    wanted=$(sed -n "s/^$name = \(.*version = \)\{0,1\}\"=\{0,1\}\([0-9.]*\)\".*/\2/p" Cargo.toml | head -n 1)
    echo "$name $version (Cargo.toml: $wanted)"
    [ "$version" = "$wanted" ] || { echo "that is not the oldest one"; exit 1; }
done
