//! What the tests of the public API share: deadlines, runtimes, child processes, and random numbers that repeat.
//!
//! Nothing here waits for a time to pass in the hope that something has happened by then. A test that hangs is ended by
//! its [`Watchdog`], so a wait needs no limit of its own.

#![allow(dead_code, reason = "every test program uses a part of this")]

use std::any::Any;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use kapok::Engine;

pub(crate) mod child;
pub(crate) mod emulator;
pub(crate) mod server;

/// How long a test may take, on a slow and busy machine too.
const DEADLINE: Duration = Duration::from_secs(180);

/// Ends the process when it is not dropped in time: a test that hangs cannot be ended in another way.
#[derive(Debug)]
pub(crate) struct Watchdog {
    _dropped_in_time: mpsc::Sender<()>,
}

/// A watchdog for the test that calls.
#[track_caller]
pub(crate) fn watchdog() -> Watchdog {
    watchdog_after(DEADLINE)
}

#[track_caller]
pub(crate) fn watchdog_after(deadline: Duration) -> Watchdog {
    let deadline = emulator::patience(deadline);
    let caller = Location::caller();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let (sender, receiver) = mpsc::channel();
    let (started, begins) = mpsc::channel::<()>();
    thread::spawn(move || {
        drop(started);
        if receiver.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout) {
            show(&format!("{test} ({caller}) is not done after {deadline:?}"));
            std::process::abort();
        }
    });
    // A test that takes memory away from its process must not meet a thread that is still being set up.
    begins.recv().expect_err("the thread only hangs up");
    Watchdog {
        _dropped_in_time: sender,
    }
}

/// `kapok::run` with a watchdog, as the environment sets it up.
#[track_caller]
pub(crate) fn run<T>(f: impl FnOnce() -> T) -> T {
    let _watchdog = watchdog();
    kapok::run(f).expect("a runtime can be had")
}

/// As [`run`], with one engine.
#[track_caller]
pub(crate) fn run_with<T>(engine: Engine, f: impl FnOnce() -> T) -> T {
    let _watchdog = watchdog();
    kapok::runtime::Builder::new()
        .switch(engine)
        .run(f)
        .expect("a runtime can be had")
}

/// As [`run`], with one worker: for what depends on that who was spawned does not run before its parent waits, and that
/// nobody runs beside it.
#[track_caller]
pub(crate) fn run_on_one<T>(f: impl FnOnce() -> T) -> T {
    let _watchdog = watchdog();
    let builder = kapok::runtime::Builder::new().workers(1);
    builder.run(f).expect("a runtime can be had")
}

/// As [`run_on_one`], with one engine.
#[track_caller]
pub(crate) fn run_on_one_with<T>(engine: Engine, f: impl FnOnce() -> T) -> T {
    let _watchdog = watchdog();
    let builder = kapok::runtime::Builder::new().workers(1).switch(engine);
    builder.run(f).expect("a runtime can be had")
}

/// Writes a line that is seen even when the test passes.
pub(crate) fn show(line: &str) {
    // Nothing can be done about a closed standard error.
    drop(io::stderr().lock().write_all(format!("{line}\n").as_bytes()));
}

/// Tells that something is not tested here; panics where the variable says that it has to be.
#[track_caller]
pub(crate) fn skip(why: &str, required_by: &str) {
    assert!(
        std::env::var_os(required_by).is_none_or(|value| value != "1"),
        "{why}, and {required_by}=1"
    );
    show(&format!("SKIP {why}"));
}

/// The sentence that a panic came with.
#[track_caller]
pub(crate) fn sentence(payload: Box<dyn Any + Send>) -> String {
    let payload = match payload.downcast::<&'static str>() {
        Ok(text) => return (*text).to_owned(),
        Err(payload) => payload,
    };
    *payload.downcast::<String>().expect("a panic with a sentence")
}

/// Runs what has to panic, and gives the sentence it panics with.
#[track_caller]
pub(crate) fn panics<T>(f: impl FnOnce() -> T) -> String {
    match panic::catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("it was to panic, and has not"),
        Err(payload) => sentence(payload),
    }
}

/// Asserts that `text` says all of `parts`.
#[track_caller]
pub(crate) fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

/// How many descriptors this process has open; `None`, and a line that says so, where that cannot be told.
pub(crate) fn open_descriptors() -> Option<usize> {
    match std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory that is being read.
        Ok(entries) => Some(entries.count() - 1),
        Err(error) => {
            skip(
                &format!("open descriptors are not counted: /proc/self/fd: {error}"),
                "KAPOK_REQUIRE_PROC",
            );
            None
        }
    }
}

/// How many descriptors may stay open for good when there was a runtime: libkqueue's own, and its kqueues, several descriptors
/// each, which are kept to be used again.
pub(crate) const LASTING_DESCRIPTORS: usize = if cfg!(kapok_libkqueue) { 32 } else { 0 };

/// Asserts that everything is closed that was opened since [`open_descriptors`] gave `before`.
#[track_caller]
pub(crate) fn all_is_closed_since(before: Option<usize>) {
    let before = before.map(|before| before + LASTING_DESCRIPTORS);
    let now = open_descriptors();
    assert!(now <= before, "{before:?} descriptors, and then {now:?}");
}

/// How many mappings a process may have; `None` where nothing says so.
pub(crate) fn max_mappings() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    text.trim().parse().ok()
}

/// A value that counts how often it was dropped.
#[derive(Debug)]
pub(crate) struct CountsDrops<'a>(pub(crate) &'a AtomicUsize);

impl Drop for CountsDrops<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Calls the function when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Numbers that look random and are the same each time (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        // Zero is the one state that it never leaves; neighbouring seeds should not give similar numbers.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a usize fits");
        usize::try_from(self.next() % bound).expect("below a usize")
    }

    pub(crate) fn micros_below(&mut self, bound: usize) -> Duration {
        Duration::from_nanos(self.next() % (1000 * u64::try_from(bound).expect("a usize fits")))
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[7]).collect()
    }
}
