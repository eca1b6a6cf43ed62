//! A kqueue for tests on Linux: what FreeBSD and NetBSD do, as far as the reactor can see it, over epoll.
//!
//! It is compiled into the library in place of the system's under `--cfg kapok_kqueue_model`, so that every test and example
//! runs over it. It is no library for others: it does what its tests (`tests.rs` beside it) state, and answers `EINVAL` to
//! the rest. Two epoll instances, one for each direction, keep the edges of reading and writing apart.
//!
//! Where it cannot follow the originals:
//! - `data` is 0 but for timers and errors, so that nobody comes to rely on it.
//! - Linux gives a socket's error away once, so only that of a connect is fetched for `fflags`: by the reset of a connection
//!   it would take from the program what the program has to see.
//! - A descriptor that is closed while its open file lives on, and then made a descriptor of the same file again, keeps its
//!   filters.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The layout is nobody's; the names are everybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "the name that the systems give it")]
pub(crate) struct kevent {
    pub(crate) ident: usize,
    pub(crate) filter: i16,
    pub(crate) flags: u16,
    pub(crate) fflags: u32,
    pub(crate) data: i64,
    pub(crate) udata: *mut c_void,
}

pub(crate) const EVFILT_READ: i16 = -1;
pub(crate) const EVFILT_WRITE: i16 = -2;
const EVFILT_TIMER: i16 = -7;
pub(crate) const EVFILT_USER: i16 = -11;

pub(crate) const EV_ADD: u16 = 0x0001;
pub(crate) const EV_DELETE: u16 = 0x0002;
const EV_ENABLE: u16 = 0x0004;
const EV_DISABLE: u16 = 0x0008;
const EV_ONESHOT: u16 = 0x0010;
pub(crate) const EV_CLEAR: u16 = 0x0020;
pub(crate) const EV_RECEIPT: u16 = 0x0040;
pub(crate) const EV_ERROR: u16 = 0x4000;
pub(crate) const EV_EOF: u16 = 0x8000;

const NOTE_SECONDS: u32 = 0x1;
const NOTE_MSECONDS: u32 = 0x2;
const NOTE_USECONDS: u32 = 0x4;
const NOTE_NSECONDS: u32 = 0x8;
pub(crate) const NOTE_TRIGGER: u32 = 0x0100_0000;

/// A kqueue. One thread waits; any may hand over changes.
#[derive(Debug)]
pub(crate) struct Kqueue {
    readers: OwnedFd,
    writers: OwnedFd,
    /// Written to when a change of another thread may have made something ready.
    nudge: File,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<(RawFd, i16), FileNote>,
    /// Which note an epoll entry is about. An entry whose note is gone outlives it where the file was left open.
    serials: HashMap<u64, (RawFd, i16)>,
    last_serial: u64,
    /// Level-triggered notes that were reported: to be looked at again by the next call.
    levels: Vec<u64>,
    /// Timers and user events.
    others: Vec<OtherNote>,
}

#[derive(Debug)]
struct FileNote {
    serial: u64,
    flags: u16,
    udata: usize,
    enabled: bool,
    file: Identity,
    /// A connect was under way, so an error is the connect's.
    connecting: bool,
}

#[derive(Debug)]
struct OtherNote {
    ident: usize,
    filter: i16,
    flags: u16,
    udata: usize,
    enabled: bool,
    triggered: bool,
    due: Instant,
    period: Duration,
}

/// Which open file a number stands for: the number alone comes back.
type Identity = (u64, u64);

impl Kqueue {
    pub(crate) fn new() -> io::Result<Kqueue> {
        // SAFETY: a call without pointers.
        let epoll = || owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
        // SAFETY: a call without pointers.
        let nudge = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(Kqueue {
            readers: epoll()?,
            writers: epoll()?,
            nudge: nudge.into(),
            state: Mutex::default(),
        })
    }

