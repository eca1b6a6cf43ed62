//! The append-only file: every change, as the request that would make it, in Redis's own format.
//!
//! A change is put into a buffer under the lock of its key, and the buffer is written before any answer leaves that could tell of
//! it: by whoever comes first, for all who wait. So what a client has been told of outlives the process, and with `always` the
//! machine.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kapok::fs::{self, File, OpenOptions, TryLockError};
use kapok::sync::{Mutex, MutexGuard, PoisonError};
use kapok::{fiber, shield};

/// How long to wait for a server that has the file. One that was just killed may hold it for a moment, until the kernel has done
/// what it was asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// When the disk is to have what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fsync {
    /// Before the answer.
    Always,
    /// A second later at the latest.
    Everysec,
    /// When the kernel thinks fit.
    No,
}

/// What is done with the file.
pub(crate) trait Disk {
    /// Puts bytes at the end; where that fails, some of them may be there.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    fn cut(&self, length: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
}

pub(crate) struct Log<D = File> {
    fsync: Fsync,
    disk: D,
    waiting: Mutex<Waiting>,
    tail: Mutex<Tail>,
    /// How far it is in the file.
    written: AtomicU64,
    /// How far it is on the disk.
    synced: AtomicU64,
    trouble: Mutex<Trouble>,
}

/// What has not been written.
struct Waiting {
    bytes: Vec<u8>,
    /// Where in the file it ends.
    end: u64,
}

/// For who writes.
struct Tail {
    /// The buffer that is not being filled.
    spare: Vec<u8>,
    /// Whether there may be something behind what was written: nothing may be put behind that.
    is_torn: bool,
}

/// What failed, until it succeeds.
#[derive(Default)]
struct Trouble {
    write: Option<String>,
    sync: Option<String>,
}

