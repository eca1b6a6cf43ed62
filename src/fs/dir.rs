//! Directories: made, and read.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{FileType, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use super::way::{self, NO_FILE};
use crate::blocking;
use crate::reactor::{FileOp, FileVerb};

/// How a directory is made. As [`std::fs::DirBuilder`], with the method of [`DirBuilderExt`], which it implements.
///
/// ```
/// kapok::run(|| -> std::io::Result<()> {
///     let directory = tempfile::tempdir()?;
///     let path = directory.path().join("a/b/c");
///     kapok::fs::DirBuilder::new().recursive(true).create(&path)?;
///     assert!(kapok::fs::metadata(&path)?.is_dir());
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DirBuilder {
    recursive: bool,
    mode: u32,
}

impl Default for DirBuilder {
    fn default() -> DirBuilder {
        DirBuilder::new()
    }
}

impl DirBuilder {
    /// One directory, of mode 0777.
    #[must_use]
    pub fn new() -> DirBuilder {
        DirBuilder {
            recursive: false,
            mode: 0o777,
        }
    }

    /// Also makes the directories above it, and succeeds where it is there already.
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.recursive = recursive;
        self
    }

    /// Makes the directory.
    ///
    /// # Errors
    /// Those of `mkdir(2)`.
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref();
        if self.recursive || !way::has_ring_for(FileVerb::CreateDir) {
            return blocking(|| {
                std::fs::DirBuilder::new()
                    .recursive(self.recursive)
                    .mode(self.mode)
                    .create(path)
            });
        }
        let path = way::c_string(path)?;
        let create = FileOp::CreateDir {
            path: NonNull::from(path.as_c_str()).cast(),
            mode: self.mode,
        };
        // SAFETY: `path` lives until this returns.
        unsafe { way::through_ring(NO_FILE, create) }.map(drop)
    }
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.mode = mode;
        self
    }
}

/// How many entries are read with one hop to the blocking pool.
const BATCH: usize = 128;

/// What is in a directory, one entry after the other. As [`std::fs::ReadDir`]; made by [`read_dir`](super::read_dir).
pub struct ReadDir {
    inner: std::fs::ReadDir,
    read: VecDeque<io::Result<DirEntry>>,
    at_end: bool,
}

impl ReadDir {
    pub(super) fn open(path: &Path) -> io::Result<ReadDir> {
        blocking(|| {
            let mut entries = ReadDir {
                inner: std::fs::read_dir(path)?,
                read: VecDeque::new(),
                at_end: false,
            };
            entries.read_batch();
            Ok(entries)
        })
    }

    fn read_batch(&mut self) {
        for entry in self.inner.by_ref().take(BATCH) {
            let entry = entry.map(|entry| DirEntry {
                // Nearly every file system says it in the entry; else this asks for it.
                file_type: entry.file_type().ok(),
                inner: entry,
            });
            self.read.push_back(entry);
        }
        self.at_end = self.read.len() < BATCH;
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if self.read.is_empty() && !self.at_end {
            blocking(|| self.read_batch());
        }
        self.read.pop_front()
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// An entry of a directory. As [`std::fs::DirEntry`], with the method of [`DirEntryExt`], which it implements.
pub struct DirEntry {
    inner: std::fs::DirEntry,
    file_type: Option<FileType>,
}

impl DirEntry {
    /// The directory's path, as it was given, with the entry's name.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.inner.path()
    }

    /// The name alone.
    #[must_use]
    pub fn file_name(&self) -> OsString {
        self.inner.file_name()
    }

    /// What it is. A symbolic link is not followed.
    ///
    /// # Errors
    /// Those of `lstat(2)`, on file systems that do not say it in the directory.
    pub fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => blocking(|| self.inner.file_type()),
        }
    }

    /// What is known about it. A symbolic link is not followed.
    ///
    /// # Errors
    /// Those of `lstat(2)`.
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking(|| self.inner.metadata())
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.inner.ino()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
