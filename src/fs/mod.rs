//! Files and directories with the names and signatures of [`std::fs`]: a call that would block a thread there suspends the
//! fiber here. To move code over, change its `use` lines.
//!
//! Outside of a runtime, on a plain thread, the same calls block that thread.
//!
//! ```
//! use kapok::fs::{self, File};
//! use std::io::{BufRead, BufReader};
//!
//! kapok::run(|| -> std::io::Result<()> {
//!     let directory = tempfile::tempdir()?;
//!     let path = directory.path().join("list");
//!     fs::write(&path, "one\ntwo\nthree\n")?;
//!     let lines = BufReader::new(File::open(&path)?).lines();
//!     assert_eq!(lines.map_while(Result::ok).count(), 3);
//!     fs::rename(&path, path.with_extension("old"))?;
//!     assert!(!fs::exists(&path)?);
//!     Ok(())
//! })??;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # How it is done
//! No kernel tells when a file is ready, so it needs somebody who waits for the disk:
//!
//! - **`io_uring`**: the kernel. Opening, reading, writing, syncing, cutting, renaming, removing, linking and making directories
//!   go through the ring, as far as the kernel knows them (Linux 5.15; cutting 6.9). Where it cannot do something at once it
//!   uses threads of its own, 64 at most for each worker.
//! - **All other reactors**: a thread of the pool of [`blocking`](crate::blocking()), of which there are 64 for the process.
//! - What a read finds in memory it takes at once, on Linux, whatever the reactor: `preadv2(2)` with `RWF_NOWAIT`. The fiber
//!   is not suspended then, except now and then for others to run.
//! - What no ring does (reading directories, [`metadata`], [`canonicalize`], [`copy`], [`remove_dir_all`], permissions and
//!   times) always goes to the pool.
//!
//! A call in the pool or in the ring costs some microseconds more than a system call: that is the price for a thread that does
//! not stop. Write in large pieces ([`BufWriter`](std::io::BufWriter)); do many small things with paths in one call of
//! [`blocking`](crate::blocking()).
//!
//! # FIFOs, terminals, and other files that wait for somebody
//! They work. Opening a FIFO waits for its other end, in a thread of the pool or the kernel's. Reading waits for data: with
//! `io_uring` the kernel polls, and any number may wait; with the other reactors **each such read occupies a thread of the
//! pool**, and 64 of them keep everything else that needs the pool waiting, the writer that they wait for too.
//!
//! # Metadata
//! [`Metadata`], [`Permissions`], [`FileType`] and [`FileTimes`] are std's own types, so that they go to and come from code that
//! knows nothing of fibers. A ring could ask for metadata (`IORING_OP_STATX`), but std's type cannot be made of its answer; and
//! it would be no faster, for the kernel gives that to a thread, too.

#![allow(unsafe_code, reason = "lends buffers and paths to operations by address")]

mod dir;
mod file;
mod lock;
mod open;
#[cfg(all(test, kapok_io_uring))]
mod tests;
mod transfer;
mod way;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

pub use std::fs::{FileTimes, FileType, Metadata, Permissions};

pub use dir::{DirBuilder, DirEntry, ReadDir};
pub use file::File;
pub use lock::TryLockError;
pub use open::OpenOptions;

use crate::blocking;
use crate::reactor::{FileOp, FileVerb};
use way::NO_FILE;

/// The whole content of a file. As [`std::fs::read`].
///
/// # Errors
/// Those of opening and reading.
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    if !way::has_ring_for(FileVerb::Open) {
        return blocking(|| std::fs::read(path));
    }
    let mut content = Vec::new();
    File::open(path)?.read_to_end(&mut content)?;
    Ok(content)
}

/// The whole content of a file that is text. As [`std::fs::read_to_string`].
///
/// # Errors
/// Those of opening and reading; `InvalidData` for what is not UTF-8.
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    let path = path.as_ref();
    if !way::has_ring_for(FileVerb::Open) {
        return blocking(|| std::fs::read_to_string(path));
    }
    let mut content = String::new();
    File::open(path)?.read_to_string(&mut content)?;
    Ok(content)
}

/// Makes `contents` the whole content of a file, which is created where there is none. As [`std::fs::write`].
///
/// # Errors
/// Those of opening and writing.
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    if !way::has_ring_for(FileVerb::Open) {
        return blocking(|| std::fs::write(path, contents));
    }
    File::create(path)?.write_all(contents)
}

/// Copies a file's content and permissions, and tells the number of bytes. As [`std::fs::copy`].
///
/// # Errors
/// Those of opening, reading and writing.
pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    blocking(|| std::fs::copy(from, to))
}

/// Gives a file or directory another name; what had that name is replaced. As [`std::fs::rename`].
///
/// # Errors
/// Those of `rename(2)`.
pub fn rename<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    if !way::has_ring_for(FileVerb::Rename) {
        return blocking(|| std::fs::rename(from, to));
    }
    with_paths(from, to, |from, to| FileOp::Rename { from, to })
}

/// Removes a file. As [`std::fs::remove_file`].
///
/// # Errors
/// Those of `unlink(2)`.
pub fn remove_file<P: AsRef<Path>>(path: P) -> io::Result<()> {
    remove(path.as_ref(), false)
}

/// Removes an empty directory. As [`std::fs::remove_dir`].
///
/// # Errors
/// Those of `rmdir(2)`.
pub fn remove_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    remove(path.as_ref(), true)
}