    /// `kevent(2)`; how many entries were written to `room`.
    pub(crate) fn kevent(
        &self,
        changes: &[kevent],
        room: &mut [MaybeUninit<kevent>],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let mut answers = Vec::new();
        for change in changes {
            let errno = self.change(change).err().unwrap_or(0);
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
                data: errno.into(),
                ..*change
            });
        }
        if answers.is_empty() && !room.is_empty() {
            answers = self.wait(room.len(), timeout)?;
        }
        for (place, answer) in room.iter_mut().zip(&answers) {
            place.write(*answer);
        }
        Ok(answers.len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: &kevent) -> Result<(), i32> {
        const KNOWN: u16 = EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE | EV_ONESHOT | EV_CLEAR | EV_RECEIPT;
        if change.flags & !KNOWN != 0 {
            return Err(libc::EINVAL);
        }
        match change.filter {
            EVFILT_READ | EVFILT_WRITE => self.change_file(change),
            EVFILT_TIMER | EVFILT_USER => self.change_other(change),
            _ => Err(libc::EINVAL),
        }
    }

    fn change_file(&self, change: &kevent) -> Result<(), i32> {
        let fd = RawFd::try_from(change.ident).map_err(|_| libc::EBADF)?;
        let file = identity(fd).ok_or(libc::EBADF)?;
        let key = (fd, change.filter);
        let state = &mut *self.state();
        if state.files.get(&key).is_some_and(|note| note.file != file) {
            state.drop_file(key); // it was closed, and with it went its filters
        }
        if change.flags & EV_DELETE != 0 {
            let note = state.drop_file(key).ok_or(libc::ENOENT)?;
            return if note.enabled {
                self.epoll(libc::EPOLL_CTL_DEL, key, 0)
            } else {
                Ok(())
            };
        }
        if !state.files.contains_key(&key) {
            if change.flags & EV_ADD == 0 {
                return Err(libc::ENOENT);
            }
            state.last_serial += 1;
            state.serials.insert(state.last_serial, key);
            let note = FileNote {
                serial: state.last_serial,
                flags: 0,
                udata: 0,
                enabled: false,
                file,
                connecting: is_unconnected(fd),
            };
            state.files.insert(key, note);
        }
        let note = state.files.get_mut(&key).expect("found or inserted");
        if change.flags & EV_ADD != 0 {
            note.flags = change.flags;
            note.udata = change.udata.addr();
        }
        let enable = change.flags & EV_DISABLE == 0 && (note.enabled || change.flags & (EV_ADD | EV_ENABLE) != 0);
        let (was, serial) = (std::mem::replace(&mut note.enabled, enable), note.serial);
        let done = match (was, enable) {
            (false, false) => Ok(()),
            (true, false) => self.epoll(libc::EPOLL_CTL_DEL, key, 0),
            // What is ready now is reported, also when it was before.
            (_, true) => match self.epoll(libc::EPOLL_CTL_ADD, key, serial) {
                Err(libc::EEXIST) => self.epoll(libc::EPOLL_CTL_MOD, key, serial),
                result => result,
            },
        };
        if done.is_err() {
            state.drop_file(key);
        }
        done
    }

    fn change_other(&self, change: &kevent) -> Result<(), i32> {
        let state = &mut *self.state();
        let place = state
            .others
            .iter()
            .position(|note| (note.ident, note.filter) == (change.ident, change.filter));
        if change.flags & EV_DELETE != 0 {
            state.others.swap_remove(place.ok_or(libc::ENOENT)?);
            return Ok(());
        }
        let place = match place {
            Some(place) => place,
            None if change.flags & EV_ADD == 0 => return Err(libc::ENOENT),
            None => {
                state.others.push(OtherNote {
                    ident: change.ident,
                    filter: change.filter,
                    flags: 0,
                    udata: 0,
                    enabled: true,
                    triggered: false,
                    due: Instant::now(),
                    period: Duration::ZERO,
                });
                state.others.len() - 1
            }
        };
        let note = &mut state.others[place];
        if change.flags & EV_ADD != 0 {
            note.flags = change.flags;
            note.udata = change.udata.addr();
            if note.filter == EVFILT_TIMER {
                note.period = period(change)?;
                note.due = Instant::now() + note.period;
            }
        }
        if change.flags & (EV_ADD | EV_ENABLE) != 0 {
            note.enabled = true;
        }
        if change.flags & EV_DISABLE != 0 {
            note.enabled = false;
        }
        note.triggered |= note.filter == EVFILT_USER && change.fflags & NOTE_TRIGGER != 0;
        // The counter is far from full: a wait empties it. The lock is still held, so it hears of this change.
        (&self.nudge)
            .write_all(&1_u64.to_ne_bytes())
            .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
    }

    fn wait(&self, room: usize, timeout: Option<Duration>) -> io::Result<Vec<kevent>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let next_timer = {
                let state = &mut *self.state();
                drop((&self.nudge).read(&mut [0; 8])); // what it told of is looked at now
                let mut ready = Vec::new();
                state.collect_others(room, &mut ready);
                self.collect_files(state, room, &mut ready);
                if !ready.is_empty() {
                    return Ok(ready);
                }
                state
                    .others
                    .iter()
                    .filter(|note| note.is_running())
                    .map(|note| note.due)
                    .min()
            };
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Vec::new());
            }
            self.sleep(
                [deadline, next_timer]
                    .into_iter()
                    .flatten()
                    .min()
                    .map(|until| until - now),
            )?;
        }
    }

    fn sleep(&self, timeout: Option<Duration>) -> io::Result<()> {
        let mut fds = [
            self.readers.as_raw_fd(),
            self.writers.as_raw_fd(),
            self.nudge.as_raw_fd(),
        ]
        .map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: three pollfds, and a timespec or none, which live until the call returns; no mask is given.
        match unsafe { libc::ppoll(fds.as_mut_ptr(), 3, timeout, std::ptr::null()) } {
            -1 => Err(io::Error::last_os_error()),
            // Somebody has closed them, which the originals tell so.
            _ if fds.iter().any(|fd| fd.revents & libc::POLLNVAL != 0) => {
                Err(io::Error::from_raw_os_error(libc::EBADF))
            }
            _ => Ok(()),
        }
    }

    fn epoll(&self, operation: libc::c_int, (fd, filter): (RawFd, i16), serial: u64) -> Result<(), i32> {
        let interest = if filter == EVFILT_READ {
            libc::EPOLLIN | libc::EPOLLRDHUP
        } else {
            libc::EPOLLOUT
        };
        let mut event = libc::epoll_event {
            events: bits(interest | libc::EPOLLET),
            u64: serial,
        };
        let epoll = if filter == EVFILT_READ {
            &self.readers
        } else {
            &self.writers
        };
        // SAFETY: the event lives until the call returns.
        match unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
        }
    }

    fn collect_files(&self, state: &mut State, room: usize, ready: &mut Vec<kevent>) {
        // The next look at a level finds it again if it is still there.
        for serial in std::mem::take(&mut state.levels) {
            if let Some(&key) = state.serials.get(&serial) {
                let is_there = state.files[&key].enabled && Some(state.files[&key].file) == identity(key.0);
                let _: Result<(), i32> = if is_there {
                    self.epoll(libc::EPOLL_CTL_MOD, key, serial)
                } else {
                    Ok(())
                };
            }
        }
        for (epoll, share) in [(&self.readers, 2), (&self.writers, 1)] {
            // Reading does not take all the room.
            for entry in take_ready(epoll, (room - ready.len()).div_ceil(share)) {
                ready.extend(self.report(state, entry));
            }
        }
    }

    /// What an epoll entry says, where its note is still there.
    fn report(&self, state: &mut State, entry: libc::epoll_event) -> Option<kevent> {
        let (events, serial) = (entry.events, entry.u64);
        let has = |flags: libc::c_int| events & bits(flags) != 0;
        let key @ (fd, filter) = *state.serials.get(&serial)?;
        let note = state.files.get_mut(&key)?;
        if identity(fd) != Some(note.file) {
            state.drop_file(key);
            return None;
        }
        let ended = has(libc::EPOLLHUP | libc::EPOLLERR) || filter == EVFILT_READ && has(libc::EPOLLRDHUP);
        let mut fflags = 0;
        if filter == EVFILT_WRITE && std::mem::take(&mut note.connecting) && has(libc::EPOLLERR) {
            fflags = socket_error(fd);
        }
        let event = kevent {
            ident: fd.try_into().expect("an open descriptor is not negative"),
            filter,
            flags: note.flags & (EV_CLEAR | EV_ONESHOT) | if ended { EV_EOF } else { 0 },
            fflags,
            data: 0,
            udata: std::ptr::without_provenance_mut(note.udata),
        };
        if note.flags & EV_ONESHOT != 0 {
            let _: Result<(), i32> = self.epoll(libc::EPOLL_CTL_DEL, key, 0);
            state.drop_file(key);
        } else if note.flags & EV_CLEAR == 0 {
            state.levels.push(serial);
        }
        Some(event)
    }
}

