#!/bin/sh
# What runs on contexts, under the switch engine that only a feature brings: ci/asm.sh [cargo's flags]. That every engine keeps
# the contract is ci/cshim.sh's business. A whole suite under it is `ci/test.sh asm --features asm`.
set -eu
cd "$(dirname "$0")/.."
export KAPOK_SWITCH=asm
cargo build --features asm --example compare "$@"
ci/suite.sh --features asm --test abort --test baton --test cancel --test compare --test coroutine --test fiber --test overflow \
    --test runtime --test scope --test soundness --test sync --test tcp --test workers "$@"
