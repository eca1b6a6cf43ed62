#!/bin/sh
# The documentation builds without a warning: every public item has some, every link leads somewhere.
set -eu
cd "$(dirname "$0")/.."
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items
