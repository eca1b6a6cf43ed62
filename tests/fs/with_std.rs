//! The contract, as std fulfils it.

#![expect(clippy::duplicate_mod, reason = "the same tests with other names is what is wanted")]
#![expect(clippy::useless_conversion, reason = "for the others it converts")]

use std::fs;
use std::os::unix::fs::symlink;

fn run<T>(f: impl FnOnce() -> T) -> T {
    let _watchdog = crate::support::watchdog();
    f()
}

#[path = "contract/directories.rs"]
mod directories;
#[path = "contract/files.rs"]
mod files;
#[path = "contract/paths.rs"]
mod paths;
#[path = "contract/special.rs"]
mod special;
