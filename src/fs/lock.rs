//! Locks on whole files, which other processes see.

use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::File;
use crate::sched::Worker;
use crate::sys::{retry, syscall};

/// How many microseconds a fiber waits before it asks for a lock again: at first, and at most.
const PAUSES: (u64, u64) = (1_000, 50_000);

/// Why [`File::try_lock`] or [`File::try_lock_shared`] has not locked. As `std::fs::TryLockError`, which is newer than the
/// oldest Rust that Kapok supports, and so is not the same type.
pub enum TryLockError {
    /// It could not be locked.
    Error(io::Error),
    /// Another handle to the file has a lock, in this process or another one.
    WouldBlock,
}

impl fmt::Debug for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Error(error) => error.fmt(f),
            TryLockError::WouldBlock => f.write_str("WouldBlock"),
        }
    }
}

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Error(_) => f.write_str("lock acquisition failed due to I/O error"),
            TryLockError::WouldBlock => f.write_str("lock acquisition failed because the operation would block"),
        }
    }
}

impl Error for TryLockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TryLockError::Error(error) => Some(error),
            TryLockError::WouldBlock => None,
        }
    }
}

impl From<TryLockError> for io::Error {
    fn from(error: TryLockError) -> io::Error {
        match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        }
    }
}

impl File {
    /// Locks the file for this handle and its clones alone, waiting for others; closing all of them unlocks it, too. The lock is
    /// advisory: it keeps nobody from reading and writing who does not ask for it. As `std::fs::File::lock`.
    ///
    /// No kernel tells a reactor when a lock is free. So a fiber that has to wait asks again and again, after about 1 millisecond,
    /// then 2, and at last every 50; in between it is suspended, takes no thread, and can be [cancelled](crate::cancel). That is not
    /// fair: who has waited for long is not served before others, and a thread or a program that waits in the kernel is faster.
    /// Outside of a runtime this is the call that blocks the thread. Locking with a handle that has a lock already changes its
    /// kind, and may deadlock.
    ///
    /// ```
    /// use kapok::fs::{File, TryLockError};
    ///
    /// kapok::run(|| -> std::io::Result<()> {
    ///     let directory = tempfile::tempdir()?;
    ///     let path = directory.path().join("lock");
    ///     let (one, other) = (File::create(&path)?, File::create(&path)?);
    ///     one.lock()?;
    ///     assert!(matches!(other.try_lock_shared(), Err(TryLockError::WouldBlock)));
    ///     one.unlock()?;
    ///     other.try_lock()?;
    ///     Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `flock(2)`. `ECANCELED` in a fiber that is cancelled and cannot be unwound, with `panic = "abort"`.
    ///
    /// # Panics
    /// Where it would have to wait in a section of [`no_suspend`](crate::no_suspend()).
    pub fn lock(&self) -> io::Result<()> {
        self.wait_for_lock(libc::LOCK_EX)
    }

    /// Locks the file for all who ask for it to be shared, waiting for who has it alone. As `std::fs::File::lock_shared`; see
    /// [`lock`](File::lock).
    ///
    /// # Errors
    /// As [`lock`](File::lock).
    ///
    /// # Panics
    /// As [`lock`](File::lock).
    pub fn lock_shared(&self) -> io::Result<()> {
        self.wait_for_lock(libc::LOCK_SH)
    }

    /// As [`lock`](File::lock), if that needs no waiting.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`], and those of `flock(2)`.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.look_for_lock(libc::LOCK_EX)
    }

    /// As [`lock_shared`](File::lock_shared), if that needs no waiting.
    ///
    /// A fiber that looks in vain 64 times in a row lets others run, but not within [`no_suspend`](crate::no_suspend()).
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`], and those of `flock(2)`.
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.look_for_lock(libc::LOCK_SH)
    }

    /// Gives back the lock of this handle and its clones, if they have one.
    ///
    /// # Errors
    /// Those of `flock(2)`.
    pub fn unlock(&self) -> io::Result<()> {
        syscall!(flock(self.as_raw_fd(), libc::LOCK_UN)).map(drop)
    }

    fn wait_for_lock(&self, kind: libc::c_int) -> io::Result<()> {
        Worker::with_fiber(|here| {
            let Some((worker, fiber)) = here else {
                return retry(|| syscall!(flock(self.as_raw_fd(), kind)).map(drop));
            };
            let (mut pause, longest) = PAUSES;
            loop {
                match self.lock_at_once(kind) {
                    Err(TryLockError::WouldBlock) => {}
                    done => return Ok(done?),
                }
                // In the pool, those who wait could keep all threads from who has the lock, and has to write.
                worker.sleep(fiber, Instant::now().checked_add(about(pause)));
                if worker.is_pending(fiber) {
                    return Err(io::Error::from_raw_os_error(libc::ECANCELED));
                }
                pause = (pause * 2).min(longest);
            }
        })
    }

    fn look_for_lock(&self, kind: libc::c_int) -> Result<(), TryLockError> {
        let looked = self.lock_at_once(kind);
        if matches!(looked, Err(TryLockError::WouldBlock)) {
            Worker::looked_in_vain();
        }
        looked
    }

    fn lock_at_once(&self, kind: libc::c_int) -> Result<(), TryLockError> {
        match syscall!(flock(self.as_raw_fd(), kind | libc::LOCK_NB)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(TryLockError::WouldBlock),
            Err(error) => Err(TryLockError::Error(error)),
        }
    }
}

/// From half as long to half as long again: those who have come together do not go on to ask together, and to find the one of
/// them that was first.
fn about(micros: u64) -> Duration {
    // Each `RandomState` is another one.
    Duration::from_micros(micros / 2 + RandomState::new().hash_one(()) % micros)
}
