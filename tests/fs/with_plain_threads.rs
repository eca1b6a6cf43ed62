//! The contract, as it is fulfilled on threads that have no runtime.

#![expect(clippy::duplicate_mod, reason = "the same tests with other names is what is wanted")]

use kapok::fs::{self, symlink};

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
