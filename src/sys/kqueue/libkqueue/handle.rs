//! An open kqueue of libkqueue's, and where they are kept.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use super::kevent;

/// A longer time does not fit into the milliseconds that it counts in. Whoever wants more waits again.
const LONGEST: Duration = Duration::from_secs(1_000_000);

/// Kqueues without filters, to be used again.
static KEPT: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

fn kept() -> MutexGuard<'static, Vec<OwnedFd>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that is in `exit(3)`, in which libkqueue takes kqueues apart that other threads wait in. 0: none is.
static EXITING: AtomicI32 = AtomicI32::new(0);

/// Has the beginning of `exit` noted. To be called when libkqueue has registered what it does there, so that this comes before.
fn watch_exit() {
    extern "C" fn begins() {
        EXITING.store(thread_id(), Ordering::SeqCst);
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a function that may be called at any time. Where there is no memory for it, exits are as libkqueue makes them.
        unsafe { libc::atexit(begins) };
    });
}

/// An error that comes from the end of the process is nobody's any more: this thread waits for that end, too.
fn stay_if_exiting() {
    let exiting = EXITING.load(Ordering::SeqCst);
    while exiting != 0 && exiting != thread_id() {
        std::thread::park();
    }
}

fn thread_id() -> libc::pid_t {
    // SAFETY: a plain system call.
    unsafe { libc::gettid() }
}

#[derive(Debug)]
pub(super) struct Handle {
    /// `None` only while it is being dropped.
    fd: Option<OwnedFd>,
    keep: AtomicBool,
}

impl Handle {
    pub(super) fn open() -> io::Result<Handle> {
        let last = kept().pop();
        if let Some(fd) = last {
            let handle = Handle::new(fd);
            // With room, since without any the newest looks at nothing.
            let asked = handle.call(&[], &mut [MaybeUninit::uninit()], Some(Duration::ZERO));
            if asked.is_ok() {
                return Ok(handle);
            }
            // It was the parent's before a fork: libkqueue has closed it here, and the number may be anybody's.
            handle.abandon();
            return Handle::open();
        }
        // SAFETY: it takes nothing.
        let fd = unsafe { super::kqueue() };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        crate::sys::set_cloexec(&fd)?;
        watch_exit();
        Ok(Handle::new(fd))
    }

    fn new(fd: OwnedFd) -> Handle {
        Handle {
            fd: Some(fd),
            keep: AtomicBool::new(false),
        }
    }

    /// There is nothing in it any more, so that it can be used again.
    pub(super) fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    fn abandon(mut self) {
        let _not_ours: Option<i32> = self.fd.take().map(IntoRawFd::into_raw_fd);
    }

    /// `kevent(2)`.
    pub(super) fn call(
        &self,
        changes: &[kevent],
        room: &mut [MaybeUninit<kevent>],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let timeout = timeout
            .map(|timeout| timeout.min(LONGEST))
            .map(|timeout| libc::timespec {
                tv_sec: timeout.as_secs().try_into().expect("at most a million"),
                tv_nsec: timeout.subsec_nanos().into(),
            });
        let fd = self.fd.as_ref().expect("it is open until it is dropped");
        // SAFETY: the lists have as many elements as is said, and with the timeout they live until the call returns.
        let count = unsafe {
            kevent(
                fd.as_raw_fd(),
                changes.as_ptr(),
                changes.len().try_into().expect("one or none"),
                room.as_mut_ptr().cast(),
                room.len().try_into().expect("a short list"),
                timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
            )
        };
        usize::try_from(count).map_err(|_| {
            let error = io::Error::last_os_error();
            stay_if_exiting();
            error
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if *self.keep.get_mut() {
            kept().extend(self.fd.take());
        }
    }
}
