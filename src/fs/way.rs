//! Which way an operation on a file goes.
//!
//! ```text
//!     in a fiber? -- no --> std's own call, which blocks the thread
//!       | yes
//!     a read, and what it wants is in memory? -- yes --> done, with one system call
//!       | no
//!     does the reactor take it? -- yes --> through the ring, while the fiber waits
//!       | no
//!     std's own call, on a thread of the blocking pool
//! ```

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::perform::{Patience, perform};
pub(super) use crate::perform::{checkpoint, count_as_done, is_in_fiber};
use crate::reactor::{FileOp, FileVerb, Kind, Source};
use crate::sched::Worker;

/// The file of an operation that is about a path.
pub(super) const NO_FILE: RawFd = libc::AT_FDCWD;

/// Whether the caller is a fiber whose reactor does such operations itself.
pub(super) fn has_ring_for(verb: FileVerb) -> bool {
    Worker::with_fiber(|here| here.is_some_and(|(worker, _)| worker.takes(verb)))
}

/// Does it through the ring.
///
/// # Safety
/// What the operation points to stays valid, and is touched by nobody else, until this returns. [`has_ring_for`] said yes.
pub(super) unsafe fn through_ring(fd: RawFd, what: FileOp) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    unsafe { perform(Source::of_file(fd), Kind::file(what), Patience::Unlimited) }
}

/// A path as the kernel wants it.
pub(super) fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "file name contained an unexpected NUL byte",
        )
    })
}
