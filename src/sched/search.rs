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

#[cfg(not(all(loom, test)))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

#[cfg(all(loom, test))]
use loom::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether somebody was woken and has not looked yet.
#[derive(Debug, Default)]
pub(super) struct Search {
    under_way: AtomicBool,
}

impl Search {
    /// Something was put down, and somebody sleeps. `wake_one` wakes one and says whether there was one; `in_vain` says
    /// whether somebody sleeps while there is work.
    ///
    /// What was put down has to be visible to whoever looks after this: the caller has a fence before it.
    pub(super) fn begin(&self, mut wake_one: impl FnMut() -> bool, in_vain: impl Fn() -> bool) {
        loop {
            if self.under_way.load(Ordering::SeqCst) || self.under_way.swap(true, Ordering::SeqCst) || wake_one() {
                return;
            }
            self.under_way.store(false, Ordering::SeqCst);
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
