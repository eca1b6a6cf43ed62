//! An operation: what a fiber waits for, in a struct on its own stack.
//!
//! The frame that owns an `Op` also owns, or borrows, the buffers that it points to. It cannot go away before the
//! operation has ended, because its fiber is suspended until then: that is what makes borrowed buffers sound even
//! with a kernel that fills them on its own.

use std::cell::Cell;
use std::io;
use std::marker::PhantomPinned;
use std::os::fd::RawFd;
#[cfg(kapok_io_uring)]
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;

use super::file::FileOp;
use crate::sys::{Direction, socket, transfer};

/// A descriptor as the reactor knows it: the number, and which use of that number it is.
///
/// The kernel hands a number out again as soon as it is closed. The generation tells the new owner from the old one,
/// so that neither events nor registrations of the old one are taken for the new one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) fd: RawFd,
    pub(crate) generation: u64,
}

impl Source {
    /// The next use of the number `fd`.
    pub(crate) fn new(fd: RawFd) -> Source {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1); // 0 stands for "nobody"
        Source {
            fd,
            generation: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The source of operations on a file, or on none (`AT_FDCWD`). No backend keeps anything about it.
    pub(crate) fn of_file(fd: RawFd) -> Source {
        Source { fd, generation: 0 }
    }
}

/// What is to be done.
///
/// # Invariant
/// The pointers of a submitted operation stay valid, and what they point to is touched by nobody else, until it has
/// completed.
#[derive(Debug)]
pub(crate) enum Kind {
    /// `accept(2)`; the result is the new descriptor, which does not block and is closed on exec.
    Accept { address: NonNull<socket::Address> },
    /// `connect(2)`; the result is 0.
    Connect {
        address: NonNull<socket::Address>,
        started: Cell<bool>,
    },
    /// `recv(2)` from a stream; the result is the number of bytes. For messages there is `RecvMsg`: that one is shorter than
    /// the buffer does not mean that it was the last.
    Recv {
        buf: NonNull<u8>,
        len: usize,
        flags: libc::c_int,
    },
    /// `send(2)`; the result is the number of bytes, which may be fewer than asked for.
    Send {
        buf: NonNull<u8>,
        len: usize,
        flags: libc::c_int,
    },
    /// `recvmsg(2)`.
    RecvMsg {
        message: NonNull<libc::msghdr>,
        flags: libc::c_int,
    },
    /// `sendmsg(2)`.
    SendMsg {
        message: NonNull<libc::msghdr>,
        flags: libc::c_int,
    },
    /// `read(2)` from what can be polled and has no position: a pipe, a terminal, a socket. It is in non-blocking mode,
    /// since no flag of the call can stand in for that.
    Read { buf: NonNull<u8>, len: usize },
    /// `write(2)` to what can be polled and has no position, in non-blocking mode as for `Read`. To a pipe without a reader
    /// it raises SIGPIPE, too, which Rust programs ignore.
    Write { buf: NonNull<u8>, len: usize },
    /// Until the descriptor is ready in that direction; the result is 0. It transfers nothing: what the readiness is for is
    /// done by somebody else, who may find it gone.
    Ready(Direction),
    /// Something with a file, for a backend that [takes](super::Backend::takes) it.
    #[cfg_attr(
        not(kapok_io_uring),
        expect(dead_code, reason = "no backend of this system takes files")
    )]
    File {
        what: FileOp,
        /// It is to end early.
        cancelled: Cell<bool>,
    },
}

impl Kind {
    pub(crate) fn file(what: FileOp) -> Kind {
        Kind::File {
            what,
            cancelled: Cell::new(false),
        }
    }
}

/// How an operation ended: a count or a descriptor, or an errno.
pub(crate) type Outcome = Result<usize, i32>;

/// One operation, from `submit` to its one completion.
///
/// # Invariant
/// Between `submit` and its completion the backend owns the links, and the struct neither moves nor dies.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) source: Source,
    pub(crate) kind: Kind,
    /// Whom it concerns; the reactor only carries it. Null where nobody is to be woken.
    user: Cell<*const ()>,
    outcome: Cell<Option<Outcome>>,
    /// A backend has it.
    #[cfg(debug_assertions)]
    pending: Cell<bool>,
    pub(super) prev: Cell<Option<NonNull<Op>>>,
    pub(super) next: Cell<Option<NonNull<Op>>>,
    _pinned: PhantomPinned,
}

