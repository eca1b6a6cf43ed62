#!/bin/sh
# Every system call of the runtime fails, with every errno, on each reactor (docs/faults.md): ci/faults.sh [cargo's flags].
# A plain test run tries a tenth of it. KAPOK_SWITCH is passed on, and KAPOK_REACTOR chooses one reactor.
set -eu
cd "$(dirname "$0")/.."
KAPOK_REQUIRE_FAULTS=1 cargo test --test faults "$@" -- --include-ignored --skip the_scenario --nocapture
