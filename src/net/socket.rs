//! What all sockets have in common: a descriptor that does not block, and how long to wait for it.

#![allow(unsafe_code, reason = "lends buffers to operations by address")]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::perform::{Patience, perform};
use crate::reactor::{Kind, Source};
use crate::sched::{Inbox, Worker};
use crate::sys::{self, socket};

/// A socket that does not block.
///
/// # Invariant
/// `fd` is open; `source` is its number and belongs to this value alone. The reactor is told before it is closed.
pub(super) struct Socket {
    /// `None` only while it is being taken apart.
    fd: Option<OwnedFd>,
    source: Source,
    mode: Arc<Mode>,
}

/// What std keeps in the kernel, for all descriptors of one open file: duplicates share it.
#[derive(Debug, Default)]
struct Mode {
    /// Nanoseconds; 0 is none.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
    nonblocking: AtomicBool,
    /// There are, or were, other descriptors of the same open file, so that closing this one does not make the kernel
    /// forget it.
    duplicated: AtomicBool,
    /// Set under the lock of `acceptors`, so that nobody begins to wait unseen.
    closed: AtomicBool,
    /// Who waits for a connection, through whichever handle.
    acceptors: Mutex<Vec<Acceptor>>,
}

impl Mode {
    fn acceptors(&self) -> MutexGuard<'_, Vec<Acceptor>> {
        // Nothing panics under the lock.
        self.acceptors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits for a connection.
#[derive(Clone, Debug)]
struct Acceptor {
    /// How to reach the worker whose fiber waits; `None` of a plain thread.
    worker: Option<Arc<Inbox>>,
    source: Source,
}

impl PartialEq for Acceptor {
    fn eq(&self, other: &Acceptor) -> bool {
        self.source == other.source && self.worker.as_ref().map(Arc::as_ptr) == other.worker.as_ref().map(Arc::as_ptr)
    }
}

/// While this lives, [`Socket::close`] knows of one that waits for a connection.
pub(super) struct Accepting<'a> {
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
    /// Takes a descriptor that does not block.
    pub(super) fn new(fd: OwnedFd) -> Socket {
        let source = Source::new(fd.as_raw_fd());
        Socket {
            fd: Some(fd),
            source,
            mode: Arc::default(),
        }
    }

    /// Takes any descriptor, and keeps it from blocking.
    ///
    /// A conversion cannot fail. Where the mode cannot be set, the descriptor is not one that could block a worker: fcntl
    /// fails for what is not open.
    pub(super) fn adopt(fd: OwnedFd) -> Socket {
        let was_nonblocking = sys::set_nonblocking(fd.as_fd(), true).unwrap_or_else(|error| {
            log::warn!("descriptor {} stays in blocking mode: {error}", fd.as_raw_fd());
            false
        });
        let socket = Socket::new(fd);
        // What the user has set goes along.
        socket.set_nonblocking(was_nonblocking);
        // Nobody knows who else has this open file.
        socket.mode.duplicated.store(true, Ordering::Relaxed);
        socket
    }

    /// Gives the descriptor away, blocking again unless the user has set it otherwise, or clones of ours would block with it
    /// (`clones_need_it`): the mode belongs to the open file.
    pub(super) fn into_fd(mut self, clones_need_it: bool) -> OwnedFd {
        let fd = self.fd.take().expect("a socket has a descriptor until it is dropped");
        self.forget(true);
        let needed = clones_need_it && Arc::strong_count(&self.mode) > 1;
        if !self.is_nonblocking() && !needed {
            if let Err(error) = sys::set_nonblocking(fd.as_fd(), false) {
                log::warn!("descriptor {} stays in non-blocking mode: {error}", fd.as_raw_fd());
            }
        }
        fd
    }

    /// Has the worker of this thread, if there is one, drop what it knows of the descriptor. Workers of other threads find
    /// out when the number comes back as another source.
    fn forget(&self, still_open: bool) {
        Worker::with(|worker| {
            if let Some(worker) = worker {
                worker.forget(self.source, still_open);
            }
        });
    }

    pub(super) fn raw(&self) -> RawFd {
        self.source.fd
    }

    pub(super) fn try_clone(&self) -> io::Result<Socket> {
        let fd = self.fd.as_ref().expect("a socket has a descriptor until it is dropped");
        let fd = socket::duplicate(fd)?;
        self.mode.duplicated.store(true, Ordering::Relaxed);
        let source = Source::new(fd.as_raw_fd());
        Ok(Socket {
            fd: Some(fd),
            source,
            mode: Arc::clone(&self.mode),
        })
    }

    // ---- operations --------------------------------------------------------------------------------------------------

    pub(super) fn connect(&self, address: &mut socket::Address, timeout: Option<Duration>) -> io::Result<()> {
        let kind = Kind::Connect {
            address: NonNull::from(address),
            started: false.into(),
        };
        let patience = timeout.map_or(Patience::Unlimited, Patience::Limited);
        // SAFETY: `address` is borrowed until this returns.
        unsafe { perform(self.source, kind, patience) }.map(drop)
    }

    pub(super) fn accept(&self, address: &mut socket::Address, patience: Patience) -> io::Result<RawFd> {
        let kind = Kind::Accept {
            address: NonNull::from(address),
        };
        // SAFETY: `address` is borrowed until this returns.
        let fd = unsafe { perform(self.source, kind, patience) }?;
        Ok(RawFd::try_from(fd).expect("accept answers with a descriptor"))
    }

    pub(super) fn recv(&self, buf: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
        let kind = Kind::Recv {
            len: buf.len(),
            buf: NonNull::from(buf).cast(),
            flags,
        };
        // SAFETY: `buf` is borrowed until this returns.
        unsafe { perform(self.source, kind, self.patience(&self.mode.read_timeout)) }
    }