impl Op {
    /// One that concerns nobody yet.
    #[inline]
    pub(crate) fn new(source: Source, kind: Kind) -> Op {
        Op {
            source,
            kind,
            user: Cell::new(std::ptr::null()),
            outcome: Cell::new(None),
            #[cfg(debug_assertions)]
            pending: Cell::new(false),
            prev: Cell::new(None),
            next: Cell::new(None),
            _pinned: PhantomPinned,
        }
    }

    /// Says whom it concerns, before it is submitted.
    pub(crate) fn set_user(&self, user: *const ()) {
        self.user.set(user);
    }

    /// Whom it concerns.
    pub(crate) fn user(&self) -> *const () {
        self.user.get()
    }

    /// How it ended; `None` while it has not.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.get()
    }

    #[cfg(debug_assertions)]
    pub(super) fn is_pending(&self) -> bool {
        self.pending.get()
    }

    #[cfg(debug_assertions)]
    pub(super) fn set_pending(&self, pending: bool) {
        self.pending.set(pending);
    }

    /// Closes the descriptor that it ended with, which nobody will be told of.
    #[cfg(kapok_io_uring)]
    pub(super) fn disown(&self) {
        let makes_descriptors = matches!(
            self.kind,
            Kind::Accept { .. }
                | Kind::File {
                    what: FileOp::Open { .. },
                    ..
                }
        );
        if let (true, Some(Ok(fd))) = (makes_descriptors, self.outcome.get()) {
            let fd = RawFd::try_from(fd).expect("a descriptor fits");
            // SAFETY: it is new, and only this operation knows it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            self.outcome.set(Some(Err(libc::ECANCELED)));
        }
    }

    pub(super) fn complete(&self, outcome: Outcome) {
        debug_assert!(self.outcome.get().is_none(), "an operation completes once");
        self.outcome.set(Some(outcome));
    }

    /// The readiness that it waits for.
    pub(crate) fn direction(&self) -> Direction {
        match self.kind {
            Kind::Accept { .. } | Kind::Recv { .. } | Kind::RecvMsg { .. } | Kind::Read { .. } => Direction::Read,
            Kind::Connect { .. } | Kind::Send { .. } | Kind::SendMsg { .. } | Kind::Write { .. } => Direction::Write,
            Kind::Ready(direction) => direction,
            Kind::File { .. } => unreachable!("an operation on a file waits for no readiness"),
        }
    }

    /// True when `outcome` tells that the socket's buffer is now empty (or full), so that the next attempt in that
    /// direction would answer `EAGAIN`.
    ///
    /// A stream socket that gave or took fewer bytes than there was room for has no more. Not so a message, and not so a
    /// peek, which leaves the bytes where they are. Of what `Read` and `Write` are for a short count says nothing: a
    /// terminal gives a line at a time, and a pipe is full in pages, not in bytes.
    pub(super) fn exhausted_by(&self, outcome: Outcome) -> bool {
        match (&self.kind, outcome) {
            (Kind::Recv { len, flags, .. }, Ok(n)) => 0 < n && n < *len && flags & libc::MSG_PEEK == 0,
            (Kind::Send { len, .. }, Ok(n)) => n < *len,
            _ => false,
        }
    }

    /// Makes the system call; `None` where it would block.
    ///
    /// # Safety
    /// The invariant of [`Kind`] holds.
    pub(crate) unsafe fn attempt(&self) -> Option<Outcome> {
        let fd = self.source.fd;
        let result = match &self.kind {
            Kind::Accept { address } => {
                // SAFETY: valid and ours, by the invariant of `Kind`.
                let address = unsafe { &mut *address.as_ptr() };
                socket::accept(fd, address).and_then(|fd| usize::try_from(fd).map_err(io::Error::other))
            }
            Kind::Connect { address, started } => {
                if started.replace(true) {
                    socket::connect_result(fd)
                } else {
                    // SAFETY: valid and ours, by the invariant of `Kind`.
                    socket::connect(fd, unsafe { address.as_ref() })
                }
                .map(|()| 0)
            }
            Kind::Recv { buf, len, flags } => {
                // SAFETY: `len` writable bytes, by the invariant of `Kind`.
                unsafe { transfer::recv(fd, buf.as_ptr(), *len, *flags) }
            }
            Kind::Send { buf, len, flags } => {
                // SAFETY: `len` readable bytes, by the invariant of `Kind`.
                unsafe { transfer::send(fd, buf.as_ptr(), *len, *flags) }
            }
            Kind::RecvMsg { message, flags } => {
                // SAFETY: a message with valid buffers, by the invariant of `Kind`.
                unsafe { transfer::recvmsg(fd, message.as_ptr(), *flags) }
            }
            Kind::SendMsg { message, flags } => {
                // SAFETY: a message with valid buffers, by the invariant of `Kind`.
                unsafe { transfer::sendmsg(fd, message.as_ptr(), *flags) }
            }
            Kind::Read { buf, len } => {
                // SAFETY: `len` writable bytes, by the invariant of `Kind`.
                unsafe { crate::sys::read(fd, buf.as_ptr(), *len) }
            }
            Kind::Write { buf, len } => {
                // SAFETY: `len` readable bytes, by the invariant of `Kind`.
                unsafe { crate::sys::write(fd, buf.as_ptr(), *len) }
            }
            Kind::Ready(direction) => match crate::sys::is_ready(fd, *direction) {
                Ok(false) => return None,
                result => result.map(|_| 0),
            },
            Kind::File { .. } => unreachable!("an operation on a file is not tried: it would hold the thread up"),
        };
        match result {
            Ok(n) => Some(Ok(n)),
            Err(error) if self.would_block(&error) => None,
            Err(error) => Some(Err(error.raw_os_error().unwrap_or(libc::EIO))),
        }
    }

    /// Whether an attempt that failed so is worth another one when the descriptor has become ready.
    fn would_block(&self, error: &io::Error) -> bool {
        let Some(errno) = error.raw_os_error() else {
            return false;
        };
        match self.kind {
            Kind::Connect { .. } => matches!(errno, libc::EINPROGRESS | libc::EALREADY),
            _ => errno == libc::EAGAIN || errno == libc::EWOULDBLOCK,
        }
    }
}