/// Opens the file for one server alone, to be read and then written.
pub(crate) fn open(path: &Path, fsync: Fsync) -> io::Result<File> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = OpenOptions::new().read(true).append(true).create(true).open(path);
    let file = file.map_err(named)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => fiber::sleep(Duration::from_millis(10)),
            Err(TryLockError::WouldBlock) => {
                return Err(named(io::Error::new(ErrorKind::WouldBlock, "another server has it")));
            }
            Err(TryLockError::Error(error)) => return Err(named(error)),
        }
    }
    if fsync != Fsync::No {
        // A file that is new is found after a power failure only if its directory is on the disk.
        file.sync_all().and_then(|()| sync_directory_of(path)).map_err(named)?;
    }
    Ok(file)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    match File::open(path.parent().unwrap_or(&path))?.sync_all() {
        // Some file systems do not do that with directories.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

impl Disk for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        file.write_all(bytes)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is whole before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: Disk> Log<D> {
    /// Goes on after the first `length` bytes; others are cut off.
    pub(crate) fn new(disk: D, length: u64, fsync: Fsync) -> io::Result<Log<D>> {
        disk.cut(length)?;
        if fsync == Fsync::Always {
            // Who wrote them may not have done that, and clients are told of them from now on.
            disk.sync()?;
        }
        Ok(Log {
            fsync,
            disk,
            waiting: Mutex::new(Waiting {
                bytes: Vec::new(),
                end: length,
            }),
            tail: Mutex::new(Tail {
                spare: Vec::new(),
                is_torn: false,
            }),
            written: AtomicU64::new(length),
            synced: AtomicU64::new(if fsync == Fsync::Always { length } else { 0 }),
            trouble: Mutex::default(),
        })
    }

    /// Puts a request into the buffer. To be called under the lock of what it changes.
    pub(crate) fn record(&self, words: &[&[u8]]) {
        let mut waiting = lock(&self.waiting);
        let before = waiting.bytes.len();
        let bytes = &mut waiting.bytes;
        write!(bytes, "*{}\r\n", words.len()).expect("memory takes it");
        for word in words {
            write!(bytes, "${}\r\n", word.len()).expect("memory takes it");
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        waiting.end += (waiting.bytes.len() - before) as u64;
    }

    /// Returns when all that was recorded is in the file, and with `always` on the disk.
    pub(crate) fn commit(&self) -> io::Result<()> {
        let end = lock(&self.waiting).end;
        if self.written.load(Ordering::Acquire) >= end {
            return Ok(());
        }
        // A connection that is cut off must leave no half of a request there.
        shield(|| self.write_up_to(end))
    }

    fn write_up_to(&self, end: u64) -> io::Result<()> {
        let mut tail = lock(&self.tail);
        if self.written.load(Ordering::Acquire) >= end {
            return Ok(()); // somebody has done it for us
        }
        let done = self.write(&mut tail);
        lock(&self.trouble).write = told(&done);
        done
    }

    fn write(&self, tail: &mut Tail) -> io::Result<()> {
        let written = self.written.load(Ordering::Acquire);
        if tail.is_torn {
            self.disk.cut(written)?;
            tail.is_torn = false;
        }
        let mut bytes = std::mem::take(&mut tail.spare);
        let mut waiting = lock(&self.waiting);
        std::mem::swap(&mut bytes, &mut waiting.bytes);
        let end = waiting.end;
        drop(waiting);
        let mut done = self.disk.append(&bytes);
        if done.is_ok() && self.fsync == Fsync::Always {
            // Where it fails, what the kernel has of it may never get to the disk: it is written again, too.
            done = self.disk.sync();
        }
        if done.is_err() {
            // Where it cannot be cut off now, it is before anything else is written.
            tail.is_torn = self.disk.cut(written).is_err();
            // To be written again, with what has come meanwhile.
            let mut waiting = lock(&self.waiting);
            bytes.append(&mut waiting.bytes);
            waiting.bytes = bytes;
            return done;
        }
        self.written.store(end, Ordering::Release);
        if self.fsync == Fsync::Always {
            self.synced.store(end, Ordering::Release);
        }
        bytes.clear();
        bytes.shrink_to(1 << 20);
        tail.spare = bytes;
        Ok(())
    }

    /// What it is that keeps changes from being written, or from the disk, for those who want to make some.
    pub(crate) fn trouble(&self) -> Option<String> {
        let trouble = lock(&self.trouble);
        trouble.write.as_ref().or(trouble.sync.as_ref()).cloned()
    }

    /// Whether changes get into the file.
    pub(crate) fn is_written(&self) -> bool {
        lock(&self.trouble).write.is_none()
    }

    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn fsync(&self) -> &'static str {
        match self.fsync {
            Fsync::Always => "always",
            Fsync::Everysec => "everysec",
            Fsync::No => "no",
        }
    }

    /// Each second: see [`tend`](Log::tend).
    pub(crate) fn keep(&self) {
        loop {
            fiber::sleep(Duration::from_secs(1));
            if let Err(error) = self.tend() {
                log::error!("the append-only file cannot be written: {error}");
            }
        }
    }

    /// Tries again to write what could not be written, and syncs, if that is wished.
    pub(crate) fn tend(&self) -> io::Result<()> {
        let written = self.commit();
        // What was answered before the file was full has to get to the disk all the same.
        written.and(match self.fsync {
            Fsync::Everysec => self.sync(),
            Fsync::Always | Fsync::No => Ok(()),
        })
    }

    /// Returns when the disk has all that was recorded.
    pub(crate) fn close(&self) -> io::Result<()> {
        let written = self.commit();
        written.and(self.sync())
    }

    fn sync(&self) -> io::Result<()> {
        let written = self.written.load(Ordering::Acquire);
        if self.synced.load(Ordering::Acquire) < written {
            // To be cut off is no failure of the disk. Others write meanwhile.
            let done = shield(|| self.disk.sync());
            lock(&self.trouble).sync = told(&done);
            done?;
            self.synced.store(written, Ordering::Release);
        }
        Ok(())
    }
}

fn told(done: &io::Result<()>) -> Option<String> {
    done.as_ref().err().map(ToString::to_string)
}
