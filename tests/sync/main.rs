//! `kapok::sync`: what each primitive does between fibers, threads and workers, and that being cancelled at any wait loses
//! nothing.

#[path = "../support/mod.rs"]
mod support;

mod channels;
mod condvar;
mod everybody;
mod looks;
mod mutex;
mod once;
mod refused;
mod rwlock;
mod select;
mod select_more;

use std::thread;
use std::time::Duration;

use kapok::fiber;
use kapok::runtime::Builder;

/// Longer than any test may take.
const FOREVER: Duration = Duration::from_secs(3600);

/// As short as a time-out can be that has not passed yet.
const SOON: Duration = Duration::from_millis(1);

/// Runs `f` with one worker, with two, and with four.
#[track_caller]
fn on_all_numbers_of_workers(f: impl Fn(usize)) {
    let _watchdog = support::watchdog();
    for workers in [1, 2, 4] {
        let builder = Builder::new().workers(workers);
        builder.run(|| f(workers)).expect("a runtime can be had");
    }
}

/// When the others have had every chance to come to their wait.
fn yield_often() {
    (0..10).for_each(|_| fiber::yield_now());
}

/// Runs `f` on as many threads, and waits for them without blocking the worker.
fn on_threads(n: usize, f: impl Fn(usize) + Send + Sync) {
    let on_threads = || {
        thread::scope(|s| {
            let f = &f;
            (0..n).for_each(|i| drop(s.spawn(move || f(i))));
        });
    };
    kapok::blocking(on_threads);
}
