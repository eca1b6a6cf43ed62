//! What a readiness kernel has to offer: register once, wait for many.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

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
}

/// A kernel's way to watch descriptors, edge-triggered.
///
/// A descriptor is registered once in its life, for both directions. After an attempt would have blocked, the next
/// change in that direction is reported at least once.
pub(crate) trait Selector {
    /// Watches `fd` in both directions. What is ready at this moment is reported, too.
    fn register(&mut self, fd: RawFd, token: u64) -> io::Result<()>;

    /// Watches it no longer. Only needed where closing the descriptor does not do it.
    fn deregister(&mut self, fd: RawFd) -> io::Result<()>;

    /// Appends what has happened to `events`, after waiting for something for at most `timeout` (`None`: for ever). May
    /// come back early with nothing when a signal came.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;
}