    pub(super) fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        // As std, whose readv(2) asks the socket nothing then; recvmsg(2) would wait for data that it has no room for.
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        // An IoSliceMut is an iovec, its documentation says.
        let mut message = message(bufs.as_mut_ptr().cast(), bufs.len());
        let kind = Kind::RecvMsg {
            message: NonNull::from(&mut message),
            flags: 0,
        };
        // SAFETY: `message` and `bufs` are not touched until this returns.
        unsafe { perform(self.source, kind, self.patience(&self.mode.read_timeout)) }
    }

    pub(super) fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let kind = Kind::Send {
            buf: NonNull::from(buf).cast(),
            len: buf.len(),
            flags: socket::NO_SIGNAL,
        };
        // SAFETY: `buf` is borrowed until this returns.
        unsafe { perform(self.source, kind, self.patience(&self.mode.write_timeout)) }
    }

    pub(super) fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        // As std, whose writev(2) asks the socket nothing then.
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        // An IoSlice is an iovec, its documentation says; sending does not write to it.
        let mut message = message(bufs.as_ptr().cast_mut().cast(), bufs.len());
        let kind = Kind::SendMsg {
            message: NonNull::from(&mut message),
            flags: socket::NO_SIGNAL,
        };
        // SAFETY: `message` and `bufs` are not touched until this returns.
        unsafe { perform(self.source, kind, self.patience(&self.mode.write_timeout)) }
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket::shutdown(self.raw(), how)
    }

    // ---- how long to wait --------------------------------------------------------------------------------------------

    fn patience(&self, timeout: &AtomicU64) -> Patience {
        if self.is_nonblocking() {
            return Patience::None;
        }
        match timeout.load(Ordering::Relaxed) {
            0 => Patience::Unlimited,
            ns => Patience::Limited(Duration::from_nanos(ns)),
        }
    }

    pub(super) fn is_nonblocking(&self) -> bool {
        self.mode.nonblocking.load(Ordering::Relaxed)
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) {
        self.mode.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    pub(super) fn read_timeout(&self) -> Option<Duration> {
        load_timeout(&self.mode.read_timeout)
    }

    pub(super) fn write_timeout(&self) -> Option<Duration> {
        load_timeout(&self.mode.write_timeout)
    }

    pub(super) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        store_timeout(&self.mode.read_timeout, timeout)
    }

    pub(super) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        store_timeout(&self.mode.write_timeout, timeout)
    }

    // ---- closing under others ----------------------------------------------------------------------------------------

    /// To be held while one waits for a connection; `None` when the listener was closed, and nobody may wait.
    pub(super) fn accepting(&self) -> Option<Accepting<'_>> {
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

    pub(super) fn is_closed(&self) -> bool {
        self.mode.closed.load(Ordering::Acquire)
    }
}

/// More buffers than this the kernel refuses; the rest is the caller's next call.
const MAX_BUFFERS: usize = 1024;

fn message(buffers: *mut libc::iovec, count: usize) -> libc::msghdr {
    // SAFETY: all zeroes is a valid msghdr: no address, no buffers, no control data.
    let mut message = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
    message.msg_iov = buffers;
    message.msg_iovlen = count.min(MAX_BUFFERS) as _; // an int on some systems, a size_t on others
    message
}

fn load_timeout(timeout: &AtomicU64) -> Option<Duration> {
    Some(timeout.load(Ordering::Relaxed))
        .filter(|&ns| ns != 0)
        .map(Duration::from_nanos)
}

fn store_timeout(slot: &AtomicU64, timeout: Option<Duration>) -> io::Result<()> {
    let ns = match timeout {
        Some(Duration::ZERO) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "cannot set a 0 duration timeout",
            ));
        }
        Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        None => 0,
    };
    slot.store(ns, Ordering::Relaxed);
    Ok(())
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.fd.is_some() {
            let still_open = self.mode.duplicated.load(Ordering::Relaxed);
            self.forget(still_open);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
            .as_ref()
            .expect("a socket has a descriptor until it is dropped")
            .as_fd()
    }
}

/// The conversions from and to descriptors and std's own socket that std's sockets have.
macro_rules! conversions {
    ($name:ident) => {
        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.0.raw()
            }
        }

        impl From<OwnedFd> for $name {
            /// Puts the descriptor into non-blocking mode.
            fn from(fd: OwnedFd) -> $name {
                $name(Socket::adopt(fd))
            }
        }

        impl From<$name> for OwnedFd {
            /// Puts the descriptor back into blocking mode, unless `set_nonblocking(true)` was called. (A listener of which
            /// there are clones stays as it is: they share the mode, and must not block.)
            fn from(socket: $name) -> OwnedFd {
                socket.0.into_fd($name::CLONES_NEED_NONBLOCKING)
            }
        }

        impl From<std::net::$name> for $name {
            /// Puts the socket into non-blocking mode.
            fn from(socket: std::net::$name) -> $name {
                OwnedFd::from(socket).into()
            }
        }

        impl From<$name> for std::net::$name {
            /// Puts the socket back into blocking mode, unless `set_nonblocking(true)` was called.
            fn from(socket: $name) -> std::net::$name {
                OwnedFd::from(socket).into()
            }
        }

        impl FromRawFd for $name {
            #[expect(unsafe_code, reason = "the trait's contract is passed on")]
            unsafe fn from_raw_fd(fd: RawFd) -> $name {
                // SAFETY: the caller owns the descriptor, which is this trait's contract.
                unsafe { OwnedFd::from_raw_fd(fd) }.into()
            }
        }

        impl IntoRawFd for $name {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }
    };
}
pub(super) use conversions;