impl State {
    fn drop_file(&mut self, key: (RawFd, i16)) -> Option<FileNote> {
        let note = self.files.remove(&key)?;
        self.serials.remove(&note.serial);
        Some(note)
    }

    fn collect_others(&mut self, room: usize, ready: &mut Vec<kevent>) {
        let now = Instant::now();
        self.others.retain_mut(|note| {
            if ready.len() == room || !note.enabled {
                return true;
            }
            let mut data = 0;
            if note.is_running() && note.due <= now {
                while note.due <= now && (data == 0 || note.flags & EV_ONESHOT == 0) {
                    note.due += note.period.max(Duration::from_nanos(1));
                    data += 1;
                }
            } else if !note.triggered {
                return true;
            }
            ready.push(kevent {
                ident: note.ident,
                filter: note.filter,
                flags: note.flags & (EV_CLEAR | EV_ONESHOT),
                fflags: 0,
                data,
                udata: std::ptr::without_provenance_mut(note.udata),
            });
            if note.flags & EV_CLEAR != 0 {
                note.triggered = false;
            }
            note.flags & EV_ONESHOT == 0
        });
    }
}

impl OtherNote {
    fn is_running(&self) -> bool {
        self.filter == EVFILT_TIMER && self.enabled
    }
}

fn period(change: &kevent) -> Result<Duration, i32> {
    let count = u64::try_from(change.data).map_err(|_| libc::EINVAL)?;
    match change.fflags {
        NOTE_SECONDS => Ok(Duration::from_secs(count)),
        0 | NOTE_MSECONDS => Ok(Duration::from_millis(count)),
        NOTE_USECONDS => Ok(Duration::from_micros(count)),
        NOTE_NSECONDS => Ok(Duration::from_nanos(count)),
        _ => Err(libc::EINVAL),
    }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What is ready, `room` at most; the rest stays ready.
fn take_ready(epoll: &OwnedFd, room: usize) -> Vec<libc::epoll_event> {
    let mut entries = Vec::with_capacity(room);
    let max = libc::c_int::try_from(room).unwrap_or(libc::c_int::MAX);
    if max == 0 {
        return entries;
    }
    // SAFETY: there is room for that many; it does not wait.
    let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), entries.as_mut_ptr(), max, 0) };
    // SAFETY: that many were written, none where it failed.
    unsafe { entries.set_len(usize::try_from(count).unwrap_or(0)) };
    entries
}

