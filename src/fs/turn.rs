//! Who moves a file's position.
//!
//! Two that read from one position at the same time would get the same bytes, and two that write would overwrite each other.
//! The kernel prevents that for system calls, and where one waits for the disk, the next blocks its thread. For operations in
//! a ring it does not. So whoever goes by the position of a regular file has to have its turn first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::way;
use crate::baton::Baton;
use crate::no_suspend;

/// One at a time, in order of arrival; fibers wait suspended, threads blocked.
#[derive(Debug, Default)]
pub(super) struct Turnstile(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken: bool,
    waiting: VecDeque<Arc<Baton>>,
}

/// While this lives, it is the turn of whoever holds it.
#[derive(Debug)]
#[must_use]
pub(super) struct Turn<'a>(&'a Turnstile);

impl Turnstile {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait(&self) -> Turn<'_> {
        let mut state = self.lock();
        if state.taken {
            if way::is_in_fiber() && no_suspend::depth() > 0 {
                // Whoever stands in line has to stay until its turn comes.
                drop(state);
                no_suspend::refuse();
            }
            let mine = Arc::new(Baton::new());
            state.waiting.push_back(Arc::clone(&mine));
            drop(state);
            mine.wait(); // and it is still taken: by us
        } else {
            state.taken = true;
        }
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        match state.waiting.pop_front() {
            Some(next) => {
                drop(state);
                next.post();
            }
            None => state.taken = false,
        }
    }
}
