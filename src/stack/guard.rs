//! What makes a page a guard: advice that leaves the mapping whole, or a mapping of its own.
//!
//! Since Linux 6.13 `MADV_GUARD_INSTALL` marks a page in the page table: touching it faults, and the mapping around it stays one. An
//! `mprotect`ed page cuts its mapping in three, and a process may have 65,530 of them, so there cannot be more than some 32,000
//! such guards. Whether the advice works is found out by its effect: a kernel that does not know it says so, but an emulator may
//! swallow it.

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::OnceLock;

use super::map;
use crate::sys::{page_size, syscall};

/// How the page below a stack is made to end the process that touches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GuardKind {
    /// By `MADV_GUARD_INSTALL`, see [`madvise(2)`](https://man7.org/linux/man-pages/man2/madvise.2.html): no mapping for each guard.
    Madvise,
    /// By [`mprotect(2)`](https://man7.org/linux/man-pages/man2/mprotect.2.html): two mappings for each guard.
    Mprotect,
}

impl GuardKind {
    /// The name by which `KAPOK_STACK_GUARD` knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GuardKind::Madvise => "madvise",
            GuardKind::Mprotect => "mprotect",
        }
    }

    /// The one that `KAPOK_STACK_GUARD` names, or else the best that works here. Decided once for the process.
    ///
    /// # Errors
    /// For a name that is none, and where the one that was asked for does not work.
    pub(crate) fn chosen() -> io::Result<GuardKind> {
        static CHOSEN: OnceLock<Result<GuardKind, (io::ErrorKind, String)>> = OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| match std::env::var_os("KAPOK_STACK_GUARD") {
            Some(name) if !name.is_empty() => GuardKind::named(&name.to_string_lossy()),
            _ if advice_works() => Ok(GuardKind::Madvise),
            _ => Ok(GuardKind::Mprotect),
        });
        chosen
            .clone()
            .map_err(|(kind, text)| io::Error::new(kind, format!("KAPOK_STACK_GUARD: {text}")))
    }

    fn named(name: &str) -> Result<GuardKind, (io::ErrorKind, String)> {
        match name {
            "mprotect" => Ok(GuardKind::Mprotect),
            "madvise" if advice_works() => Ok(GuardKind::Madvise),
            "madvise" => Err((
                io::ErrorKind::Unsupported,
                "this system has no MADV_GUARD_INSTALL, or it has no effect; it takes Linux 6.13".to_owned(),
            )),
            _ => Err((
                io::ErrorKind::InvalidInput,
                format!("there is no guard {name:?}; there are madvise and mprotect"),
            )),
        }
    }

    /// Makes the page at `page` a guard. What was in it is lost.
    ///
    /// # Safety
    /// The page is the caller's, and nothing lies in it.
    pub(super) unsafe fn install(self, page: NonNull<u8>) -> io::Result<()> {
        let (page, bytes) = (page.as_ptr().cast(), page_size());
        match self {
            // A page of its own, by the caller's promise.
            GuardKind::Mprotect => syscall!(mprotect(page, bytes, libc::PROT_NONE)).map(drop),
            GuardKind::Madvise => match syscall!(madvise(page, bytes, MADV_GUARD_INSTALL)) {
                // It is not to be had on memory that is locked (mlockall).
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    syscall!(mprotect(page, bytes, libc::PROT_NONE)).map(drop)
                }
                result => result.map(drop),
            },
        }
    }

    /// Makes these pages guards with one call. How many of them, from the first one on, are guards now: perhaps none, and then each
    /// takes [`install`](GuardKind::install).
    ///
    /// # Safety
    /// As of [`install`](GuardKind::install), for each.
    pub(super) unsafe fn install_all(self, pages: &[(NonNull<u8>, usize)]) -> usize {
        if self.comes_in_batches() {
            // SAFETY: the caller's promise.
            unsafe { map::advise_all(pages, MADV_GUARD_INSTALL) }
        } else {
            0
        }
    }

    /// Whether [`install_all`](GuardKind::install_all) does anything.
    pub(super) fn comes_in_batches(self) -> bool {
        self == GuardKind::Madvise && map::many_at_once()
    }
}

impl fmt::Display for GuardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

pub(super) const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Whether the advice is taken, has its effect, and keeps it when the memory around it is given back.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn advice_works() -> bool {
    let bytes = 2 * page_size();
    let Ok(start) = map::reserve(bytes) else {
        return false;
    };
    let is_guard = || cannot_be_read(start);
    // Pages of our own.
    let works = syscall!(madvise(start.as_ptr().cast(), bytes, MADV_GUARD_INSTALL)).is_ok()
        && is_guard()
        && syscall!(madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED)).is_ok()
        && is_guard();
    // SAFETY: mapped above, and known to nobody else.
    drop(unsafe { map::release(start, bytes) });
    works
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn advice_works() -> bool {
    false
}

