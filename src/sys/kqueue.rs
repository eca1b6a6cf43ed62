//! `kqueue(2)`: the BSDs and Apple's systems; on Linux two stand-ins for tests, see `docs/portability.md`.
//!
//! The structs differ from system to system, in the widths of the fields and in what follows them. So a change is made of
//! the system's own struct here, and the rest of the library asks only for what all of them have.

#[cfg(kapok_libkqueue)]
mod libkqueue;
#[cfg(kapok_kqueue_model)]
#[path = "../../tests/support/kqueue_model/mod.rs"]
mod model;

#[cfg(not(any(kapok_kqueue_model, kapok_libkqueue)))]
use libc as os;
#[cfg(kapok_libkqueue)]
use libkqueue as os;
#[cfg(kapok_kqueue_model)]
use model as os;

use std::io;
use std::time::Duration;

#[cfg(kapok_libkqueue)]
pub(crate) use libkqueue::take_error;
pub(crate) use os::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_EOF, EV_ERROR, EV_RECEIPT, EVFILT_READ, EVFILT_WRITE, NOTE_TRIGGER,
    kevent as Kevent,
};

// The width of the fields that the constants are for.
#[cfg(target_os = "netbsd")]
pub(crate) type Filter = u32;
#[cfg(not(target_os = "netbsd"))]
pub(crate) type Filter = i16;
#[cfg(target_os = "netbsd")]
pub(crate) type Flags = u32;
#[cfg(not(target_os = "netbsd"))]
pub(crate) type Flags = u16;

// Kernels before NetBSD 10 and OpenBSD 7.8 do not know these numbers, and say so.
#[cfg(target_os = "netbsd")]
pub(crate) const EVFILT_USER: Filter = 8;
#[cfg(target_os = "openbsd")]
pub(crate) const EVFILT_USER: Filter = -10;
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
pub(crate) use os::EVFILT_USER;

/// A change to the filter of a descriptor, or of whatever the filter takes `ident` for.
pub(crate) fn change(ident: usize, filter: Filter, flags: Flags, fflags: u32, udata: usize) -> Kevent {
    // SAFETY: all zeroes is a valid kevent: integers, and a pointer that nobody follows.
    let mut change = unsafe { std::mem::zeroed::<Kevent>() };
    change.ident = ident;
    change.filter = filter;
    change.flags = flags;
    change.fflags = fflags;
    change.udata = std::ptr::without_provenance_mut(udata);
    change
}

/// The errno that an entry with `EV_ERROR` reports; `None` for a change that succeeded.
pub(crate) fn errno(entry: &Kevent) -> Option<i32> {
    let errno = i32::try_from(entry.data).unwrap_or(libc::EIO);
    (errno != 0).then_some(errno)
}

/// An open kqueue. Any thread may hand over changes.
#[derive(Debug)]
pub(crate) struct Queue(imp::Queue);

impl Queue {
    pub(crate) fn new() -> io::Result<Queue> {
        imp::Queue::new()
            .map(Queue)
            .map_err(|error| super::explain("kqueue", &error))
    }

    /// Hands over `changes`, in order; then, where `events` has capacity, waits for at most `timeout` (`None`: for ever) and
    /// fills it with what has happened. All changes are applied before any waiting, also when that is interrupted.
    ///
    /// A change that fails, or that asks for a receipt, is reported by an entry with `EV_ERROR` where there is room, and
    /// then nothing else is; so `events` has room for all changes, or for nothing.
    pub(crate) fn kevent(
        &self,
        changes: &[Kevent],
        events: &mut Vec<Kevent>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        events.clear();
        let room = events.spare_capacity_mut();
        debug_assert!(room.is_empty() || room.len() >= changes.len());
        let count = self.0.kevent(changes, room, timeout)?;
        // SAFETY: that many were written.
        unsafe { events.set_len(count) };
        Ok(())
    }

    /// Hands over `changes` and tells how the first one that failed did; those behind it are applied all the same.
    pub(crate) fn apply(&self, changes: &mut [Kevent]) -> io::Result<()> {
        for change in &mut *changes {
            change.flags |= EV_RECEIPT;
        }
        let mut receipts = Vec::with_capacity(changes.len());
        super::retry(|| self.kevent(changes, &mut receipts, Some(Duration::ZERO)))?;
        receipts
            .iter()
            .find_map(errno)
            .map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }
}

#[cfg(kapok_kqueue_model)]
mod imp {
    pub(super) use super::model::Kqueue as Queue;
}

#[cfg(kapok_libkqueue)]
mod imp {
    pub(super) use super::libkqueue::Kqueue as Queue;
}

#[cfg(not(any(kapok_kqueue_model, kapok_libkqueue)))]
mod imp {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::time::Duration;

    use super::{Kevent, os};

    /// Systems differ in the longest time that they accept. Whoever wants more waits again.
    const LONGEST: Duration = Duration::from_secs(1_000_000);

    #[derive(Debug)]
    pub(super) struct Queue(OwnedFd);

    impl Queue {
        pub(super) fn new() -> io::Result<Queue> {
            // SAFETY: it takes nothing.
            let fd = unsafe { os::kqueue() };
            if fd == -1 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: a new descriptor that nobody else owns.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            crate::sys::set_cloexec(&fd)?;
            Ok(Queue(fd))
        }

        pub(super) fn kevent(
            &self,
            changes: &[Kevent],
            room: &mut [MaybeUninit<Kevent>],
            timeout: Option<Duration>,
        ) -> io::Result<usize> {
            let timeout = timeout
                .map(|timeout| timeout.min(LONGEST))
                .map(|timeout| libc::timespec {
                    tv_sec: timeout.as_secs().try_into().expect("at most a million"),
                    tv_nsec: timeout.subsec_nanos().try_into().expect("less than 10^9"),
                });
            // SAFETY: the lists have as many elements as is said, and with the timeout they live until the call returns.
            let count = unsafe {
                os::kevent(
                    self.0.as_raw_fd(),
                    changes.as_ptr(),
                    changes.len().try_into().expect("at most twice the descriptors"),
                    room.as_mut_ptr().cast(),
                    room.len().try_into().unwrap_or(libc::c_int::MAX as _),
                    timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
                )
            };
            usize::try_from(count).map_err(|_| io::Error::last_os_error())
        }
    }
}