/// The kernel's field is unsigned, libc's constants are not: EPOLLET is the sign bit.
#[expect(clippy::cast_sign_loss, reason = "the same bits are meant")]
const fn bits(flags: libc::c_int) -> u32 {
    flags as u32
}

fn identity(fd: RawFd) -> Option<Identity> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: there is room for one.
    if unsafe { libc::fstat(fd, stat.as_mut_ptr()) } == -1 {
        return None;
    }
    // SAFETY: it was written.
    let stat = unsafe { stat.assume_init() };
    Some((stat.st_dev, stat.st_ino))
}

/// A TCP socket that never was connected: no round trip has been measured.
fn is_unconnected(fd: RawFd) -> bool {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = u32::try_from(size_of_val(&info)).expect("a small struct");
    // SAFETY: there is room for `len` bytes.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    // SAFETY: integers, which were zeroes before.
    result == 0 && unsafe { info.assume_init() }.tcpi_rtt == 0
}

/// `SO_ERROR`, which reading clears.
fn socket_error(fd: RawFd) -> u32 {
    let mut errno = 0;
    let mut len = u32::try_from(size_of_val(&errno)).expect("a small struct");
    // SAFETY: there is room for `len` bytes.
    unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut errno).cast(),
            &raw mut len,
        )
    };
    errno
}
