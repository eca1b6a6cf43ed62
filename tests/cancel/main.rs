//! Cancelling: what `kapok::cancel` promises, on whatever reactor and engine the environment names.

#[path = "../support/mod.rs"]
mod support;

mod fibers;
mod io;
mod nesting;
mod panics;
mod points;
mod races;
mod scopes;
mod workers;

use std::time::Duration;

/// Longer than any test may take.
const FOREVER: Duration = Duration::from_secs(3600);

/// As short as a time-out can be that has not passed yet.
const SOON: Duration = Duration::from_millis(1);
