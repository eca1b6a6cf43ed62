//! Files in the ring: which operations this kernel knows, how they are written, and what follows when they end.
//!
//! They belong to no lane. The kernel has them all at once; what it cannot do at once it gives to threads of its own
//! (io-wq), where an operation on a disk runs to its end although it was cancelled. So whoever has to know that the kernel
//! touches nothing any more waits for it ([`Uring::drain_files`]): their list is kept for that.

#[cfg(test)]
use std::cell::Cell;
use std::ptr::NonNull;

use io_uring::squeue::{Entry as Sqe, Flags};
use io_uring::{Probe, opcode, types};

use super::super::file::{FileOp, FileVerb, OWN_POSITION};
use super::super::op::{Kind, Op, OpList, Outcome, Source};
use super::Uring;
use super::entry::{self, Token, length};
use super::ring::Entered;

/// More bytes than this are copied by a thread of the kernel: the worker's own would be held up for longer than it takes to
/// hand them over.
const LARGE: usize = 256 * 1024;

/// How the kernel says to itself that a signal came (`ERESTARTSYS` and its like). An interrupted open lets it out.
const RESTARTS: [i32; 4] = [512, 513, 514, 516];

const ALL: [FileVerb; 13] = [
    FileVerb::Open,
    FileVerb::Close,
    FileVerb::Read,
    FileVerb::Write,
    FileVerb::ReadVectored,
    FileVerb::WriteVectored,
    FileVerb::Sync,
    FileVerb::SetLen,
    FileVerb::Rename,
    FileVerb::Remove,
    FileVerb::CreateDir,
    FileVerb::HardLink,
    FileVerb::Symlink,
];

/// The operations of the ring that are about files.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// What the kernel knows; a bit for each [`FileVerb`].
    known: u16,
    /// What it was given and has not brought back.
    in_kernel: OpList,
}

impl Files {
    pub(super) fn new(probe: &Probe) -> Files {
        let known = ALL
            .into_iter()
            .filter(|&verb| probe.is_supported(code_of(verb)))
            .fold(0, |known, verb| known | bit(verb));
        Files {
            known,
            in_kernel: OpList::default(),
        }
    }

    pub(super) fn takes(&self, verb: FileVerb) -> bool {
        self.known & bit(verb) != 0
    }
}

fn bit(verb: FileVerb) -> u16 {
    1 << verb as u16
}

fn code_of(verb: FileVerb) -> u8 {
    match verb {
        FileVerb::Open => opcode::OpenAt::CODE,
        FileVerb::Close => opcode::Close::CODE,
        FileVerb::Read => opcode::Read::CODE,
        FileVerb::Write => opcode::Write::CODE,
        FileVerb::ReadVectored => opcode::Readv::CODE,
        FileVerb::WriteVectored => opcode::Writev::CODE,
        FileVerb::Sync => opcode::Fsync::CODE,
        FileVerb::SetLen => opcode::Ftruncate::CODE, // Linux 6.9
        FileVerb::Rename => opcode::RenameAt::CODE,
        FileVerb::Remove => opcode::UnlinkAt::CODE,
        FileVerb::CreateDir => opcode::MkDirAt::CODE, // 5.15, as are the links
        FileVerb::HardLink => opcode::LinkAt::CODE,
        FileVerb::Symlink => opcode::SymlinkAt::CODE,
    }
}

/// The operation as an entry of the ring.
///
/// # Safety
/// `op` is alive, and the invariant of [`Kind`] holds.
unsafe fn entry_of(op: NonNull<Op>, what: &FileOp) -> Sqe {
    const HERE: types::Fd = types::Fd(libc::AT_FDCWD);
    // SAFETY: alive, by the caller's promise.
    let fd = types::Fd(unsafe { op.as_ref() }.source.fd);
    let sqe = match what {
        // At once, the kernel would try it with O_NONBLOCK: a FIFO's other end would not be waited for.
        FileOp::Open { path, flags, mode } => opcode::OpenAt::new(HERE, path.as_ptr())
            .flags(*flags)
            .mode(*mode)
            .build()
            .flags(Flags::ASYNC),
        FileOp::Close => opcode::Close::new(fd).build(),
        FileOp::Read { buf, len, at } => opcode::Read::new(fd, buf.as_ptr(), length(*len))
            .offset(offset(*at))
            .build()
            .flags(way_for(*len)),
        FileOp::Write { buf, len, at } => opcode::Write::new(fd, buf.as_ptr(), length(*len))
            .offset(offset(*at))
            .build()
            .flags(way_for(*len)),
        FileOp::ReadVectored { bufs, count } => opcode::Readv::new(fd, bufs.as_ptr(), *count)
            .offset(offset(OWN_POSITION))
            .build(),
        FileOp::WriteVectored { bufs, count } => opcode::Writev::new(fd, bufs.as_ptr(), *count)
            .offset(offset(OWN_POSITION))
            .build(),
        FileOp::Sync { data_only } => opcode::Fsync::new(fd)
            .flags(if *data_only {
                types::FsyncFlags::DATASYNC
            } else {
                types::FsyncFlags::empty()
            })
            .build(),
        FileOp::SetLen { len } => opcode::Ftruncate::new(fd, offset(*len)).build(),
        FileOp::Rename { from, to } => opcode::RenameAt::new(HERE, from.as_ptr(), HERE, to.as_ptr()).build(),
        FileOp::Remove { path, directory } => opcode::UnlinkAt::new(HERE, path.as_ptr())
            .flags(if *directory { libc::AT_REMOVEDIR } else { 0 })
            .build(),
        FileOp::CreateDir { path, mode } => opcode::MkDirAt::new(HERE, path.as_ptr()).mode(*mode).build(),
        FileOp::HardLink { original, link } => {
            opcode::LinkAt::new(HERE, original.as_ptr(), HERE, link.as_ptr()).build()
        }
        FileOp::Symlink { original, link } => opcode::SymlinkAt::new(HERE, original.as_ptr(), link.as_ptr()).build(),
    };
    sqe.user_data(Token::Op(op).to_bits())
}