fn remove(path: &Path, directory: bool) -> io::Result<()> {
    if !way::has_ring_for(FileVerb::Remove) {
        return blocking(|| {
            if directory {
                std::fs::remove_dir(path)
            } else {
                std::fs::remove_file(path)
            }
        });
    }
    let path = way::c_string(path)?;
    let path = NonNull::from(path.as_c_str()).cast();
    // SAFETY: the C string lives until this returns.
    unsafe { way::through_ring(NO_FILE, FileOp::Remove { path, directory }) }.map(drop)
}

/// Removes a directory and what is in it. As [`std::fs::remove_dir_all`].
///
/// # Errors
/// Those of reading and removing; what was removed before stays removed.
pub fn remove_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| std::fs::remove_dir_all(path))
}

/// Makes a directory. As [`std::fs::create_dir`].
///
/// # Errors
/// Those of `mkdir(2)`.
pub fn create_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    DirBuilder::new().create(path)
}

/// Makes a directory, and those above it that are missing. As [`std::fs::create_dir_all`].
///
/// # Errors
/// Those of `mkdir(2)`, except that the directory may be there already.
pub fn create_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

/// What is in a directory. As [`std::fs::read_dir`].
///
/// ```
/// kapok::run(|| -> std::io::Result<()> {
///     for entry in kapok::fs::read_dir(".")? {
///         let entry = entry?;
///         println!("{} {:?}", entry.path().display(), entry.file_type()?);
///     }
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of `opendir(3)`. Those of reading on come as items.
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    ReadDir::open(path.as_ref())
}

/// What is known about a file or directory; symbolic links are followed. As [`std::fs::metadata`].
///
/// # Errors
/// Those of `stat(2)`.
pub fn metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    let path = path.as_ref();
    blocking(|| std::fs::metadata(path))
}

/// What is known about a file, a directory or a symbolic link itself. As [`std::fs::symlink_metadata`].
///
/// # Errors
/// Those of `lstat(2)`.
pub fn symlink_metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    let path = path.as_ref();
    blocking(|| std::fs::symlink_metadata(path))
}

/// Whether something is there; symbolic links are followed. As [`std::fs::exists`].
///
/// # Errors
/// Those of `stat(2)` that leave it open.
pub fn exists<P: AsRef<Path>>(path: P) -> io::Result<bool> {
    let path = path.as_ref();
    blocking(|| std::fs::exists(path))
}

/// The absolute path, without symbolic links, `.` and `..`. As [`std::fs::canonicalize`].
///
/// # Errors
/// Those of `realpath(3)`.
pub fn canonicalize<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    let path = path.as_ref();
    blocking(|| std::fs::canonicalize(path))
}

/// Gives a file one more name. As [`std::fs::hard_link`].
///
/// # Errors
/// Those of `link(2)`.
pub fn hard_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    if !way::has_ring_for(FileVerb::HardLink) {
        return blocking(|| std::fs::hard_link(original, link));
    }
    with_paths(original, link, |original, link| FileOp::HardLink { original, link })
}

/// Makes a symbolic link. As [`std::os::unix::fs::symlink`].
///
/// # Errors
/// Those of `symlink(2)`.
pub fn symlink<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    if !way::has_ring_for(FileVerb::Symlink) {
        return blocking(|| std::os::unix::fs::symlink(original, link));
    }
    with_paths(original, link, |original, link| FileOp::Symlink { original, link })
}

/// As [`symlink`]. As [`std::fs::soft_link`].
///
/// # Errors
/// As [`symlink`].
#[deprecated(note = "replaced with symlink")]
pub fn soft_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    symlink(original, link)
}

/// Where a symbolic link leads. As [`std::fs::read_link`].
///
/// # Errors
/// Those of `readlink(2)`; `InvalidInput` for what is no symbolic link.
pub fn read_link<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    let path = path.as_ref();
    blocking(|| std::fs::read_link(path))
}

/// Who may do what with a file or directory. As [`std::fs::set_permissions`].
///
/// # Errors
/// Those of `chmod(2)`.
pub fn set_permissions<P: AsRef<Path>>(path: P, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| std::fs::set_permissions(path, permissions))
}

/// Whose a file is; `None` leaves it as it is. As [`std::os::unix::fs::chown`].
///
/// # Errors
/// Those of `chown(2)`.
pub fn chown<P: AsRef<Path>>(path: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| std::os::unix::fs::chown(path, uid, gid))
}

/// As [`chown`], of a symbolic link itself. As [`std::os::unix::fs::lchown`].
///
/// # Errors
/// Those of `lchown(2)`.
pub fn lchown<P: AsRef<Path>>(path: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| std::os::unix::fs::lchown(path, uid, gid))
}

/// As [`chown`], of an open file. As [`std::os::unix::fs::fchown`].
///
/// # Errors
/// Those of `fchown(2)`.
pub fn fchown<F: AsFd>(file: F, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let file = file.as_fd();
    blocking(|| std::os::unix::fs::fchown(file, uid, gid))
}

/// Does something with two paths through the ring.
fn with_paths(
    first: &Path,
    second: &Path,
    what: impl FnOnce(NonNull<std::ffi::c_char>, NonNull<std::ffi::c_char>) -> FileOp,
) -> io::Result<()> {
    let (first, second) = (way::c_string(first)?, way::c_string(second)?);
    let what = what(
        NonNull::from(first.as_c_str()).cast(),
        NonNull::from(second.as_c_str()).cast(),
    );
    // SAFETY: the C strings live until this returns.
    unsafe { way::through_ring(NO_FILE, what) }.map(drop)
}