/// Whether the kernel faults where it reads there: without a guard the page is an empty path, which does not exist.
#[cfg(any(target_os = "linux", target_os = "android", test))]
pub(super) fn cannot_be_read(page: NonNull<u8>) -> bool {
    // The kernel answers for whatever the pointer is; a page of zeroes ends with its first byte.
    syscall!(access(page.as_ptr().cast_const().cast(), libc::F_OK))
        .is_err_and(|error| error.raw_os_error() == Some(libc::EFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `f` with each kind that this system has, and a mapping of three pages of which the middle one is a guard.
    fn each(f: impl Fn(GuardKind, NonNull<u8>)) {
        let mut kinds = vec![GuardKind::Mprotect];
        if advice_works() {
            kinds.push(GuardKind::Madvise);
        } else {
            assert!(
                std::env::var_os("KAPOK_REQUIRE_GUARDS").is_none_or(|value| value != "1"),
                "MADV_GUARD_INSTALL does not work, and KAPOK_REQUIRE_GUARDS=1"
            );
        }
        for kind in kinds {
            let base = map::reserve(3 * page_size()).unwrap();
            let guard = page(base, 1);
            // SAFETY: a page of a mapping that is ours.
            unsafe { kind.install(guard) }.unwrap();
            f(kind, base);
            // SAFETY: mapped above.
            unsafe { map::release(base, 3 * page_size()) }.unwrap();
        }
    }

    fn page(base: NonNull<u8>, index: usize) -> NonNull<u8> {
        // SAFETY: within the mapping of three pages.
        unsafe { base.add(index * page_size()) }
    }

    #[test]
    fn it_is_that_page_and_no_other() {
        each(|kind, base| {
            assert!(cannot_be_read(page(base, 1)), "{kind}");
            // SAFETY: the last byte of the guard.
            let last = unsafe { page(base, 2).sub(1) };
            assert!(cannot_be_read(last), "{kind}");
            for byte in [base, page(base, 2)] {
                // SAFETY: writable pages of ours.
                unsafe { byte.write(7) };
                // SAFETY: as above.
                assert_eq!(unsafe { byte.read() }, 7);
            }
        });
    }

    /// Where the kernel takes several at once, it is those pages and no others.
    #[test]
    fn several_at_once_are_those_pages() {
        let page = |base, index| {
            // SAFETY: within the mapping of four pages.
            unsafe { NonNull::<u8>::add(base, index * page_size()) }
        };
        let base = map::reserve(4 * page_size()).unwrap();
        let pages = [(page(base, 0), page_size()), (page(base, 2), page_size())];
        // SAFETY: pages of ours.
        let count = unsafe { GuardKind::Madvise.install_all(&pages) };
        assert_eq!(count, if GuardKind::Madvise.comes_in_batches() { 2 } else { 0 });
        for index in 0..4 {
            let is_guard = index % 2 == 0 && count > 0;
            assert_eq!(cannot_be_read(page(base, index)), is_guard, "{index}");
        }
        // SAFETY: nothing of it is needed.
        unsafe { map::empty_all(&[(base, 2 * page_size()), (page(base, 2), 2 * page_size())]) };
        assert_eq!(cannot_be_read(page(base, 2)), count > 0, "it stays");
        // SAFETY: as above.
        assert_eq!(unsafe { GuardKind::Mprotect.install_all(&pages) }, 0);
        // SAFETY: mapped above.
        unsafe { map::release(base, 4 * page_size()) }.unwrap();
    }

    #[test]
    fn it_stays_when_the_memory_around_it_is_given_back() {
        each(|kind, base| {
            // SAFETY: a writable page of ours.
            unsafe { page(base, 2).write(7) };
            for _ in 0..2 {
                // SAFETY: nothing of it is needed.
                unsafe { map::empty(base, 3 * page_size()) };
                assert!(cannot_be_read(page(base, 1)), "{kind}");
            }
            // SAFETY: a writable page of ours.
            unsafe { page(base, 2).write(7) };
        });
    }

    #[test]
    fn a_child_process_has_it_too() {
        let _forking = crate::sys::forks::forking();
        each(|kind, base| {
            // SAFETY: the child makes system calls alone.
            let child = unsafe { libc::fork() };
            assert_ne!(child, -1);
            if child == 0 {
                let works = cannot_be_read(page(base, 1)) && !cannot_be_read(page(base, 2));
                // SAFETY: ends the child.
                unsafe { libc::_exit(i32::from(!works)) };
            }
            let mut status = 0;
            // SAFETY: our child, and a place for its status.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "{kind}");
        });
    }

    /// The advice is refused on such memory.
    #[test]
    fn locked_memory_gets_one_of_the_other_kind() {
        each(|kind, _| {
            let base = map::reserve(3 * page_size()).unwrap();
            // Three pages of ours; a process may always lock a little.
            syscall!(mlock(base.as_ptr().cast(), 3 * page_size())).unwrap();
            // SAFETY: a page of ours.
            unsafe { kind.install(page(base, 1)) }.unwrap();
            assert!(cannot_be_read(page(base, 1)), "{kind}");
            // SAFETY: mapped above.
            unsafe { map::release(base, 3 * page_size()) }.unwrap();
        });
    }

    #[test]
    fn name_that_is_none_is_refused() {
        let (kind, text) = GuardKind::named("none").unwrap_err();
        assert_eq!(kind, io::ErrorKind::InvalidInput);
        assert!(text.contains("madvise") && text.contains("mprotect"), "{text}");
        assert_eq!(GuardKind::named("mprotect"), Ok(GuardKind::Mprotect));
    }

    #[test]
    fn page_without_a_guard_can_be_read() {
        let page = map::reserve(page_size()).unwrap();
        assert!(!cannot_be_read(page));
        // SAFETY: just mapped.
        unsafe { map::release(page, page_size()) }.unwrap();
    }
}
