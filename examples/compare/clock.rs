//! The time that this thread has had a processor: what others do on a machine meanwhile is not in it.

#![expect(unsafe_code, reason = "a system call that std has not got")]

/// When a measurement began.
pub(crate) struct Stopwatch(f64);

impl Stopwatch {
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(thread_ns())
    }

    /// Nanoseconds for each of so many.
    pub(crate) fn ns_each(&self, n: u32) -> f64 {
        (thread_ns() - self.0) / f64::from(n)
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is well below 2^53 ns")]
fn thread_ns() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a time to be written to.
    let error = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(error, 0, "a thread has a clock");
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
