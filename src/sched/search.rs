//! One at a time is woken to look for work.
//!
//! ```text
//!   who puts work down                           a worker
//!   ------------------                           --------
//!   put it down                                  announce the sleep
//!   anybody asleep?                              any work?   yes: do not sleep
//!   searching already?   yes: that one sees it   sleep
//!      searching := true                         look for work, take some
//!      wake one                                  searching := false
//!      nobody slept:                             is there more? then wake the next one
//!         searching := false, look again
//! ```
//!
//! Who finds somebody searching may leave it at that: whoever searches looks for what is left after it has said that it is
//! done, and so does who found nobody to wake.

use self::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// The atomics of what is model-checked: std's, or the model's (`model.rs`).
pub(super) mod atomic {
    #[cfg(all(loom, test))]
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};
    #[cfg(not(all(loom, test)))]
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

    /// Between a sequentially consistent store and such a load, which are in order by themselves. The model takes these
    /// for acquire and release, but knows fences.
    #[inline(always)]
    pub(crate) fn order_accesses() {
        #[cfg(all(loom, test))]
        fence(Ordering::SeqCst);
    }
}

/// Who sleeps, and whether somebody was woken and has not looked yet.
#[derive(Debug)]
pub(super) struct Search {
    /// Workers that have announced their sleep and are not back yet.
    sleepers: AtomicUsize,
    under_way: AtomicBool,
}

impl Search {
    pub(super) fn new() -> Search {
        Search {
            sleepers: AtomicUsize::new(0),
            under_way: AtomicBool::new(false),
        }
    }

    /// The calling worker has announced its sleep to its inbox, and will look for work once more.
    pub(super) fn going_to_sleep(&self) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// It is back.
    pub(super) fn awake(&self) {
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Something was put down. `wake_one` wakes one who sleeps and says whether there was one; `in_vain` says whether
    /// somebody sleeps while there is work.
    #[inline]
    pub(super) fn notify(&self, wake_one: impl FnMut() -> bool, in_vain: impl Fn() -> bool) {
        // Either we see who sleeps, or they, who look again after they have said so, see what was put down.
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            self.begin(wake_one, in_vain);
        }
    }

    #[cold]
    fn begin(&self, mut wake_one: impl FnMut() -> bool, in_vain: impl Fn() -> bool) {
        loop {
            if self.under_way.load(Ordering::SeqCst) || self.under_way.swap(true, Ordering::SeqCst) || wake_one() {
                return;
            }
            // A swap, because the model allows a plain store to be overtaken by a swap that came before it.
            self.under_way.swap(false, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if !in_vain() {
                return;
            }
        }
    }

    /// One that was asleep has looked. If true, it has to see whether there is more, and wake the next one.
    pub(super) fn end(&self) -> bool {
        let searched = self.under_way.load(Ordering::SeqCst) && self.under_way.swap(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        searched
    }
}
