//! Handing values over, with nothing but Batons: whoever has one gives it to whoever has waited longest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kapok::sync::Baton;

use crate::support::OnDrop;

/// Where one receiver waits.
struct Slot {
    value: Mutex<Option<u64>>,
    given: Baton,
}

/// A place to meet.
#[derive(Default)]
pub(crate) struct Exchange {
    waiting: Mutex<VecDeque<Arc<Slot>>>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Exchange {
    /// Gives `value` to one who waits, if anybody does.
    pub(crate) fn send(&self, value: u64) -> bool {
        let Some(slot) = self.waiting.lock().unwrap().pop_front() else {
            return false;
        };
        self.sent.fetch_add(value, Ordering::Relaxed);
        *slot.value.lock().unwrap() = Some(value);
        slot.given.post();
        true
    }

    /// Waits for a value. What comes to one that is unwound meanwhile is received all the same.
    pub(crate) fn receive(&self, timeout: Duration) -> Option<u64> {
        let slot = Arc::new(Slot {
            value: Mutex::new(None),
            given: Baton::new(),
        });
        self.waiting.lock().unwrap().push_back(Arc::clone(&slot));
        let mut received = None;
        let leaves = OnDrop(|| {
            let mut waiting = self.waiting.lock().unwrap();
            let place = waiting.iter().position(|other| Arc::ptr_eq(other, &slot));
            let taken = place.map(|place| waiting.remove(place));
            drop(waiting);
            if taken.is_none() {
                // Somebody has chosen it, and is not a fiber that could wait in between.
                while !slot.given.try_wait() {
                    std::hint::spin_loop();
                }
                received = *slot.value.lock().unwrap();
                self.received
                    .fetch_add(received.expect("it was given"), Ordering::Relaxed);
            }
        });
        let in_time = slot.given.wait_timeout(timeout);
        drop(leaves);
        assert!(received.is_some() || !in_time);
        received
    }

    /// The sums of what was sent and received.
    pub(crate) fn sums(&self) -> [u64; 2] {
        [&self.sent, &self.received].map(|sum| sum.load(Ordering::Relaxed))
    }
}
