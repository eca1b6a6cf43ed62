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
