//! Address space for stacks: taken, given back, and emptied.

use std::io;
use std::ptr::{self, NonNull};

use crate::sys::syscall;

/// Maps `bytes` that take no memory before they are touched, and then no more than a page for each page that is touched.
pub(super) fn reserve(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON | MAP_NORESERVE | MAP_STACK;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let base = unsafe { libc::mmap(ptr::null_mut(), bytes, prot, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // With huge pages the first touch of a stack would take 2 MiB, and so bring neighbours' memory along. A kernel that
    // has none refuses the advice.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    drop(syscall!(madvise(base, bytes, libc::MADV_NOHUGEPAGE)));
    Ok(NonNull::new(base.cast()).expect("mmap never answers NULL without MAP_FIXED"))
}

/// Gives the addresses back. May fail for want of mappings, where it cuts one in two; nothing has happened then.
///
/// # Safety
/// They came from [`reserve`], and nobody uses them any more.
pub(super) unsafe fn release(base: NonNull<u8>, bytes: usize) -> io::Result<()> {
    // The caller's promise.
    syscall!(munmap(base.as_ptr().cast(), bytes)).map(drop)
}

/// Gives the memory behind these addresses back to the system. A hint: what is locked stays, and then it is false.
///
/// # Safety
/// They came from [`reserve`], and nobody needs what lies there.
pub(super) unsafe fn empty(base: NonNull<u8>, bytes: usize) -> bool {
    // On Linux MADV_FREE would leave the pages counted as the process's own until memory is short.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const ADVICE: libc::c_int = libc::MADV_DONTNEED;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const ADVICE: libc::c_int = libc::MADV_FREE;
    // The caller's promise.
    syscall!(madvise(base.as_ptr().cast(), bytes, ADVICE)).is_ok()
}

/// Gives back the memory behind many ranges, as [`empty`] does, with few calls.
///
/// # Safety
/// As of [`empty`]; a range may hold guards, which stay.
pub(super) unsafe fn empty_all(ranges: &[(NonNull<u8>, usize)]) {
    let done = if ranges.len() > 1 && many_at_once() {
        // SAFETY: the caller's promise.
        unsafe { advise_all(ranges, libc::MADV_DONTNEED) }
    } else {
        0
    };
    for (base, bytes) in ranges.iter().skip(done) {
        // SAFETY: the caller's promise.
        unsafe { empty(*base, *bytes) };
    }
}

/// Has memory for these pages taken now, where a call for many is to be had: that is cheaper than a fault for each. A hint.
///
/// # Safety
/// They can be written, and are the caller's.
pub(super) unsafe fn populate_all(pages: &[(NonNull<u8>, usize)]) {
    const MADV_POPULATE_WRITE: libc::c_int = 23;
    if many_at_once() {
        // SAFETY: it changes nothing of what can be read there.
        unsafe { advise_all(pages, MADV_POPULATE_WRITE) };
    }
}

/// Gives the same advice for many ranges with one call, where [`many_at_once`]. To how many of them, from the first one on, it was
/// given; a process may advise itself.
///
/// # Safety
/// As of that advice for each of them.
#[cfg(target_os = "linux")]
pub(super) unsafe fn advise_all(ranges: &[(NonNull<u8>, usize)], advice: libc::c_int) -> usize {
    /// This process, without a descriptor: since Linux 6.14.
    const PIDFD_SELF: libc::c_int = -10_000;
    /// The kernel takes no more at a time.
    const MOST: usize = 1024;
    let mut done = 0;
    for chunk in ranges.chunks(MOST) {
        let vector: Vec<libc::iovec> = chunk
            .iter()
            .map(|(base, bytes)| libc::iovec {
                iov_base: base.as_ptr().cast(),
                iov_len: *bytes,
            })
            .collect();
        let (call, start, len) = (libc::SYS_process_madvise, vector.as_ptr(), vector.len());
        // SAFETY: a vector of that length, and the caller's promise.
        let advised = unsafe { libc::syscall(call, PIDFD_SELF, start, len, advice, 0) };
        let mut advised = usize::try_from(advised).unwrap_or(0);
        for (_, bytes) in chunk {
            let Some(rest) = advised.checked_sub(*bytes) else {
                return done;
            };
            advised = rest;
            done += 1;
        }
    }
    done
}

/// Whether the kernel takes advice for many ranges at once, and acts on it: found out by the effect, as in `guard`.
#[cfg(target_os = "linux")]
pub(super) fn many_at_once() -> bool {
    use std::sync::OnceLock;

    use super::guard::{MADV_GUARD_INSTALL, cannot_be_read};
    use crate::sys::page_size;

    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let bytes = 3 * page_size();
        let Ok(start) = reserve(bytes) else {
            return false;
        };
        // SAFETY: within the mapping.
        let [second, third] = [1, 2].map(|index| unsafe { start.add(index * page_size()) });
        let ends = [(start, page_size()), (third, page_size())];
        // SAFETY: pages of our own.
        let works = unsafe { advise_all(&ends, MADV_GUARD_INSTALL) } == ends.len()
            && cannot_be_read(start)
            && !cannot_be_read(second)
            && cannot_be_read(third);
        // SAFETY: mapped above, and known to nobody else.
        drop(unsafe { release(start, bytes) });
        works
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn advise_all(_: &[(NonNull<u8>, usize)], _: libc::c_int) -> usize {
    0
}

#[cfg(not(target_os = "linux"))]
pub(super) fn many_at_once() -> bool {
    false
}

// Not every system has these two; they are hints, and without them a stack is mapped all the same.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "netbsd"))]
const MAP_NORESERVE: libc::c_int = libc::MAP_NORESERVE;
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "netbsd")))]
const MAP_NORESERVE: libc::c_int = 0;
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "openbsd",
    target_os = "netbsd"
))]
const MAP_STACK: libc::c_int = libc::MAP_STACK;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "openbsd",
    target_os = "netbsd"
)))]
const MAP_STACK: libc::c_int = 0; // on FreeBSD it means something else: a mapping that grows
