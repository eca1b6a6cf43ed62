#!/bin/sh
# The documentation builds without a warning: every public item has some, every link leads somewhere. And examples that must
# not compile are refused with the error that they name, which rustdoc looks at only where it may be unstable.
set -eu
cd "$(dirname "$0")/.."
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --features futures-io --document-private-items
RUSTC_BOOTSTRAP=1 cargo test --doc --target-dir target/error-codes
