//! A lock of threads for some stores.
//!
//! Taking it is one atomic exchange, and giving it back is a store, where `std::sync::Mutex` needs a second exchange, to learn
//! whether somebody sleeps. Nobody sleeps here for as long as a thread needs that has the lock and is running. Who waits for one
//! that was preempted lets others have the processor, and then sleeps in short steps: also under a real-time policy the thread that
//! has the lock gets to run. As Folly's `MicroSpinLock`.

use std::hint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a waiting thread looks before it lets others run, and how often it does that before it sleeps.
const LOOKS: u32 = 128;
const YIELDS: u32 = 16;
const NAP: Duration = Duration::from_micros(100);

/// For sections that are a few stores long, or take memory at most, and never wait.
#[derive(Debug)]
pub(super) struct SpinLock {
    is_locked: AtomicBool,
}

impl SpinLock {
    pub(super) const fn new() -> SpinLock {
        SpinLock {
            is_locked: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(super) fn lock(&self) {
        while self.is_locked.swap(true, Ordering::Acquire) {
            self.wait_until_free();
        }
    }

    /// To be called by whoever has it.
    #[inline]
    pub(super) fn unlock(&self) {
        debug_assert!(
            self.is_locked.load(Ordering::Relaxed),
            "whoever has it unlocks it, once"
        );
        self.is_locked.store(false, Ordering::Release);
    }

    #[cold]
    fn wait_until_free(&self) {
        let mut turns = 0_u32;
        while self.is_locked.load(Ordering::Relaxed) {
            match turns {
                0..LOOKS => hint::spin_loop(),
                LOOKS.. if turns < LOOKS + YIELDS => thread::yield_now(),
                _ => thread::sleep(NAP),
            }
            turns = turns.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// More threads than processors, so that one that has the lock is preempted now and then, also in the middle of a section.
    #[test]
    fn one_at_a_time_has_it_also_when_threads_are_preempted() {
        const THREADS: usize = 8;
        const EACH: usize = 5_000;
        let lock = SpinLock::new();
        // Read and written apart: two at a time would lose counts.
        let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let add_one = |count: &AtomicUsize| count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        thread::scope(|s| {
            for _ in 0..THREADS {
                s.spawn(|| {
                    for i in 0..EACH {
                        lock.lock();
                        assert_eq!(first.load(Ordering::Relaxed), second.load(Ordering::Relaxed));
                        add_one(&first);
                        if i % 1000 == 0 {
                            thread::yield_now();
                        }
                        add_one(&second);
                        lock.unlock();
                    }
                });
            }
        });
        assert_eq!(first.into_inner(), THREADS * EACH);
        assert_eq!(second.into_inner(), THREADS * EACH);
    }
}
