//! Who listens to which signal, in a form that a signal handler may look at: it interrupts anything, so it takes no lock and
//! allocates nothing.
//!
//! Listeners lie in a list that only grows; a place in it is used again when its listener has gone. The handler counts itself
//! into a place before it looks at it, and who clears the place waits until nobody is counted in, so that the pipe is not closed
//! under a handler. A handler does not wait for anything, so that is short.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::signal::{self, MAX_SIGNAL};

/// Where a listener lies for the handler.
#[derive(Debug)]
struct Place {
    /// A bit for each signal that it listens to; 0: nobody is here.
    mask: AtomicU64,
    /// A bit for each signal that has come and was not received.
    pending: AtomicU64,
    /// Into which a byte is written.
    pipe: AtomicI32,
    /// Handlers that look at this.
    visitors: AtomicUsize,
    /// Set before it is on the list.
    next: Option<&'static Place>,
}

static FIRST: AtomicPtr<Place> = AtomicPtr::new(ptr::null_mut());

/// What is done with signals apart from handling them.
#[derive(Default)]
struct Registry {
    free: Vec<&'static Place>,
    /// How many listen to a signal.
    listeners: BTreeMap<libc::c_int, usize>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    free: Vec::new(),
    listeners: BTreeMap::new(),
});

fn registry() -> MutexGuard<'static, Registry> {
    // Nothing panics under the lock.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bit(signal: libc::c_int) -> u64 {
    1 << (signal - 1)
}

/// What one [`Signals`](super::Signals) is for the handler.
#[derive(Debug)]
pub(super) struct Listener {
    place: &'static Place,
    pipe: OwnedFd,
}

impl Listener {
    pub(super) fn new(pipe: OwnedFd, signals: impl IntoIterator<Item = libc::c_int>) -> io::Result<Listener> {
        let signals: Vec<_> = signals.into_iter().collect();
        for &signal in &signals {
            check(signal)?;
        }
        let mut registry = registry();
        let place = registry.free.pop().unwrap_or_else(new_place);
        place.pending.store(0, Ordering::SeqCst);
        place.pipe.store(pipe.as_raw_fd(), Ordering::SeqCst);
        let listener = Listener { place, pipe };
        for signal in signals {
            if place.mask.load(Ordering::SeqCst) & bit(signal) != 0 {
                continue; // named twice
            }
            let count = registry.listeners.get(&signal).copied().unwrap_or(0);
            // Before the handler is there, so that it does not swallow a signal.
            place.mask.fetch_or(bit(signal), Ordering::SeqCst);
            if count == 0 {
                if let Err(error) = signal::install(signal, handle) {
                    place.mask.fetch_and(!bit(signal), Ordering::SeqCst);
                    drop(registry);
                    listener.close();
                    return Err(error);
                }
            }
            registry.listeners.insert(signal, count + 1);
        }
        Ok(listener)
    }

    /// Takes the lowest of the signals that have come.
    pub(super) fn take(&self) -> Option<libc::c_int> {
        loop {
            let pending = self.place.pending.load(Ordering::SeqCst);
            let index = pending.trailing_zeros();
            if index == u64::BITS {
                return None;
            }
            let mask = 1 << index;
            if self.place.pending.fetch_and(!mask, Ordering::SeqCst) & mask != 0 {
                return Some(libc::c_int::try_from(index).expect("below 64") + 1);
            }
        }
    }

    pub(super) fn has_several(&self) -> bool {
        self.place.pending.load(Ordering::SeqCst).count_ones() > 1
    }

    pub(super) fn wake_another(&self) {
        signal::notify(self.pipe.as_raw_fd());
    }

    /// Listens no more.
    pub(super) fn close(&self) {
        let mut registry = registry();
        let mask = self.place.mask.load(Ordering::SeqCst);
        for signal in (1..=MAX_SIGNAL).filter(|&signal| mask & bit(signal) != 0) {
            let Some(count) = registry.listeners.get_mut(&signal) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                registry.listeners.remove(&signal);
                // While the mask still says so: a signal that comes before this is heard by us, and not lost.
                signal::restore(signal);
            }
        }
        self.place.mask.store(0, Ordering::SeqCst);
        while self.place.visitors.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        registry.free.push(self.place);
    }
}

fn new_place() -> &'static Place {
    let place = Box::leak(Box::new(Place {
        mask: AtomicU64::new(0),
        pending: AtomicU64::new(0),
        pipe: AtomicI32::new(-1),
        visitors: AtomicUsize::new(0),
        next: first(),
    }));
    // Only one at a time does this: the registry is locked.
    FIRST.store(place, Ordering::SeqCst);
    place
}

#[expect(unsafe_code, reason = "a static can hold the address of what was leaked only so")]
fn first() -> Option<&'static Place> {
    // SAFETY: null, or what `new_place` has leaked.
    unsafe { FIRST.load(Ordering::SeqCst).as_ref() }
}

/// Notes that a signal has come. Runs in the signal's handler.
fn handle(signal: libc::c_int) {
    let mut cursor = first();
    while let Some(place) = cursor {
        place.visitors.fetch_add(1, Ordering::SeqCst);
        if place.mask.load(Ordering::SeqCst) & bit(signal) != 0 {
            place.pending.fetch_or(bit(signal), Ordering::SeqCst);
            signal::notify(place.pipe.load(Ordering::SeqCst));
        }
        place.visitors.fetch_sub(1, Ordering::SeqCst);
        cursor = place.next;
    }
}

fn check(signal: libc::c_int) -> io::Result<()> {
    let why = match signal {
        libc::SIGKILL | libc::SIGSTOP => "this signal cannot be caught",
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => {
            "this signal is about the instruction that was interrupted: nobody can wait for it"
        }
        1..=MAX_SIGNAL => return Ok(()),
        _ => "this is no signal's number",
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("signal {signal}: {why}"),
    ))
}
