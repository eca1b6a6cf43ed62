//! Operations on files, for backends that can do them without holding the thread up.
//!
//! A descriptor of a file, other than a socket's, tells nobody when it is ready: on a disk it always is, and takes its time
//! nevertheless. So a kernel that reports readiness has nothing to offer here, and these operations know neither lanes nor
//! order: any number may be under way at once, on one file too, and each ends when it ends.

use std::ffi::{c_char, c_int};
use std::ptr::NonNull;

/// The position of an operation that goes by the open file's own, and moves it.
pub(crate) const OWN_POSITION: i64 = -1;

/// What is to be done. The file, where there is one, is the operation's source.
///
/// Paths are C strings; those that are not absolute begin at the process's working directory.
#[derive(Debug)]
#[cfg_attr(not(kapok_io_uring), expect(dead_code, reason = "no other backend does them"))]
pub(crate) enum FileOp {
    /// `openat(2)`; the result is a descriptor, which belongs to whoever is told of it.
    Open {
        path: NonNull<c_char>,
        flags: c_int,
        mode: u32,
    },
    /// `close(2)`. The descriptor is gone afterwards, whatever the outcome.
    Close,
    /// `pread(2)`; the result is the number of bytes.
    Read { buf: NonNull<u8>, len: usize, at: i64 },
    /// `pwrite(2)`; the result is the number of bytes.
    Write { buf: NonNull<u8>, len: usize, at: i64 },
    /// `readv(2)`.
    ReadVectored { bufs: NonNull<libc::iovec>, count: u32 },
    /// `writev(2)`.
    WriteVectored { bufs: NonNull<libc::iovec>, count: u32 },
    /// `fsync(2)`, or `fdatasync(2)`.
    Sync { data_only: bool },
    /// `ftruncate(2)`.
    SetLen { len: i64 },
    /// `rename(2)`.
    Rename { from: NonNull<c_char>, to: NonNull<c_char> },
    /// `unlink(2)`, or `rmdir(2)`.
    Remove { path: NonNull<c_char>, directory: bool },
    /// `mkdir(2)`.
    CreateDir { path: NonNull<c_char>, mode: u32 },
    /// `link(2)`.
    HardLink {
        original: NonNull<c_char>,
        link: NonNull<c_char>,
    },
    /// `symlink(2)`; the original need not be a path that exists.
    Symlink {
        original: NonNull<c_char>,
        link: NonNull<c_char>,
    },
}

/// Which of them, without what it is done to: a kernel may have learnt some and not yet others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileVerb {
    Open,
    Close,
    Read,
    Write,
    ReadVectored,
    WriteVectored,
    Sync,
    SetLen,
    Rename,
    Remove,
    CreateDir,
    HardLink,
    Symlink,
}

impl FileOp {
    #[cfg_attr(
        not(kapok_io_uring),
        expect(dead_code, reason = "no backend of this system takes files")
    )]
    pub(crate) fn verb(&self) -> FileVerb {
        match self {
            FileOp::Open { .. } => FileVerb::Open,
            FileOp::Close => FileVerb::Close,
            FileOp::Read { .. } => FileVerb::Read,
            FileOp::Write { .. } => FileVerb::Write,
            FileOp::ReadVectored { .. } => FileVerb::ReadVectored,
            FileOp::WriteVectored { .. } => FileVerb::WriteVectored,
            FileOp::Sync { .. } => FileVerb::Sync,
            FileOp::SetLen { .. } => FileVerb::SetLen,
            FileOp::Rename { .. } => FileVerb::Rename,
            FileOp::Remove { .. } => FileVerb::Remove,
            FileOp::CreateDir { .. } => FileVerb::CreateDir,
            FileOp::HardLink { .. } => FileVerb::HardLink,
            FileOp::Symlink { .. } => FileVerb::Symlink,
        }
    }
}
