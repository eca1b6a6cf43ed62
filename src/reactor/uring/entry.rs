//! What is written into the ring: an operation as the kernel wants it, and the names by which it comes back.

use std::os::fd::RawFd;
use std::ptr::NonNull;

use io_uring::squeue::Entry as Sqe;
use io_uring::{opcode, types};

use super::super::op::{Kind, Op};
use crate::sys::Direction;

/// Wait before the first attempt, since it is known that it would fail (`IORING_RECVSEND_POLL_FIRST`, Linux 5.19).
const POLL_FIRST: u16 = 1;

/// Where to read from what has no position.
const NO_POSITION: u64 = u64::MAX;

/// What a completion is about: the 64 bits that the kernel hands back.
///
/// An operation is known by its address. It is a multiple of 8, so the low bits can say which of the operation's entries
/// came back, and no operation lies in the first bytes of memory, whose addresses name the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The operation itself.
    Op(NonNull<Op>),
    /// A wait for readiness on behalf of an operation.
    Poll(NonNull<Op>),
    /// The bell was rung.
    Bell,
    /// A request to cancel is done. What became of the operation is told by its own completion.
    Cancel,
}

const POLL_BIT: usize = 1;
const BELL: u64 = 2;
const CANCEL: u64 = 4;
const _: () = assert!(align_of::<Op>() > POLL_BIT, "the low bit of an address is free");

impl Token {
    pub(super) fn to_bits(self) -> u64 {
        match self {
            Token::Op(op) => op.as_ptr().expose_provenance() as u64,
            Token::Poll(op) => (op.as_ptr().expose_provenance() | POLL_BIT) as u64,
            Token::Bell => BELL,
            Token::Cancel => CANCEL,
        }
    }

    pub(super) fn from_bits(bits: u64) -> Token {
        match bits {
            BELL => Token::Bell,
            CANCEL => Token::Cancel,
            _ => {
                let bits = usize::try_from(bits).expect("it was made of an address");
                let op = std::ptr::with_exposed_provenance_mut(bits & !POLL_BIT);
                let op = NonNull::new(op).expect("no operation lies at 0");
                if bits & POLL_BIT == 0 {
                    Token::Op(op)
                } else {
                    Token::Poll(op)
                }
            }
        }
    }
}

/// The operation as an entry of the ring.
///
/// # Safety
/// `op` is alive, and the invariant of [`Kind`] holds.
pub(super) unsafe fn of_op(op: NonNull<Op>, poll_first: bool) -> Sqe {
    // SAFETY: alive, by the caller's promise.
    let it = unsafe { op.as_ref() };
    let fd = types::Fd(it.source.fd);
    let ioprio = if poll_first { POLL_FIRST } else { 0 };
    let sqe = match &it.kind {
        Kind::Accept { address } => {
            // SAFETY: valid and ours, by the invariant of `Kind`.
            let (address, len) = unsafe { &mut *address.as_ptr() }.out_pointers();
            opcode::Accept::new(fd, address, len)
                .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
                .build()
        }
        Kind::Connect { address, .. } => {
            // SAFETY: valid, by the invariant of `Kind`.
            let address = unsafe { address.as_ref() };
            opcode::Connect::new(fd, address.as_ptr(), address.len()).build()
        }
        Kind::Recv { buf, len, flags } => opcode::Recv::new(fd, buf.as_ptr(), length(*len))
            .flags(*flags)
            .ioprio(ioprio)
            .build(),
        Kind::Send { buf, len, flags } => opcode::Send::new(fd, buf.as_ptr(), length(*len))
            .flags(*flags)
            .ioprio(ioprio)
            .build(),
        Kind::RecvMsg { message, flags } => opcode::RecvMsg::new(fd, message.as_ptr())
            .flags(flags.cast_unsigned_())
            .ioprio(ioprio)
            .build(),
        Kind::SendMsg { message, flags } => opcode::SendMsg::new(fd, message.as_ptr())
            .flags(flags.cast_unsigned_())
            .ioprio(ioprio)
            .build(),
        // Their field of that name is a priority, and nothing can be asked for in it.
        Kind::Read { buf, len } => opcode::Read::new(fd, buf.as_ptr(), length(*len))
            .offset(NO_POSITION)
            .build(),
        Kind::Write { buf, len } => opcode::Write::new(fd, buf.as_ptr(), length(*len))
            .offset(NO_POSITION)
            .build(),
        Kind::Ready(direction) => opcode::PollAdd::new(fd, poll_events(*direction)).build(),
        Kind::File { .. } => unreachable!("an operation on a file is written elsewhere"),
    };
    sqe.user_data(Token::Op(op).to_bits())
}

/// The ring counts in 32 bits, and the kernel transfers at most this much in one call anyway.
pub(super) fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX).min(i32::MAX.cast_unsigned_())
}

/// `cast_unsigned` of the standard library came with Rust 1.87.
trait CastUnsigned {
    fn cast_unsigned_(self) -> u32;
}

impl CastUnsigned for i32 {
    #[expect(clippy::cast_sign_loss, reason = "the same bits are meant")]
    fn cast_unsigned_(self) -> u32 {
        self as u32
    }
}

/// One wait until the descriptor of `op` is ready in its direction.
pub(super) fn of_poll(op: NonNull<Op>, fd: RawFd, direction: Direction) -> Sqe {
    opcode::PollAdd::new(types::Fd(fd), poll_events(direction))
        .build()
        .user_data(Token::Poll(op).to_bits())
}

fn poll_events(direction: Direction) -> u32 {
    let events = match direction {
        Direction::Read => libc::POLLIN,
        Direction::Write => libc::POLLOUT,
    };
    u32::from(events.unsigned_abs())
}

/// A report of each ring of the bell, until the kernel says that there will be no more.
pub(super) fn of_bell(fd: RawFd) -> Sqe {
    let events = u32::from(libc::POLLIN.unsigned_abs());
    opcode::PollAdd::new(types::Fd(fd), events)
        .multi(true)
        .build()
        .user_data(Token::Bell.to_bits())
}

/// The request to end what goes by `token` early.
pub(super) fn of_cancel(token: Token) -> Sqe {
    opcode::AsyncCancel::new(token.to_bits())
        .build()
        .user_data(Token::Cancel.to_bits())
}
