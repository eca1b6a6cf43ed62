//! An open file: opening, closing, what is known about it, and what it may be made into. How its bytes are read and
//! written is in `transfer.rs`.

use std::fmt;
use std::fs::{FileTimes, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::open::OpenOptions;
use super::way;
use crate::blocking;
use crate::reactor::{FileOp, FileVerb};
use crate::sys::file;
use crate::turn::{Turn, Turnstile};

/// An open file. As [`std::fs::File`].
///
/// A call that would wait for the disk suspends the fiber that makes it, not its thread; how, is told
/// [above](super#how-it-is-done). `&File` reads, writes and seeks, too, as in std.
///
/// ```
/// use kapok::fs::File;
/// use std::io::{Read, Seek, SeekFrom, Write};
/// use std::os::unix::fs::FileExt;
///
/// kapok::run(|| -> std::io::Result<()> {
///     let directory = tempfile::tempdir()?;
///     let mut file = File::options().read(true).write(true).create(true).open(directory.path().join("file"))?;
///     file.write_all(b"hello, world")?;
///     file.sync_all()?;
///     file.seek(SeekFrom::Start(7))?;
///     let mut text = String::new();
///     file.read_to_string(&mut text)?;
///     assert_eq!(text, "world");
///     let mut hello = [0; 5];
///     file.read_exact_at(&mut hello, 0)?;
///     assert_eq!(&hello, b"hello");
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Differences from std
/// - Dropping a file closes it on the spot, as in std. Where that may take long (the last descriptor of a large file that
///   was removed, a file on a network), [`close`](File::close) does it without holding others up, and tells the error.
/// - [`metadata`](File::metadata), [`try_clone`](File::try_clone) and seeking ask the kernel on the spot, too: the answer is
///   in memory. On a file system of the network, `metadata` and [`SeekFrom::End`](std::io::SeekFrom::End) may ask the server.
/// - Reading and writing at the file's own position is one at a time for a file of the disk and its
///   [clones](File::try_clone), in order of arrival, as in std. Somebody else who has the same open file (a descriptor that was
///   duplicated elsewhere, another process) does not wait for that order.
/// - `Read`, `Write` and `Seek` are not implemented for `Arc<File>`, which only std can do: use `&*file`.
pub struct File {
    pub(super) inner: std::fs::File,
    pub(super) about: Arc<About>,
}

/// What is known of an open file; its clones share it.
#[derive(Debug, Default)]
pub(super) struct About {
    turnstile: Turnstile,
    /// A file of the disk, or a directory: it has a position, and its end is an end.
    regular: OnceLock<bool>,
    /// It cannot be asked for what is in memory only.
    pub(super) never_now: AtomicBool,
}

impl File {
    /// Opens a file for reading. As [`std::fs::File::open`].
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing; it is created, or emptied if it is there. As [`std::fs::File::create`].
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Creates a file, and opens it for reading and writing. As [`std::fs::File::create_new`].
    ///
    /// # Errors
    /// `AlreadyExists` where there is one, and those of `open(2)`.
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// [`OpenOptions::new`].
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Waits until the disk has what was written, and what is known about the file.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    pub fn sync_all(&self) -> io::Result<()> {
        self.sync(false, std::fs::File::sync_all)
    }

    /// Waits until the disk has what was written, and what is needed to find it.
    ///
    /// # Errors
    /// Those of `fdatasync(2)`.
    pub fn sync_data(&self) -> io::Result<()> {
        self.sync(true, std::fs::File::sync_data)
    }

    fn sync(&self, data_only: bool, plainly: fn(&std::fs::File) -> io::Result<()>) -> io::Result<()> {
        if way::has_ring_for(FileVerb::Sync) {
            // SAFETY: it points to nothing.
            return unsafe { self.through_ring(FileOp::Sync { data_only }) }.map(drop);
        }
        blocking(|| plainly(&self.inner))
    }

    /// Cuts the file, or lengthens it with zeroes. The position stays.
    ///
    /// # Errors
    /// Those of `ftruncate(2)`.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        match i64::try_from(size) {
            Ok(len) if way::has_ring_for(FileVerb::SetLen) => {
                // SAFETY: it points to nothing.
                unsafe { self.through_ring(FileOp::SetLen { len }) }.map(drop)
            }
            _ => blocking(|| self.inner.set_len(size)),
        }
    }

    /// What is known about the file: std's own type.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.inner.metadata()
    }

    /// A second handle to the same open file, which shares the position.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub fn try_clone(&self) -> io::Result<File> {
        Ok(File {
            inner: self.inner.try_clone()?,
            about: Arc::clone(&self.about),
        })
    }

    /// Who may do what.
    ///
    /// # Errors
    /// Those of `fchmod(2)`.
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        blocking(|| self.inner.set_permissions(permissions))
    }

    /// When it was read and changed.
    ///
    /// # Errors
    /// Those of `futimens(2)`.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        blocking(|| self.inner.set_times(times))
    }

    /// When it was changed.
    ///
    /// # Errors
    /// Those of `futimens(2)`.
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }

    /// Closes the file, and tells what closing found; std has no such method. The fiber waits for it, others go on.
    ///
    /// ```
    /// kapok::run(|| -> std::io::Result<()> {
    ///     let directory = tempfile::tempdir()?;
    ///     kapok::fs::File::create(directory.path().join("file"))?.close()
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `close(2)`, where a file system reports with it what it could not write. The file is closed all the same.
    pub fn close(self) -> io::Result<()> {
        // Afterwards nothing is unwound: a file that is to be closed is closed.
        way::checkpoint();
        let has_ring = way::has_ring_for(FileVerb::Close);
        let fd = self.into_raw_fd();
        let closed = if has_ring {
            // SAFETY: it points to nothing, and the descriptor was ours alone.
            unsafe { way::through_ring(fd, FileOp::Close) }.map(drop)
        } else {
            // It was ours alone.
            blocking(|| crate::sys::syscall!(close(fd))).map(drop)
        };
        // POSIX leaves open whether it is closed then; all systems here have closed it.
        closed.or_else(|error| match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            _ => Err(error),
        })
    }

    /// # Safety
    /// As [`way::through_ring`].
    pub(super) unsafe fn through_ring(&self, what: FileOp) -> io::Result<usize> {
        // SAFETY: the caller's promise.
        unsafe { way::through_ring(self.inner.as_raw_fd(), what) }
    }

    /// Whether it is a file of the disk, or a directory: for others (FIFOs, terminals, devices) a short read is no end, and
    /// a writer must not wait for a reader.
    pub(super) fn is_regular(&self) -> bool {
        *self.about.regular.get_or_init(|| {
            self.inner
                .metadata()
                .is_ok_and(|metadata| metadata.is_file() || metadata.is_dir())
        })
    }

    /// To be held while the position is used.
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        self.is_regular().then(|| self.about.turnstile.wait())
    }

    /// Whether the ring shall do it. What is told not to block needs nobody who blocks for it.
    pub(super) fn is_for_ring(&self, verb: FileVerb) -> bool {
        way::has_ring_for(verb) && (self.is_regular() || !self.is_nonblocking())
    }

    fn is_nonblocking(&self) -> bool {
        !self.is_regular() && file::is_nonblocking(&self.inner).unwrap_or(false)
    }

    /// Does it on another thread, unless it is said not to block anyway.
    pub(super) fn plainly<T: Send>(&self, f: impl FnOnce(&std::fs::File) -> io::Result<T> + Send) -> io::Result<T> {
        if way::is_in_fiber() && self.is_nonblocking() {
            return f(&self.inner);
        }
        blocking(|| f(&self.inner))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl From<std::fs::File> for File {
    fn from(inner: std::fs::File) -> File {
        File {
            inner,
            about: Arc::default(),
        }
    }
}

impl From<File> for std::fs::File {
    fn from(file: File) -> std::fs::File {
        file.inner
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        std::fs::File::from(fd).into()
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> OwnedFd {
        file.inner.into()
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Stdio {
        file.inner.into()
    }
}

impl FromRawFd for File {
    unsafe fn from_raw_fd(fd: RawFd) -> File {
        // SAFETY: the caller owns the descriptor, which is this trait's contract.
        unsafe { std::fs::File::from_raw_fd(fd) }.into()
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        self.inner.into_raw_fd()
    }
}
