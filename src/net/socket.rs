//! What all sockets have in common: a descriptor that does not block, and how long to wait for it.

#![allow(unsafe_code, reason = "lends buffers to operations by address")]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use super::accepting::Acceptor;
use crate::perform::{self, Patience, perform};
use crate::reactor::{Kind, Source};
use crate::sched::Worker;
use crate::sys::{self, Direction, socket, unix};
use crate::watcher::Slots;

/// A socket that does not block.
///
/// # Invariant
/// `fd` is open; `source` is its number and belongs to this value alone. The reactor is told before it is closed.
pub(super) struct Socket {
    /// The tasks that wait for it: withdrawn before the descriptor is closed, as the first of the fields.
    polled: Slots,
    /// `None` only while it is being taken apart.
    fd: Option<OwnedFd>,
    pub(super) source: Source,
    pub(super) mode: Arc<Mode>,
}

/// What std keeps in the kernel, for all descriptors of one open file: duplicates share it.
#[derive(Debug, Default)]
pub(super) struct Mode {
    /// Nanoseconds; 0 is none.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
    nonblocking: AtomicBool,
    /// There are, or were, other descriptors of the same open file, so that closing this one does not make the kernel
    /// forget it.
    duplicated: AtomicBool,
    /// Set under the lock of `acceptors`, so that nobody begins to wait unseen.
    pub(super) closed: AtomicBool,
    /// Who waits for a connection, through whichever handle.
    pub(super) acceptors: Mutex<Vec<Acceptor>>,
}

impl Socket {
    /// Takes a descriptor that does not block.
    pub(super) fn new(fd: OwnedFd) -> Socket {
        let source = Source::new(fd.as_raw_fd());
        Socket {
            fd: Some(fd),
            source,
            mode: Arc::default(),
            polled: Slots::default(),
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
            polled: Slots::default(),
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
        self.recv_with(buf, flags, self.recv_patience())
    }

    pub(super) fn recv_with(&self, buf: &mut [u8], flags: libc::c_int, patience: Patience) -> io::Result<usize> {
        let kind = Kind::Recv {
            len: buf.len(),
            buf: NonNull::from(buf).cast(),
            flags,
        };
        // SAFETY: `buf` is borrowed until this returns.
        unsafe { perform(self.source, kind, patience) }
    }

    pub(super) fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        // As std, whose readv(2) asks the socket nothing then; recvmsg(2) would wait for data that it has no room for.
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        self.recv_message(bufs, &mut Extras::default(), 0)
    }

    /// One message, or what a stream has. Unlike [`recv`](Socket::recv) it does not conclude from a short one that there are no
    /// more.
    pub(super) fn recv_message(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        extras: &mut Extras<'_>,
        flags: libc::c_int,
    ) -> io::Result<usize> {
        // An IoSliceMut is an iovec, its documentation says.
        let mut message = message(bufs.as_mut_ptr().cast(), bufs.len());
        if let Some(address) = &mut extras.address {
            let (name, _) = address.out_pointers();
            message.msg_name = name.cast();
            message.msg_namelen = address.len();
        }
        if let Some(control) = &mut extras.control {
            control.receive(&mut message);
        }
        let kind = Kind::RecvMsg {
            message: NonNull::from(&mut message),
            flags,
        };
        // SAFETY: `message`, `bufs` and `extras` are not touched until this returns.
        let count = unsafe { perform(self.source, kind, self.recv_patience()) }?;
        if let Some(address) = &mut extras.address {
            address.set_len(message.msg_namelen);
        }
        if let Some(control) = &mut extras.control {
            extras.descriptors = control.take(&message);
        }
        Ok(count)
    }

    pub(super) fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.send_with(buf, self.send_patience())
    }

    pub(super) fn send_with(&self, buf: &[u8], patience: Patience) -> io::Result<usize> {
        perform::send(self.source, buf, socket::NO_SIGNAL, patience)
    }

    pub(super) fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        // As std, whose writev(2) asks the socket nothing then.
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        self.send_message(bufs, None, &[], self.send_patience())
    }

    /// One message, to an address if one is given; or bytes into a stream.
    pub(super) fn send_message(
        &self,
        bufs: &[IoSlice<'_>],
        to: Option<&socket::Address>,
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> io::Result<usize> {
        // An IoSlice is an iovec, its documentation says; sending does not write to it.
        let mut message = message(bufs.as_ptr().cast_mut().cast(), bufs.len());
        if let Some(address) = to {
            message.msg_name = address.as_ptr().cast_mut().cast(); // sending does not write to it
            message.msg_namelen = address.len();
        }
        let mut control = (!descriptors.is_empty()).then(unix::Control::new);
        if let Some(control) = &mut control {
            control.send(&mut message, descriptors)?;
        }
        let kind = Kind::SendMsg {
            message: NonNull::from(&mut message),
            flags: socket::NO_SIGNAL,
        };
        // SAFETY: `message`, what it points to, and `control` are not touched until this returns.
        unsafe { perform(self.source, kind, patience) }
    }

    /// Does what must not go through a ring, or is no operation of a reactor: `attempt`, which never waits, and again when the
    /// socket has become ready, for as long as its mode and time-out say.
    pub(super) fn when_ready<T>(&self, direction: Direction, attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let patience = match direction {
            Direction::Read => self.recv_patience(),
            Direction::Write => self.send_patience(),
        };
        perform::when_ready(self.source, direction, patience, attempt)
    }

    /// Ready when the socket is; else the task is woken then.
    pub(super) fn poll_ready(&self, direction: Direction, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polled.poll(self.source, direction, context)
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket::shutdown(self.raw(), how)
    }

    // ---- how long to wait --------------------------------------------------------------------------------------------

    fn recv_patience(&self) -> Patience {
        self.patience(&self.mode.read_timeout)
    }

    pub(super) fn send_patience(&self) -> Patience {
        self.patience(&self.mode.write_timeout)
    }

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
}

/// What a message is received with, beside its bytes.
#[derive(Debug, Default)]
pub(super) struct Extras<'a> {
    /// Room for where it comes from.
    pub(super) address: Option<&'a mut socket::Address>,
    /// Room for descriptors.
    pub(super) control: Option<Box<unix::Control>>,
    /// Those that have come.
    pub(super) descriptors: Vec<OwnedFd>,
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
