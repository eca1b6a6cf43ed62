//! Handlers of signals, and what they may do.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::syscall;

/// As many as have a bit in a word. Linux has 64, most systems 32.
pub(crate) const MAX_SIGNAL: c_int = 64;

const COUNT: usize = 65;

/// What is called in a handler.
pub(crate) type Action = fn(c_int);

/// What belongs to one signal.
struct Slot {
    /// What was there before ours; null before the first time. Never freed, for a handler may be looking at it.
    previous: AtomicPtr<libc::sigaction>,
    /// An [`Action`].
    ours: AtomicPtr<()>,
    /// Our handler is installed, or lies below somebody else's.
    installed: AtomicBool,
}

static SLOTS: [Slot; COUNT] = [const {
    Slot {
        previous: AtomicPtr::new(ptr::null_mut()),
        ours: AtomicPtr::new(ptr::null_mut()),
        installed: AtomicBool::new(false),
    }
}; COUNT];

fn slot(signal: c_int) -> &'static Slot {
    &SLOTS[usize::try_from(signal).expect("a signal's number")]
}

extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // What is interrupted may be about to look at its errno.
    let errno = io::Error::last_os_error().raw_os_error();
    let slot = slot(signal);
    let ours = slot.ours.load(Ordering::SeqCst);
    if !ours.is_null() {
        // SAFETY: `install` has stored a function of this type.
        let action = unsafe { std::mem::transmute::<*mut (), Action>(ours) };
        action(signal);
    }
    // SAFETY: null, or what `install` has leaked.
    if let Some(previous) = unsafe { slot.previous.load(Ordering::SeqCst).as_ref() } {
        // SAFETY: it was the signal's action.
        unsafe { pass_on(previous, signal, info, context) };
    }
    if let Some(errno) = errno {
        set_errno(errno);
    }
}

/// # Safety
/// `action` was the action of the signal.
unsafe fn pass_on(action: &libc::sigaction, signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let function = action.sa_sigaction;
    if function == libc::SIG_DFL || function == libc::SIG_IGN {
        return;
    }
    if action.sa_flags & libc::SA_SIGINFO != 0 {
        type WithInfo = extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: somebody installed it as such.
        let function = unsafe { std::mem::transmute::<usize, WithInfo>(function) };
        function(signal, info, context);
    } else {
        // SAFETY: somebody installed it as such.
        let function = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(function) };
        function(signal);
    }
}

fn set_errno(errno: c_int) {
    #[cfg(any(target_os = "linux", target_os = "dragonfly"))]
    // SAFETY: the place of this thread's errno.
    let place = unsafe { libc::__errno_location() };
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    // SAFETY: the place of this thread's errno.
    let place = unsafe { libc::__errno() };
    #[cfg(any(target_os = "freebsd", target_vendor = "apple"))]
    // SAFETY: the place of this thread's errno.
    let place = unsafe { libc::__error() };
    // SAFETY: it is this thread's.
    unsafe { place.write(errno) };
}

/// Has `action` called whenever the signal comes, and then what was there before. One caller at a time.
pub(crate) fn install(signal: c_int, action: Action) -> io::Result<()> {
    let slot = slot(signal);
    let old = current(signal)?;
    let is_function = old.sa_sigaction != libc::SIG_DFL && old.sa_sigaction != libc::SIG_IGN;
    slot.ours.store(action as *mut (), Ordering::SeqCst);
    if slot.installed.load(Ordering::SeqCst) && is_function {
        // Ours was left below somebody else's, which passes on to it. To put it above as well would be a circle.
        return Ok(());
    }
    // SAFETY: null, or what was leaked here.
    let known = unsafe { slot.previous.load(Ordering::SeqCst).as_ref() };
    if known.is_none_or(|known| (known.sa_sigaction, known.sa_flags) != (old.sa_sigaction, old.sa_flags)) {
        slot.previous.store(Box::leak(Box::new(old)), Ordering::SeqCst);
    }
    // SAFETY: all zeroes is a valid sigaction: no flags, nothing blocked.
    let mut new = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    new.sa_sigaction = ours();
    // A fiber's stack is small: what there is for handlers is the better place.
    new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // `new` is valid, the old one is not asked for.
    syscall!(sigaction(signal, &raw const new, ptr::null_mut()))?;
    slot.installed.store(true, Ordering::SeqCst);
    Ok(())
}

/// Puts back what was there before, unless somebody has installed another handler over ours: then ours goes on passing on. One
/// caller at a time.
pub(crate) fn restore(signal: c_int) {
    let slot = slot(signal);
    if !current(signal).is_ok_and(|now| now.sa_sigaction == ours()) {
        return;
    }
    let previous = slot.previous.load(Ordering::SeqCst);
    // `previous` is what the kernel gave: ours is installed, so `install` has stored it.
    match syscall!(sigaction(signal, previous, ptr::null_mut())) {
        Ok(_) => slot.installed.store(false, Ordering::SeqCst),
        Err(error) => log::warn!("the handler of signal {signal} stays: {error}"),
    }
}

fn ours() -> libc::sighandler_t {
    handler as *const () as libc::sighandler_t
}

fn current(signal: c_int) -> io::Result<libc::sigaction> {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // There is room for one.
    syscall!(sigaction(signal, ptr::null(), now.as_mut_ptr()))?;
    // SAFETY: it has succeeded, so it has written it.
    Ok(unsafe { now.assume_init() })
}

/// A pipe of which neither end blocks: what comes out, and what goes in.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // There is room for two.
    syscall!(pipe(fds.as_mut_ptr()))?;
    // SAFETY: new descriptors that nobody else owns.
    let [out, into] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    for end in [&out, &into] {
        super::set_cloexec(end)?;
        super::set_nonblocking(end.as_fd(), true)?;
    }
    Ok((out, into))
}

/// Writes a byte, in a handler. Where the pipe is full, its reader has enough to wake up for.
pub(crate) fn notify(pipe: RawFd) {
    // SAFETY: one byte. A handler may call write(2).
    unsafe { libc::write(pipe, ptr::from_ref(&1u8).cast(), 1) };
}