#[cfg(debug_assertions)]
impl Drop for Op {
    /// What would go on is a kernel that writes to memory which somebody else has.
    fn drop(&mut self) {
        if self.pending.get() {
            crate::sys::fatal(format_args!("an operation died while it was pending: {self:?}"));
        }
    }
}

/// A list of operations that lie elsewhere: first in, first out, and any of them removed in O(1).
#[derive(Debug, Default)]
pub(super) struct OpList {
    first: Option<NonNull<Op>>,
    last: Option<NonNull<Op>>,
}

impl OpList {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn front(&self) -> Option<NonNull<Op>> {
        self.first
    }

    /// # Safety
    /// `op` is in no list, and outlives its stay in this one.
    pub(super) unsafe fn push_back(&mut self, op: NonNull<Op>) {
        // SAFETY: alive, by the caller's promise.
        let new = unsafe { op.as_ref() };
        new.prev.set(self.last);
        new.next.set(None);
        match self.last {
            // SAFETY: in the list, so alive.
            Some(last) => unsafe { last.as_ref() }.next.set(Some(op)),
            None => self.first = Some(op),
        }
        self.last = Some(op);
    }

    /// # Safety
    /// `op` is in this list.
    pub(super) unsafe fn remove(&mut self, op: NonNull<Op>) {
        // SAFETY: in the list, so alive.
        let old = unsafe { op.as_ref() };
        let (prev, next) = (old.prev.take(), old.next.take());
        match prev {
            // SAFETY: in the list, so alive.
            Some(prev) => unsafe { prev.as_ref() }.next.set(next),
            None => self.first = next,
        }
        match next {
            // SAFETY: in the list, so alive.
            Some(next) => unsafe { next.as_ref() }.prev.set(prev),
            None => self.last = prev,
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<NonNull<Op>> {
        let op = self.first?;
        // SAFETY: it is in this list.
        unsafe { self.remove(op) };
        Some(op)
    }

    pub(super) fn contains(&self, op: NonNull<Op>) -> bool {
        let mut cursor = self.first;
        while let Some(here) = cursor {
            if here == op {
                return true;
            }
            // SAFETY: in the list, so alive.
            cursor = unsafe { here.as_ref() }.next.get();
        }
        false
    }
}
