//! How a file is opened.

use std::ffi::c_int;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::NonNull;

use super::file::File;
use super::way::{self, NO_FILE};
use crate::blocking;
use crate::reactor::{FileOp, FileVerb};

/// How a file is opened. As [`std::fs::OpenOptions`], with the methods of [`OpenOptionsExt`], which it implements.
///
/// ```
/// use kapok::fs::OpenOptions;
/// use std::io::Write;
///
/// kapok::run(|| -> std::io::Result<()> {
///     let directory = tempfile::tempdir()?;
///     let path = directory.path().join("log");
///     for line in ["one\n", "two\n"] {
///         let mut log = OpenOptions::new().append(true).create(true).open(&path)?;
///         log.write_all(line.as_bytes())?;
///     }
///     assert_eq!(kapok::fs::read_to_string(&path)?, "one\ntwo\n");
///     Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    custom_flags: c_int,
    mode: u32,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// None of the options, and mode 0666 for a file that is created.
    #[must_use]
    pub fn new() -> OpenOptions {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            custom_flags: 0,
            mode: 0o666,
        }
    }

    /// For reading.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.read = read;
        self
    }

    /// For writing.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.write = write;
        self
    }

    /// For writing, always at the end.
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.append = append;
        self
    }

    /// Empties a file that is there.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.truncate = truncate;
        self
    }

    /// Creates the file where there is none.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.create = create;
        self
    }

    /// Creates the file, and fails where there is one.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.create_new = create_new;
        self
    }

    /// Opens `path`.
    ///
    /// # Errors
    /// `InvalidInput` for options that contradict each other and for a path with a NUL byte; else those of `open(2)`.
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let path = path.as_ref();
        let Some(flags) = self.flags() else {
            // It is refused before the kernel is asked, in std's words.
            return self.to_std().open(path).map(File::from);
        };
        if !way::has_ring_for(FileVerb::Open) {
            return blocking(|| self.to_std().open(path)).map(File::from);
        }
        let path = way::c_string(path)?;
        let open = FileOp::Open {
            path: NonNull::from(path.as_c_str()).cast(),
            flags,
            mode: self.mode,
        };
        // SAFETY: `path` lives until this returns.
        unsafe { way::through_ring(NO_FILE, open) }.map(owned)
    }

    /// The flags of `open(2)`, as std has them; `None` for options that it refuses.
    fn flags(&self) -> Option<c_int> {
        let access = match (self.read, self.write, self.append) {
            (true, false, false) => libc::O_RDONLY,
            (false, true, false) => libc::O_WRONLY,
            (true, true, false) => libc::O_RDWR,
            (false, _, true) => libc::O_WRONLY | libc::O_APPEND,
            (true, _, true) => libc::O_RDWR | libc::O_APPEND,
            (false, false, false) => return None,
        };
        let refused = match (self.write, self.append) {
            (true, false) => false,
            (false, false) => self.truncate || self.create || self.create_new,
            (_, true) => self.truncate && !self.create_new,
        };
        if refused {
            return None;
        }
        let creation = match (self.create, self.truncate, self.create_new) {
            (false, false, false) => 0,
            (true, false, false) => libc::O_CREAT,
            (false, true, false) => libc::O_TRUNC,
            (true, true, false) => libc::O_CREAT | libc::O_TRUNC,
            (_, _, true) => libc::O_CREAT | libc::O_EXCL,
        };
        Some(libc::O_CLOEXEC | access | creation | (self.custom_flags & !libc::O_ACCMODE))
    }

    fn to_std(&self) -> std::fs::OpenOptions {
        let mut options = std::fs::OpenOptions::new();
        options
            .read(self.read)
            .write(self.write)
            .append(self.append)
            .truncate(self.truncate)
            .create(self.create)
            .create_new(self.create_new)
            .custom_flags(self.custom_flags)
            .mode(self.mode);
        options
    }
}

fn owned(fd: usize) -> File {
    let fd = RawFd::try_from(fd).expect("open answers with a descriptor");
    // SAFETY: it has just been made, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }.into()
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.mode = mode;
        self
    }

    fn custom_flags(&mut self, flags: c_int) -> &mut OpenOptions {
        self.custom_flags = flags;
        self
    }
}
