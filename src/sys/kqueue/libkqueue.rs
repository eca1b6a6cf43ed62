//! libkqueue on Linux: kqueue in user space, over epoll.
//!
//! It does some things that no system does (`docs/portability.md`). They are made good for here, and the reactor knows
//! nothing of them:
//!
//! - Errors and receipts are lost by a call that then waits. So each change is handed over by a call of its own, without
//!   room for anything else.
//! - Edges are lost for which the list has no room. So after a full list everything is reported, once.
//! - A descriptor that is closed elsewhere keeps its filters, and nothing is reported of the next one of that number, nor
//!   can it always be helped by a deletion. So a number that comes back with another file gets everybody a new kqueue.
//! - A socket's error is taken from it by the report, see [`take_error`].
//! - Adding what is there already does not report what is ready. So it is deleted before.
//! - A kqueue is closed by a thread of its own, later. Up to 2.7.0 that seems to close a descriptor of somebody else where a
//!   child process has the kqueue open for a moment. So a kqueue that is done with is kept for the next one.
//! - Before 2.7 a thread that waits keeps all others out, so there `EVFILT_USER` is refused.

mod handle;
mod taken;
#[cfg(test)]
#[path = "../../../tests/support/kqueue_model/tests.rs"]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use handle::Handle;
pub(crate) use taken::take_error;

/// The layout of libkqueue's `sys/event.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct kevent {
    pub(crate) ident: usize,
    pub(crate) filter: i16,
    pub(crate) flags: u16,
    pub(crate) fflags: u32,
    pub(crate) data: isize,
    pub(crate) udata: *mut c_void,
}

// SAFETY: integers, and a pointer that nobody follows.
unsafe impl Send for kevent {}

pub(crate) const EVFILT_READ: i16 = -1;
pub(crate) const EVFILT_WRITE: i16 = -2;
pub(crate) const EVFILT_USER: i16 = -11;
const EVFILT_LIBKQUEUE: i16 = -12;
#[cfg(test)]
const EVFILT_TIMER: i16 = -7;
pub(crate) const EV_ADD: u16 = 0x0001;
pub(crate) const EV_DELETE: u16 = 0x0002;
#[cfg(test)]
const EV_ENABLE: u16 = 0x0004;
#[cfg(test)]
const EV_DISABLE: u16 = 0x0008;
#[cfg(test)]
const EV_ONESHOT: u16 = 0x0010;
pub(crate) const EV_CLEAR: u16 = 0x0020;
pub(crate) const EV_RECEIPT: u16 = 0x0040;
pub(crate) const EV_ERROR: u16 = 0x4000;
pub(crate) const EV_EOF: u16 = 0x8000;
pub(crate) const NOTE_TRIGGER: u32 = 0x0100_0000;
#[cfg(test)]
const NOTE_SECONDS: u32 = 0x1;
#[cfg(test)]
const NOTE_MSECONDS: u32 = 0; // it has no other name for them
#[cfg(test)]
const NOTE_USECONDS: u32 = 0x2;
#[cfg(test)]
const NOTE_NSECONDS: u32 = 0x4;
const NOTE_VERSION: u32 = 0x0001;

// The library to link is named by build.rs.
unsafe extern "C" {
    fn kqueue() -> c_int;
    fn kevent(
        kq: c_int,
        changes: *const kevent,
        change_count: c_int,
        events: *mut kevent,
        event_count: c_int,
        timeout: *const libc::timespec,
    ) -> c_int;
}

/// The longest list that it fills.
const LIST: usize = 512;

/// A kqueue. One thread waits, and changes the filters of descriptors; any may hand over other changes.
#[derive(Debug)]
pub(crate) struct Kqueue(Mutex<State>);

#[derive(Debug)]
struct State {
    queue: Arc<Handle>,
    notes: BTreeMap<Key, Note>,
    /// What is to be reported before anything else.
    owed: Vec<Key>,
}

/// `ident` and `filter`.
type Key = (usize, i16);

#[derive(Debug)]
struct Note {
    added: kevent,
    /// What `ident` stood for then; `None` where it is no descriptor.
    file: Option<libc::ino_t>,
}

impl Kqueue {
    pub(crate) fn new() -> io::Result<Kqueue> {
        Ok(Kqueue(Mutex::new(State {
            queue: Arc::new(Handle::open()?),
            notes: BTreeMap::new(),
            owed: Vec::new(),
        })))
    }

