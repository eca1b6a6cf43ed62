//! The readiness of a descriptor as a future.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::reactor::Source;
use crate::sys::Direction;
use crate::watcher::{Slot, Watchable};

/// The future of a descriptor's readiness; see [`readable`].
///
/// Dropping it withdraws the wait from the reactor.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Ready<'a> {
    source: Source,
    direction: Direction,
    slot: Slot,
    _open: PhantomData<&'a ()>,
}

/// A future that is ready when a read would not wait: there is something, or the end, or an error. It may be gone again by
/// the time that the caller reads. Any number of tasks may wait so for one socket.
///
/// The worker of the thread that polls it first watches the descriptor, in a reactor that it has anyway; where that thread is none,
/// one of Kapok's own does, for the whole process. So it works under any executor.
///
/// Its output is an error where the kernel cannot wait for the descriptor.
///
/// ```
/// use kapok::net::UnixStream;
/// use std::io::Write;
///
/// kapok::run(|| -> std::io::Result<()> {
///     let (here, mut there) = UnixStream::pair()?;
///     let writes = kapok::spawn(move || there.write_all(b"hello"));
///     kapok::block_on(kapok::future::readable(&here))?;
///     writes.join().unwrap()
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn readable<W: Watchable + ?Sized>(socket: &W) -> Ready<'_> {
    ready(socket, Direction::Read)
}

/// As [`readable`], for writing.
pub fn writable<W: Watchable + ?Sized>(socket: &W) -> Ready<'_> {
    ready(socket, Direction::Write)
}

fn ready<W: Watchable + ?Sized>(socket: &W, direction: Direction) -> Ready<'_> {
    Ready {
        source: socket.watched().0,
        direction,
        slot: Slot::default(),
        _open: PhantomData,
    }
}

impl Future for Ready<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.slot.poll(self.source, self.direction, context)
    }
}
