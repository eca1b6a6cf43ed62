//! The append-only file: every change, as the request that would make it, in Redis's own format.
//!
//! A change is put into a buffer under the lock of its key, and the buffer is written before any answer leaves that could tell of
//! it: by whoever comes first, for all who wait. So what a client has been told of outlives the process, and with `always` the
//! machine.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kapok::fs::{File, OpenOptions};
use kapok::sync::{Mutex, MutexGuard, PoisonError};
use kapok::{fiber, shield};

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

pub(crate) struct Log {
    fsync: Fsync,
    waiting: Mutex<Waiting>,
    file: Mutex<Tail>,
    /// The same file, to be synced while others write.
    second: File,
    /// How far it is in the file.
    written: AtomicU64,
    /// How far it is on the disk, with `everysec`.
    synced: AtomicU64,
    error: Mutex<Option<io::Error>>,
}

/// What has not been written.
struct Waiting {
    bytes: Vec<u8>,
    /// Where in the file it ends.
    end: u64,
}

struct Tail {
    file: File,
    /// The buffer that is not being filled.
    spare: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is whole before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Goes on after the first `length` bytes of the file; others are cut off.
    pub(crate) fn open(path: &Path, length: u64, fsync: Fsync) -> io::Result<Log> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        // No two servers with one file.
        file.try_lock()?;
        file.set_len(length)?;
        Ok(Log {
            fsync,
            waiting: Mutex::new(Waiting {
                bytes: Vec::new(),
                end: length,
            }),
            second: file.try_clone()?,
            file: Mutex::new(Tail {
                file,
                spare: Vec::new(),
            }),
            written: AtomicU64::new(length),
            synced: AtomicU64::new(length),
            error: Mutex::new(None),
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
        let mut tail = lock(&self.file);
        let written = self.written.load(Ordering::Acquire);
        if written >= end {
            return Ok(()); // somebody has done it for us
        }
        let mut bytes = std::mem::take(&mut tail.spare);
        let mut waiting = lock(&self.waiting);
        std::mem::swap(&mut bytes, &mut waiting.bytes);
        let end = waiting.end;
        drop(waiting);
        let mut done = tail.file.write_all(&bytes);
        if done.is_ok() && self.fsync == Fsync::Always {
            done = tail.file.sync_data();
        }
        if let Err(error) = done {
            // To be written again, with what has come meanwhile. Where it cannot be cut, the end is found incomplete.
            let _incomplete = tail.file.set_len(written);
            let mut waiting = lock(&self.waiting);
            bytes.append(&mut waiting.bytes);
            waiting.bytes = bytes;
            let told = io::Error::new(error.kind(), error.to_string());
            *lock(&self.error) = Some(error);
            return Err(told);
        }
        self.written.store(end, Ordering::Release);
        lock(&self.error).take();
        bytes.clear();
        bytes.shrink_to(1 << 20);
        tail.spare = bytes;
        Ok(())
    }

    /// What it is that keeps changes from being written, for those who want to make some.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.error).as_ref().map(ToString::to_string)
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

    /// Each second: tries again to write what could not be written, and syncs, if that is wished.
    pub(crate) fn keep(&self) {
        loop {
            fiber::sleep(Duration::from_secs(1));
            let kept = self.commit().and_then(|()| match self.fsync {
                Fsync::Everysec => self.sync(),
                Fsync::Always | Fsync::No => Ok(()),
            });
            if let Err(error) = kept {
                log::error!("the append-only file cannot be written: {error}");
            }
        }
    }

    /// Returns when the disk has all that was recorded.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.commit()?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        let written = self.written.load(Ordering::Acquire);
        if self.synced.load(Ordering::Acquire) < written {
            self.second.sync_data()?;
            self.synced.store(written, Ordering::Release);
        }
        Ok(())
    }
}