    /// `kevent(2)`; how many entries were written to `room`.
    pub(crate) fn kevent(
        &self,
        changes: &[kevent],
        room: &mut [MaybeUninit<kevent>],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let mut state = self.state();
        let mut answers = Vec::new();
        for change in changes {
            let errno = state.change(change).err().unwrap_or(0);
            if errno == 0 && change.flags & EV_RECEIPT == 0 {
                continue;
            }
            if answers.len() == room.len() {
                // Nowhere to tell: the call fails, or stops, and what is behind is not applied.
                return if errno == 0 {
                    Ok(answers.len())
                } else {
                    Err(io::Error::from_raw_os_error(errno))
                };
            }
            answers.push(kevent {
                flags: EV_ERROR,
                data: errno as isize,
                ..*change
            });
        }
        if answers.is_empty() {
            answers = state.reports_owed(room.len());
        }
        if !answers.is_empty() || room.is_empty() {
            for (place, answer) in room.iter_mut().zip(&answers) {
                place.write(*answer);
            }
            return Ok(answers.len());
        }
        let queue = Arc::clone(&state.queue);
        drop(state);
        let most = room.len().min(LIST);
        let count = queue.call(&[], &mut room[..most], timeout)?;
        let mut kept = 0;
        let mut state = self.state();
        for i in 0..count {
            // SAFETY: that many were written.
            let event = unsafe { room[i].assume_init() };
            if state.concerns_somebody(&event) {
                let flags = event.flags & !(EV_ADD | EV_RECEIPT);
                room[kept].write(kevent { flags, ..event });
                kept += 1;
            }
        }
        if count == most {
            state.owe_everything();
        }
        Ok(kept)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, change: &kevent) -> Result<(), i32> {
        let key = (change.ident, change.filter);
        if change.filter == EVFILT_USER && change.flags & EV_ADD != 0 && !lets_others_in(&self.queue) {
            return Err(libc::EINVAL);
        }
        let file = match change.filter {
            EVFILT_READ | EVFILT_WRITE => Some(file_of(change.ident).ok_or(libc::EBADF)?),
            _ => None,
        };
        if let Some(note) = self.notes.get(&key) {
            if note.file != file {
                if change.flags & EV_ADD == 0 {
                    return Err(libc::ENOENT);
                }
                self.renew()
                    .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
            } else if change.flags & EV_ADD != 0 && file.is_some() {
                hand_over(
                    &self.queue,
                    &kevent {
                        flags: EV_DELETE,
                        ..*change
                    },
                )?;
                self.notes.remove(&key);
            }
        }
        hand_over(&self.queue, change)?;
        if change.flags & EV_ADD != 0 {
            let added = *change;
            self.notes.insert(key, Note { added, file });
        } else if change.flags & EV_DELETE != 0 {
            self.notes.remove(&key);
        }
        Ok(())
    }

    /// Goes on with a new kqueue, to which everything is added that is still there.
    fn renew(&mut self) -> io::Result<()> {
        self.queue = Arc::new(Handle::open()?);
        let queue = Arc::clone(&self.queue);
        self.notes.retain(|&(ident, filter), note| {
            if note.file.is_some() && file_of(ident) != note.file {
                return false;
            }
            if hand_over(&queue, &note.added).is_err() {
                return false;
            }
            // Who rang the old one is heard by the new one.
            let trigger = kevent {
                flags: 0,
                fflags: NOTE_TRIGGER,
                ..note.added
            };
            filter != EVFILT_USER || hand_over(&queue, &trigger).is_ok()
        });
        Ok(())
    }

    /// Whether what an event is about is still there; takes care of its error.
    fn concerns_somebody(&mut self, event: &kevent) -> bool {
        let Some(note) = self.notes.get(&(event.ident, event.filter)) else {
            return event.flags & EV_ERROR != 0;
        };
        if note.file.is_some() && file_of(event.ident) != note.file {
            return false;
        }
        if let Some(file) = note.file.filter(|_| event.flags & EV_EOF != 0) {
            taken::note(file, event.fflags);
        }
        true
    }

    /// Makes up for edges that were dropped.
    fn owe_everything(&mut self) {
        self.owed = self
            .notes
            .iter()
            .filter(|(_, note)| note.file.is_some())
            .map(|(&key, _)| key)
            .collect();
    }

    fn reports_owed(&mut self, room: usize) -> Vec<kevent> {
        let rest = self.owed.len().saturating_sub(room);
        let now = self.owed.split_off(rest);
        now.iter()
            .filter_map(|key| self.notes.get(key))
            .filter(|note| file_of(note.added.ident) == note.file)
            .map(|note| kevent {
                flags: note.added.flags & EV_CLEAR,
                fflags: 0,
                data: 0,
                ..note.added
            })
            .collect()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Those of files that were closed elsewhere cannot be got rid of for certain.
        let is_empty = self.notes.values().all(|note| {
            let delete = kevent {
                flags: EV_DELETE,
                ..note.added
            };
            (note.file.is_none() || file_of(note.added.ident) == note.file) && hand_over(&self.queue, &delete).is_ok()
        });
        if is_empty {
            self.queue.keep();
        }
    }
}

/// Hands over one change, and gives its errno.
fn hand_over(queue: &Handle, change: &kevent) -> Result<(), i32> {
    let change = kevent {
        flags: change.flags | EV_RECEIPT,
        ..*change
    };
    let mut room = [MaybeUninit::uninit()];
    match queue.call(&[change], &mut room, Some(Duration::ZERO)) {
        Ok(0) => Ok(()),
        Ok(_) => {
            // SAFETY: it was written.
            let receipt = unsafe { room[0].assume_init() };
            match i32::try_from(receipt.data) {
                Ok(0) => Ok(()),
                Ok(errno) => Err(errno),
                Err(_) => Err(libc::EIO),
            }
        }
        Err(error) => Err(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// Whether other threads can hand over changes while one waits.
fn lets_others_in(queue: &Handle) -> bool {
    const SINCE: isize = 2 << 24 | 7 << 16;
    let question = kevent {
        ident: 0,
        filter: EVFILT_LIBKQUEUE,
        flags: EV_ADD,
        fflags: NOTE_VERSION,
        data: 0,
        udata: ptr::null_mut(),
    };
    let mut room = [MaybeUninit::uninit()];
    // The first that knew the question was 2.5.1; before, it is an error.
    let answer = queue.call(&[question], &mut room, Some(Duration::ZERO));
    // SAFETY: it was written.
    answer.is_ok_and(|count| count == 1 && unsafe { room[0].assume_init() }.data >= SINCE)
}

/// Which open file a number stands for; `None` where it is closed.
fn file_of(ident: usize) -> Option<libc::ino_t> {
    let fd = RawFd::try_from(ident).ok()?;
    taken::inode(fd)
}