fn way_for(len: usize) -> Flags {
    if len > LARGE { Flags::ASYNC } else { Flags::empty() }
}

/// The ring has no sign: -1, the file's own position, is all ones.
#[expect(clippy::cast_sign_loss, reason = "the same bits are meant")]
fn offset(at: i64) -> u64 {
    at as u64
}

impl Uring {
    /// # Safety
    /// As for `submit`. `what` is the operation's own.
    pub(super) unsafe fn submit_file(&mut self, op: NonNull<Op>, what: &FileOp) {
        debug_assert!(self.files.takes(what.verb()), "the caller asks before");
        #[cfg(test)]
        GIVEN.set(GIVEN.get() + 1);
        // SAFETY: in no list, and it stays alive, by the caller's promise.
        unsafe { self.files.in_kernel.push_back(op) };
        self.pending += 1;
        // SAFETY: alive and valid, by the caller's promise.
        let sqe = unsafe { entry_of(op, what) };
        // SAFETY: valid until it has been handed out, which is after its completion was reaped.
        unsafe { self.ring.push(sqe) };
    }

    /// The kernel is through with an operation on a file.
    pub(super) fn file_came_back(&mut self, op: NonNull<Op>, outcome: Outcome) {
        // SAFETY: the kernel had it, so it was pending, so it is alive.
        let Kind::File { what, cancelled } = &unsafe { op.as_ref() }.kind else {
            unreachable!("it is in the list of those on files");
        };
        let outcome = match outcome {
            Err(errno) if RESTARTS.contains(&errno) => Err(libc::EINTR),
            outcome => outcome,
        };
        let outcome = match (outcome, what) {
            // It is closed all the same, and closing again might hit another file of that number.
            (Err(libc::EINTR), FileOp::Close) => Ok(0),
            (Err(libc::EINTR), _) if cancelled.get() => Err(libc::ECANCELED),
            // The kernel's thread waited for a FIFO's other end when the process was stopped, and went on.
            (Err(libc::EINTR), FileOp::Open { .. }) => {
                // SAFETY: pending, so alive and valid; and after its last completion nothing refers to it.
                let sqe = unsafe { entry_of(op, what) };
                // SAFETY: as when it was submitted.
                return unsafe { self.ring.push(sqe) };
            }
            (outcome, _) => outcome,
        };
        // SAFETY: the kernel had it, so it is in this list.
        unsafe { self.files.in_kernel.remove(op) };
        self.finish(op, outcome);
    }

    /// Asks the kernel to end an operation on a file.
    pub(super) fn cancel_file(&mut self, op: NonNull<Op>) {
        // SAFETY: pending, so alive.
        if let Kind::File { cancelled, .. } = &unsafe { op.as_ref() }.kind {
            cancelled.set(true);
        }
        // SAFETY: it has no buffers.
        unsafe { self.ring.push(entry::of_cancel(Token::Op(op))) };
    }

    /// The same for all on one file, or on any and on none.
    pub(super) fn cancel_files(&mut self, of: Option<Source>) {
        let mut cursor = self.files.in_kernel.front();
        while let Some(op) = cursor {
            if of.is_none_or(|source| is_about(op, source)) {
                self.cancel_file(op);
            }
            cursor = next_of(op);
        }
    }

    /// Waits until the kernel is through with those that [`cancel_files`](Uring::cancel_files) asked for: as long as a disk
    /// takes.
    pub(super) fn drain_files(&mut self, of: Option<Source>) {
        while self.has_files(of) {
            if self.wait_for_cancelled() == Entered::TimedOut {
                self.cancel_files(of);
            }
        }
    }

    fn has_files(&self, of: Option<Source>) -> bool {
        let mut cursor = self.files.in_kernel.front();
        while let Some(op) = cursor {
            if of.is_none_or(|source| is_about(op, source)) {
                return true;
            }
            cursor = next_of(op);
        }
        false
    }
}

/// Whether an operation under way works on this descriptor. A file is known by its number alone, which nobody else can have
/// meanwhile.
fn is_about(op: NonNull<Op>, source: Source) -> bool {
    // SAFETY: in the list, so alive.
    unsafe { op.as_ref() }.source.fd == source.fd
}

fn next_of(op: NonNull<Op>) -> Option<NonNull<Op>> {
    // SAFETY: in the list, so alive.
    unsafe { op.as_ref() }.next.get()
}

#[cfg(test)]
thread_local! {
    static GIVEN: Cell<u64> = const { Cell::new(0) };
}

/// How many operations on files this thread has given to rings.
#[cfg(test)]
pub(crate) fn files_given() -> u64 {
    GIVEN.get()
}
