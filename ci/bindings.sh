#!/bin/sh
# The committed bindings are what bindgen makes of the header. Needs libclang. After a change of the header:
# BLESS=1 ci/bindings.sh
set -eu
cd "$(dirname "$0")/.."
cargo test --features buildtime_bindgen --test bindings
