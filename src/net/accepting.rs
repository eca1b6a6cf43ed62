//! Accepting, which others may end: who waits for connections, and how that is closed under them.

use std::io;
use std::net::Shutdown;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::socket::{Mode, Socket};
use crate::perform::Patience;
use crate::reactor::Source;
use crate::sched::{Inbox, Worker};
use crate::sys::socket::Address;

/// How many connections the kernel holds until they are accepted; it cuts this to its own limit (`somaxconn`).
pub(super) const BACKLOG: libc::c_int = 4096;

/// One that waits for a connection.
#[derive(Clone, Debug)]
pub(super) struct Acceptor {
    /// How to reach the worker whose fiber waits; `None` of a plain thread.
    worker: Option<Arc<Inbox>>,
    source: Source,
}

impl PartialEq for Acceptor {
    fn eq(&self, other: &Acceptor) -> bool {
        self.source == other.source && self.worker.as_ref().map(Arc::as_ptr) == other.worker.as_ref().map(Arc::as_ptr)
    }
}

impl Mode {
    fn acceptors(&self) -> MutexGuard<'_, Vec<Acceptor>> {
        // Nothing panics under the lock.
        self.acceptors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this lives, [`Socket::close`] knows of one that waits for a connection.
struct Accepting<'a> {
    mode: &'a Mode,
    acceptor: Acceptor,
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        let mut acceptors = self.mode.acceptors();
        if let Some(i) = acceptors.iter().position(|acceptor| *acceptor == self.acceptor) {
            acceptors.swap_remove(i);
        }
    }
}

impl Socket {
    /// Waits for a connection, and takes it; `NotConnected` when nobody may wait any more, and none is there.
    pub(super) fn next_connection(&self) -> io::Result<(Socket, Address)> {
        loop {
            let accepting = self.accepting();
            let closed = accepting.is_none();
            let patience = if closed || self.is_nonblocking() {
                Patience::None
            } else {
                Patience::Unlimited
            };
            let mut address = Address::empty();
            return match self.accept(&mut address, patience) {
                Ok(fd) => Ok((Socket::new(owned(fd)), address)),
                // It was closed while this fiber waited: now take what is there.
                Err(_) if !closed && self.is_closed() => continue,
                Err(error) if closed && !is_about_a_connection(&error) => {
                    Err(io::Error::new(io::ErrorKind::NotConnected, "the listener was closed"))
                }
                Err(error) => Err(error),
            };
        }
    }

    /// To be held while one waits for a connection; `None` when the listener was closed, and nobody may wait.
    fn accepting(&self) -> Option<Accepting<'_>> {
        let acceptor = Acceptor {
            worker: Worker::with_fiber(|here| here.map(|(worker, _)| Arc::clone(worker.inbox()))),
            source: self.source,
        };
        let mut acceptors = self.mode.acceptors();
        if self.is_closed() {
            return None;
        }
        acceptors.push(acceptor.clone());
        Some(Accepting {
            mode: &self.mode,
            acceptor,
        })
    }

    /// Nobody waits for a connection any more: those that do end, later ones get what is there.
    pub(super) fn close(&self) {
        let mut acceptors = self.mode.acceptors();
        self.mode.closed.store(true, Ordering::Release);
        let (fibers, threads): (Vec<_>, Vec<_>) = acceptors.drain(..).partition(|acceptor| acceptor.worker.is_some());
        drop(acceptors);
        for Acceptor { worker, source } in fibers {
            let Some(inbox) = worker else { continue };
            Worker::with(|here| match here {
                Some(here) if Arc::ptr_eq(here.inbox(), &inbox) => here.cancel_all(source),
                // The fiber may have gone on by then, which does no harm: the source is not used for anything else.
                _ => inbox.call(Box::new(move |worker| worker.cancel_all(source))),
            });
        }
        // Plain threads are out of reach. Linux ends an accept when the socket is shut down.
        if !threads.is_empty() {
            if let Err(error) = self.shutdown(Shutdown::Both) {
                log::debug!("shutdown of descriptor {}: {error}", self.raw());
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.mode.closed.load(Ordering::Acquire)
    }
}

#[expect(unsafe_code, reason = "takes the ownership of a new descriptor")]
fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: `accept` has just made it, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Errors of `accept(2)` that concern one connection or the lack of something, and not the listener.
fn is_about_a_connection(error: &io::Error) -> bool {
    !matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::ECANCELED | libc::EINVAL)
    )
}

/// The iterators over the connections of a listener, and where they end.
macro_rules! incoming {
    ($listener:ident gives $stream:ident, as $std:literal) => {
        #[doc = concat!("The connections of a listener. As [`", $std, "`], but it ends when the listener is")]
        #[doc = concat!("[closed](", stringify!($listener), "::close).")]
        #[derive(Debug)]
        pub struct Incoming<'a>(&'a $listener);

        impl Iterator for Incoming<'_> {
            type Item = io::Result<$stream>;

            fn next(&mut self) -> Option<io::Result<$stream>> {
                self.0.next_stream()
            }
        }

        /// The connections of a listener that it owns.
        #[derive(Debug)]
        pub struct IntoIncoming($listener);

        impl std::iter::FusedIterator for Incoming<'_> {}
        impl std::iter::FusedIterator for IntoIncoming {}

        impl Iterator for IntoIncoming {
            type Item = io::Result<$stream>;

            fn next(&mut self) -> Option<io::Result<$stream>> {
                self.0.next_stream()
            }
        }

        impl $listener {
            /// The connections, one after the other; it ends when the listener is
            #[doc = concat!("[closed](", stringify!($listener), "::close).")]
            #[must_use]
            pub fn incoming(&self) -> Incoming<'_> {
                Incoming(self)
            }

            #[doc = concat!("As [`incoming`](", stringify!($listener), "::incoming), owning the listener.")]
            #[must_use]
            pub fn into_incoming(self) -> IntoIncoming {
                IntoIncoming(self)
            }

            fn next_stream(&self) -> Option<io::Result<$stream>> {
                match self.accept() {
                    Ok((stream, _)) => Some(Ok(stream)),
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
                    Err(error) => Some(Err(error)),
                }
            }

            /// Ends the waiting for connections: fibers in `accept`, and later calls of it, get what the kernel has taken
            /// already, and then an error of the kind `NotConnected`. `incoming` ends.
            ///
            /// For a server that stops: whoever has connected is served, then the listener is dropped. Until it is, the
            /// kernel goes on taking connections, and a later `accept` gets them. Where a plain thread waits, who connects in
            /// that very moment is reset.
            pub fn close(&self) {
                self.0.close();
            }
        }
    };
}
pub(super) use incoming;
