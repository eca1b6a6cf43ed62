//! Buffers that nobody uses at the moment.
//!
//! A connection has buffers for heads and answers only while it has a request to answer. The one that was given back last is handed out first: so one
//! connection after the other works in the same memory, which is in the cache, and those who are silent need none.

use std::cell::RefCell;

/// Larger ones are not worth keeping.
const LARGEST: usize = 4 * 1024;
/// More of them are not wanted at a time, as a rule.
const MOST: usize = 128;

thread_local! {
    // One list a worker thread is enough: fibers stay on their thread, and nothing here suspends.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub(crate) fn take() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

pub(crate) fn give_back(mut buffer: Vec<u8>) {
    if (1..=LARGEST).contains(&buffer.capacity()) {
        buffer.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < MOST {
                spare.push(buffer);
            }
        });
    }
}
