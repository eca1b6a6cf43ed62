//! The contract, as fibers fulfil it.

#![expect(clippy::duplicate_mod, reason = "the same tests with other names is what is wanted")]

use kapok::fs::{self, symlink};

use crate::support::run;

#[path = "contract/directories.rs"]
mod directories;
#[path = "contract/files.rs"]
mod files;
#[path = "contract/paths.rs"]
mod paths;
#[path = "contract/special.rs"]
mod special;
