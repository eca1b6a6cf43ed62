//! How a stack is had: from the lists, and with a guard before anybody may run on it.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::cgroup;
use super::super::guard::GuardKind;
use super::super::limit::{Step, explain, most_guards};
use super::super::map;
use super::shelves::State;
use super::trim::{give_back_all_but, give_back_idle_slabs};
use super::{Slot, TRIMMABLE, fork, lock};
use crate::sys::page_size;

/// Takes a stack of that many usable bytes, a whole size class, with its guard.
pub(in crate::stack) fn take(usable: usize) -> io::Result<Slot> {
    static WATCHES_FORKS: Once = Once::new();
    WATCHES_FORKS.call_once(fork::watch);
    let kind = GuardKind::chosen()?;
    match try_take(usable, kind) {
        // What lies idle may be what is missing.
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && give_back_idle_slabs() => try_take(usable, kind),
        Err(refused) if refused.step == Step::Memory => {
            give_back_all_but(0);
            try_take(usable, kind)
        }
        result => result,
    }
    .map_err(|refused| explain(&refused.error, page_size() + usable, refused.step))
}

struct Refused {
    error: io::Error,
    step: Step,
}

impl Refused {
    fn raw_os_error(&self) -> Option<i32> {
        self.error.raw_os_error()
    }
}

fn try_take(usable: usize, kind: GuardKind) -> Result<Slot, Refused> {
    let (slot, state, mut along) = lock()
        .take(usable, kind.comes_in_batches())
        .map_err(|error| Refused { error, step: Step::Map })?;
    if state != State::Used {
        match cgroup::check(1 + along.len()) {
            Ok(granted) => put_bare(along.drain((granted - 1).min(along.len())..)),
            Err(exhausted) => {
                put_bare(along);
                let mut depot = lock();
                match state {
                    State::Bare => depot.put_bare(slot),
                    State::Clean | State::Used => depot.put_clean(slot),
                }
                return Err(Refused {
                    error: io::Error::new(io::ErrorKind::OutOfMemory, exhausted.to_string()),
                    step: Step::Memory,
                });
            }
        }
    }
    // Without the lock: these are system calls. Nobody else knows of the slots.
    if !along.is_empty() && prepare(slot, along, kind) {
        return Ok(slot);
    }
    if state == State::Bare {
        // SAFETY: a page of a slot that was just handed to us.
        let installed = count_guard(kind).and_then(|()| unsafe { kind.install(slot.base) });
        if let Err(error) = installed {
            uncount_guards(kind, 1);
            lock().put_bare(slot);
            return Err(Refused {
                error,
                step: Step::Guard(kind),
            });
        }
    }
    Ok(slot)
}

fn put_bare(slots: impl IntoIterator<Item = Slot>) {
    let mut slots = slots.into_iter().peekable();
    if slots.peek().is_some() {
        let mut depot = lock();
        slots.for_each(|slot| depot.put_bare(slot));
    }
}

/// Gives a slot and those that came along guards, and the page that a fiber begins on; those are put back. Whether the slot has got its
/// guard.
fn prepare(slot: Slot, along: Vec<Slot>, kind: GuardKind) -> bool {
    let page = page_size();
    let mut slots = vec![slot];
    slots.extend(along);
    let guards: Vec<_> = slots.iter().map(|slot| (slot.base, page)).collect();
    // SAFETY: pages of slots that were just handed to us.
    let guarded = unsafe { kind.install_all(&guards) };
    let last_page = |slot: &Slot| {
        // SAFETY: within the slot.
        (unsafe { slot.base.add(slot.slab.usable()) }, page)
    };
    let pages: Vec<_> = slots[..guarded].iter().map(last_page).collect();
    // SAFETY: of stacks that were just handed to us.
    unsafe { map::populate_all(&pages) };
    put_bare(slots.drain(guarded.max(1)..));
    let mut depot = lock();
    // The one next to the slot goes first.
    slots.drain(1..).rev().for_each(|slot| depot.put_used(slot));
    TRIMMABLE.store(true, Ordering::Relaxed);
    guarded > 0
}

/// Guards that have mappings of their own, those that are being made included.
static GUARDS_WITH_MAPPINGS: AtomicUsize = AtomicUsize::new(0);

/// Refuses a guard as the system would, but while there are mappings left for others.
fn count_guard(kind: GuardKind) -> io::Result<()> {
    if kind == GuardKind::Mprotect {
        let count = GUARDS_WITH_MAPPINGS.fetch_add(1, Ordering::Relaxed);
        if most_guards().is_some_and(|most| count >= most) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
    }
    Ok(())
}

pub(super) fn uncount_guards(kind: GuardKind, count: usize) {
    if kind == GuardKind::Mprotect {
        GUARDS_WITH_MAPPINGS.fetch_sub(count, Ordering::Relaxed);
    }
}
