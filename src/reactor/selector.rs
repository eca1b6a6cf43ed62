//! What a readiness kernel has to offer: register once, wait for many.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::bell::Bell;
use crate::sys::Direction;

/// One descriptor's news.
///
/// An edge is a hint that an attempt is worth while, never a promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// What it was registered with.
    pub(crate) token: u64,
    /// Reading may get further than it did.
    pub(crate) readable: bool,
    /// Writing may get further than it did.
    pub(crate) writable: bool,
    /// From now on reading never blocks: the peer is done, or the descriptor is broken.
    pub(crate) read_closed: bool,
    /// From now on writing never blocks.
    pub(crate) write_closed: bool,
    /// Urgent data is about: a read may stop short of what there is.
    pub(crate) urgent: bool,
    /// An errno that came with it: it could not be watched, or is broken. What an attempt in the directions that this is
    /// about does not settle ends with it, as nothing more may be reported of them.
    pub(crate) error: Option<i32>,
}

/// A kernel's way to watch descriptors.
///
/// A descriptor is registered once in its life, for both directions. After an attempt would have blocked, and the direction
/// was armed, the next change in that direction is reported at least once.
pub(crate) trait Selector {
    /// Whether it says when urgent data is about, or repeats what it has said for as long as there is something to read.
    /// Where it does neither, a short read may have stopped at the urgent mark, and does not mean an empty socket.
    const SEES_URGENT: bool = true;

    /// Watches `fd`.
    fn register(&mut self, fd: RawFd, token: u64) -> io::Result<()>;

    /// Watches it no longer. It is about to be closed; `still_open` says that the open file lives on under another number,
    /// so that closing this one does not end the kernel's interest by itself.
    fn deregister(&mut self, fd: RawFd, still_open: bool) -> io::Result<()>;

    /// An operation begins to wait in that direction. What is ready at this moment is reported, too. Where the kernel
    /// reports every edge of what was registered, nothing has to be done.
    fn arm(&mut self, fd: RawFd, direction: Direction) -> io::Result<()> {
        let _ = (fd, direction);
        Ok(())
    }

    /// Appends what has happened to `events`, after waiting for something, or for the bell, for at most `timeout` (`None`:
    /// for ever). May come back early with nothing when a signal came.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// What ends a `wait` from another thread.
    fn bell(&self) -> Bell;
}
