//! A bell of `IORING_REGISTER_SEND_MSG_RING` (Linux 6.13): whoever rings puts a completion into the ring that waits.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use io_uring::squeue::Entry as Sqe;
use io_uring::{opcode, types};

use crate::sys::{self, explain, syscall};

/// The number of the call in `io_uring_register(2)`, which the crate does not have.
const SEND_MSG_RING: libc::c_uint = 31;

/// In the place of a ring's descriptor: the call needs none but the one that is in the message.
const NO_RING: libc::c_int = -1;

/// A completion from outside. Ringing is one system call and hearing none: unlike an eventfd nothing has to be watched.
///
/// Holds a descriptor of the ring of its own, so that the number means this ring for as long as somebody may ring.
#[derive(Clone, Debug)]
pub(crate) struct Message(Arc<Sender>);

#[derive(Debug)]
struct Sender {
    _ring: OwnedFd,
    message: Sqe,
    /// One is on its way. It says all that another one would say.
    sent: AtomicBool,
}

impl Message {
    /// Messages to `ring`, which arrive as completions with this `user_data`.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub(crate) fn new(ring: BorrowedFd<'_>, user_data: u64) -> io::Result<Message> {
        let ring = ring
            .try_clone_to_owned()
            .map_err(|error| explain("fcntl(F_DUPFD_CLOEXEC) of a ring", &error))?;
        let message = opcode::MsgRingData::new(types::Fd(ring.as_raw_fd()), 0, user_data, None).build();
        Ok(Message(Arc::new(Sender {
            _ring: ring,
            message,
            sent: AtomicBool::new(false),
        })))
    }

    /// # Errors
    /// `EINVAL` where the kernel has no such call; `ENOMEM` and `EOVERFLOW` when it has no memory for the message.
    pub(crate) fn try_ring(&self) -> io::Result<()> {
        // What the ringer has done before is seen by whoever has `heard` the message that is on its way.
        if self.0.sent.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let message: *const Sqe = &raw const self.0.message;
        // `message` is one entry, which the kernel copies.
        sys::retry(|| syscall!(syscall(libc::SYS_io_uring_register, NO_RING, SEND_MSG_RING, message, 1)))
            .map(drop)
            // Others that have rung meanwhile rely on this one, whose caller tries again.
            .inspect_err(|_| self.0.sent.store(false, Ordering::Release))
    }

    /// The message has arrived: the next ring sends another one.
    pub(crate) fn hear(&self) {
        self.0.sent.swap(false, Ordering::AcqRel);
    }

    pub(super) fn ring(&self) {
        while let Err(error) = self.try_ring() {
            match error.raw_os_error() {
                Some(libc::ENOMEM | libc::EOVERFLOW | libc::EAGAIN) => sys::pause(),
                // The worker that is to be woken is gone, and its ring is being taken apart.
                Some(libc::EOWNERDEAD) => return,
                _ => sys::fatal(format_args!(
                    "the bell cannot be rung: {}",
                    explain("io_uring_register", &error)
                )),
            }
        }
    }
}
