//! Reading and writing a descriptor that is shared with others, so that its mode must stay as it is.

#![allow(unsafe_code, reason = "the process's standard descriptors have no owner")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::blocking;
use crate::net::Async;
use crate::perform::{count_as_done, is_in_fiber};
use crate::sys::Direction;
use crate::sys::file::{self, Now};
use crate::sys::is_ready;

/// One of the three.
#[derive(Debug)]
pub(super) struct Raw(pub(super) RawFd);

/// As much is written at once: where there is room at all in a pipe, there is room for this.
const PIECE: usize = libc::PIPE_BUF;

/// The process exits: nobody is suspended any more.
static EXITING: AtomicBool = AtomicBool::new(false);

/// One of the three. Where it was closed, calls fail, or are about what was opened since, as in std.
pub(super) fn standard(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: not -1. Nobody owns the standard descriptors, and std lends them in the same way.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// The descriptor as std's file, which is not closed.
fn plainly(fd: RawFd) -> ManuallyDrop<File> {
    // SAFETY: it is never dropped, so it owns nothing.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd) })
}

/// Has `f` called when the process exits in good order.
pub(super) fn at_exit(f: fn()) {
    static CALLED: std::sync::OnceLock<fn()> = std::sync::OnceLock::new();
    extern "C" fn call() {
        EXITING.store(true, Ordering::SeqCst);
        if let Some(f) = CALLED.get() {
            f();
        }
    }
    CALLED.get_or_init(|| f);
    // SAFETY: `call` is a function of this program, which is not unloaded.
    if unsafe { libc::atexit(call) } != 0 {
        log::debug!("no memory for what is to be done at exit");
    }
}

fn suspends() -> bool {
    is_in_fiber() && !EXITING.load(Ordering::SeqCst)
}

/// Until the descriptor is ready, through a duplicate: the number itself may be known to the reactor as somebody else's.
fn wait_ready(fd: RawFd, direction: Direction) -> io::Result<()> {
    if is_ready(fd, direction)? {
        crate::perform::checkpoint();
        return Ok(());
    }
    let duplicate = Async::new_shared(standard(fd).try_clone_to_owned()?);
    match direction {
        Direction::Read => duplicate.readable(),
        Direction::Write => duplicate.writable(),
    }
}

/// A standard stream that was closed is at its end, and takes everything, as in std.
fn unless_closed<T>(result: io::Result<T>, otherwise: T) -> io::Result<T> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(otherwise),
        result => result,
    }
}

fn is_regular(fd: RawFd) -> io::Result<bool> {
    Ok(plainly(fd).metadata()?.is_file())
}

impl Raw {
    fn read_in_fiber(&self, buf: &mut [u8]) -> io::Result<usize> {
        let fd = self.0;
        if !is_regular(fd)? {
            if let Some(read) = read_now(fd, buf) {
                return Ok(read);
            }
            wait_ready(fd, Direction::Read)?;
            if let Some(read) = read_now(fd, buf) {
                return Ok(read);
            }
        }
        blocking(|| plainly(fd).read(buf))
    }

    fn write_in_fiber(&self, buf: &[u8]) -> io::Result<usize> {
        let fd = self.0;
        if is_regular(fd)? {
            return blocking(|| plainly(fd).write(buf));
        }
        wait_ready(fd, Direction::Write)?;
        let piece = &buf[..buf.len().min(PIECE)];
        blocking(|| plainly(fd).write(piece))
    }
}

/// What is there, where the kernel can be asked for that alone.
fn read_now(fd: RawFd, buf: &mut [u8]) -> Option<usize> {
    let whole = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: one buffer, which is borrowed.
    match unsafe { file::read_now(standard(fd).as_fd(), &raw const whole, 1, -1) } {
        Now::Read(read) => {
            count_as_done();
            Some(read)
        }
        Now::Later | Now::Never => None,
    }
}

impl Read for Raw {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = if suspends() {
            self.read_in_fiber(buf)
        } else {
            plainly(self.0).read(buf)
        };
        unless_closed(read, 0)
    }
}

impl Write for Raw {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = if suspends() {
            self.write_in_fiber(buf)
        } else {
            plainly(self.0).write(buf)
        };
        unless_closed(written, buf.len())
    }

    /// There is no buffer here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
