#!/bin/bash
# The whole suite but for the examples in the documentation, as the environment sets it up:
# ci/suite.sh [flags of cargo test] [-- arguments of the test programs, such as a test's name]. Cargo builds, and the programs run
# two at a time, where `cargo test` would run them one by one: much of what they do is to wait.
set -euo pipefail
cd "$(dirname "$0")/.."
of_cargo=() before=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    # Cargo takes a test's name here as well, and does nothing with it when it only builds.
    case $before:$1 in
        *:-* | --test:* | --features:* | --target:* | --profile:* | --jobs:* | -j:*) ;;
        *)
            echo "ci/suite.sh: $1 is no flag of cargo test; what is for the test programs comes after --" >&2
            exit 1
            ;;
    esac
    before=$1
    of_cargo+=("$1")
    shift
done
[ $# -eq 0 ] || shift
list=${CARGO_TARGET_DIR:-target}/programs
mkdir -p "${list%/*}"
cargo test --no-run --message-format=json-render-diagnostics "${of_cargo[@]}" >"$list.json"
sed -n '/"profile":{[^}]*"test":true/s/.*"executable":"\([^"]*\)".*/\1/p' "$list.json" >"$list"
[ -s "$list" ] || { echo "cargo has built no test program"; exit 1; }
echo "$(wc -l <"$list") test programs, built in $SECONDS s"
exec ci/programs.sh "${list%/*}/logs" "$@" <"$list"
