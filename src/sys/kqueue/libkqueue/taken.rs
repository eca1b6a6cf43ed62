//! Errors of sockets that libkqueue has taken.
//!
//! The systems say in `fflags` what the socket's error is, and leave it there for the call that it concerns. libkqueue asks
//! for it by `SO_ERROR`, which clears it; so the next `recv` tells of an end, and not of a reset. What it took is kept here,
//! for whoever makes the call in which the kernel would have told of it: any thread, through any descriptor of the socket.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// How many are kept. Of those whose sockets were closed without another call nobody asks any more.
const MOST: usize = 10_000;

/// By the number of the inode, which a socket has for itself, and which does not come back soon.
static TAKEN: LazyLock<Mutex<HashMap<libc::ino_t, i32>>> = LazyLock::new(Mutex::default);

fn taken() -> MutexGuard<'static, HashMap<libc::ino_t, i32>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the error that came with an event, if there is one.
pub(super) fn note(file: libc::ino_t, fflags: u32) {
    let Some(errno) = i32::try_from(fflags).ok().filter(|&errno| errno != 0) else {
        return;
    };
    let mut taken = taken();
    if taken.len() >= MOST {
        taken.clear();
    }
    taken.insert(file, errno);
}

/// The error that was taken from a socket, once.
pub(crate) fn take_error(fd: RawFd) -> Option<io::Error> {
    let mut taken = taken();
    if taken.is_empty() {
        return None; // as a rule, and without a system call
    }
    taken.remove(&inode(fd)?).map(io::Error::from_raw_os_error)
}

/// The number of the inode that a descriptor stands for; `None` where it is closed.
pub(super) fn inode(fd: RawFd) -> Option<libc::ino_t> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: there is room for one.
    if unsafe { libc::fstat(fd, stat.as_mut_ptr()) } == -1 {
        return None;
    }
    // SAFETY: it was written.
    Some(unsafe { stat.assume_init() }.st_ino)
}
