//! `kapok::fan_out` and `kapok::run_in_main_context`: what each promises, on fibers with any number of workers and on threads;
//! with panics, when cancelled, with nothing to do, and when dropped early.

#[path = "../support/mod.rs"]
mod support;

mod batches;
mod collecting;
mod main_context;
mod observed;
mod promises;
mod tasks;

use std::time::Duration;

use kapok::runtime::Builder;

/// Longer than any test may take.
const FOREVER: Duration = Duration::from_secs(3600);

/// As short as a time-out can be that has not passed yet.
const SOON: Duration = Duration::from_millis(1);

/// Runs `f` with one worker, with two, and with four.
#[track_caller]
fn on_all_numbers_of_workers(f: impl Fn()) {
    let _watchdog = support::watchdog();
    for workers in [1, 2, 4] {
        let builder = Builder::new().workers(workers);
        builder.run(&f).expect("a runtime can be had");
    }
}
