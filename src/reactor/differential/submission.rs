//! One operation of a script, with everything that it points to.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr::{self, NonNull};

use super::super::op::{Kind, Op, Outcome, Source};
use super::script::{ReadForm, WriteForm};
use crate::sys::Direction;
use crate::sys::socket::{Address, NO_SIGNAL};

/// What lies in a buffer before anything was read into it.
const PAINT: u8 = 0xee;

/// What is to be done, and with how many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Read(ReadForm, usize),
    Write(WriteForm, usize),
    Accept,
    Connect,
}

/// How its outcome is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// As it is.
    Exact,
    /// Not at all: what counts is what all of its kind transferred together.
    InSum,
    /// Not at all: it was cancelled when what it waited for came.
    Raced,
}

#[derive(Debug)]
pub(super) struct Submission {
    op: Pin<Box<Op>>,
    pub(super) task: Task,
    /// How many came before it in the script, of those that each script has the same number of.
    pub(super) label: usize,
    pub(super) slot: usize,
    pub(super) measure: Measure,
    pub(super) cancelled: bool,
    /// Once it was handed out.
    pub(super) outcome: Option<Outcome>,
    buf: Box<[u8]>,
    message: Option<Box<Message>>,
    address: Box<Address>,
    /// What the buffer held when it was handed out.
    sum: u64,
}

/// Parts, which point into the buffer, and their header.
#[derive(Debug)]
struct Message {
    header: libc::msghdr,
    parts: [libc::iovec; 4],
}

impl Submission {
    /// `bytes` is what is written. `number` is how the operation is known when it is handed out.
    pub(super) fn new(source: Source, slot: usize, number: usize, task: Task, bytes: &[u8], to: Address) -> Submission {
        let mut buf: Box<[u8]> = match task {
            Task::Read(_, len) => vec![PAINT; len].into(),
            Task::Write(..) => bytes.into(),
            Task::Accept | Task::Connect => Box::default(),
        };
        let mut address = Box::new(to);
        let (start, len) = (NonNull::from(&mut *buf).cast::<u8>(), buf.len());
        let mut message = match task {
            Task::Read(ReadForm::Message(parts), _) | Task::Write(WriteForm::Message(parts), _) => {
                Some(Message::new(start, len, parts))
            }
            _ => None,
        };
        let header = message.as_deref_mut().map(|message| NonNull::from(&mut message.header));
        let kind = match task {
            Task::Read(ReadForm::Recv, _) => Kind::Recv {
                buf: start,
                len,
                flags: 0,
            },
            Task::Read(ReadForm::Peek, _) => Kind::Recv {
                buf: start,
                len,
                flags: libc::MSG_PEEK,
            },
            Task::Read(ReadForm::DontWait, _) => Kind::Recv {
                buf: start,
                len,
                flags: libc::MSG_DONTWAIT,
            },
            Task::Read(ReadForm::Plain, _) => Kind::Read { buf: start, len },
            Task::Read(ReadForm::Message(_), _) => Kind::RecvMsg {
                message: header.expect("made above"),
                flags: 0,
            },
            Task::Write(WriteForm::Send, _) => Kind::Send {
                buf: start,
                len,
                flags: NO_SIGNAL,
            },
            Task::Write(WriteForm::Plain, _) => Kind::Write { buf: start, len },
            Task::Write(WriteForm::Message(_), _) => Kind::SendMsg {
                message: header.expect("made above"),
                flags: NO_SIGNAL,
            },
            Task::Accept => Kind::Accept {
                address: NonNull::from(&mut *address),
            },
            Task::Connect => Kind::Connect {
                address: NonNull::from(&mut *address),
                started: false.into(),
            },
        };
        let op = Op::new(source, kind);
        op.set_user(ptr::without_provenance(number));
        Submission {
            op: Box::pin(op),
            task,
            label: 0,
            slot,
            measure: Measure::Exact,
            cancelled: false,
            outcome: None,
            buf,
            message,
            address,
            sum: 0,
        }
    }

    pub(super) fn ptr(&self) -> NonNull<Op> {
        NonNull::from(&*self.op)
    }

    /// What the operation itself says.
    pub(super) fn told(&self) -> Option<Outcome> {
        self.op.outcome()
    }

    pub(super) fn direction(&self) -> Direction {
        self.op.direction()
    }

    pub(super) fn len(&self) -> usize {
        self.buf.len()
    }

    pub(super) fn peeks(&self) -> bool {
        matches!(self.task, Task::Read(ReadForm::Peek, _))
    }

    /// The first `count` bytes of its buffer.
    pub(super) fn bytes(&self, count: usize) -> &[u8] {
        &self.buf[..count]
    }

    /// Whether the buffer behind the first `count` bytes is as it was before it was read into.
    pub(super) fn is_untouched_from(&self, count: usize) -> bool {
        self.buf[count..].iter().all(|&byte| byte == PAINT)
    }

    /// Whether a message was longer than the buffer, where the kernel was asked.
    pub(super) fn is_truncated(&self) -> Option<bool> {
        let message = self.message.as_deref()?;
        Some(message.header.msg_flags & libc::MSG_TRUNC != 0)
    }

    /// Who was accepted, as accept said.
    pub(super) fn address(&self) -> Address {
        *self.address
    }

    pub(super) fn seal(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.sum = sum_of(&self.buf);
    }

    /// Whether nobody has written to the buffer since it was handed out.
    pub(super) fn is_sealed(&self) -> bool {
        self.sum == sum_of(&self.buf)
    }
}

impl Message {
    fn new(start: NonNull<u8>, len: usize, count: usize) -> Box<Message> {
        // SAFETY: all zeroes is a valid msghdr: no name, no parts, no control data.
        let header = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
        let none = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        let mut message = Box::new(Message {
            header,
            parts: [none; 4],
        });
        let mut from = 0;
        for (index, part) in message.parts[..count].iter_mut().enumerate() {
            let until = len * (index + 1) / count;
            // SAFETY: `from` is not beyond the buffer's end.
            part.iov_base = unsafe { start.as_ptr().add(from) }.cast();
            part.iov_len = until - from;
            from = until;
        }
        message.header.msg_iov = message.parts.as_mut_ptr();
        message.header.msg_iovlen = count as _; // of another type on each system
        message
    }
}

/// FNV-1a.
fn sum_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
