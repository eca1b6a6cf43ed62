//! A bell of `EVFILT_USER`: the kqueue that waits rings itself.

use std::io;
use std::sync::Arc;

use crate::sys;
use crate::sys::kqueue::{self, EV_ADD, EV_CLEAR, EVFILT_USER, NOTE_TRIGGER, Queue};

/// The only user event of its kqueue, so any number will do.
const IDENT: usize = 0;

/// A user event. Triggering it is one system call, hearing it none: with `EV_CLEAR` its report resets it.
#[derive(Clone, Debug)]
pub(crate) struct User(Arc<Queue>);

impl User {
    /// # Errors
    /// `EINVAL` where the kernel has no such filter.
    pub(crate) fn new(queue: Arc<Queue>) -> io::Result<User> {
        queue.apply(&mut [kqueue::change(IDENT, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0)])?;
        Ok(User(queue))
    }

    pub(super) fn ring(&self) {
        let trigger = kqueue::change(IDENT, EVFILT_USER, 0, NOTE_TRIGGER, 0);
        if let Err(error) = sys::retry(|| self.0.kevent(&[trigger], &mut Vec::new(), None)) {
            sys::fatal(format_args!(
                "the bell cannot be rung: {}",
                sys::explain("kevent", &error)
            ));
        }
    }
}
