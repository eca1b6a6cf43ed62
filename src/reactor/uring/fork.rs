//! How a ring finds out that it is in a child process.
//!
//! After `fork` parent and child share the ring's memory and its descriptor: what the child queues, the parent's kernel side
//! would do with the parent's memory. Asking for the process's id is a system call each time; a page that the kernel
//! empties for the child is a load.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::sys::{explain, page_size, syscall};

/// A page with a mark that only the process that made it can see.
///
/// # Invariant
/// `page` begins a readable and writable mapping of one page, which belongs to this value.
#[derive(Debug)]
pub(super) struct ForkGuard {
    page: NonNull<AtomicU8>,
}

impl ForkGuard {
    pub(super) fn new() -> io::Result<ForkGuard> {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), page_size(), prot, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(explain("mmap of a page", &io::Error::last_os_error()));
        }
        let guard = ForkGuard {
            page: NonNull::new(page.cast()).expect("mmap never answers NULL without MAP_FIXED"),
        };
        // `page` begins a mapping of one page.
        syscall!(madvise(page, page_size(), libc::MADV_WIPEONFORK)).map_err(|error| {
            let advice = match error.raw_os_error() {
                Some(libc::EINVAL) => "; Linux 4.14 or newer has it",
                _ => "",
            };
            io::Error::new(error.kind(), format!("madvise(MADV_WIPEONFORK): {error}{advice}"))
        })?;
        guard.mark().store(1, Ordering::Relaxed);
        Ok(guard)
    }

    fn mark(&self) -> &AtomicU8 {
        // SAFETY: mapped, and zeroes are a valid AtomicU8, by the invariant.
        unsafe { self.page.as_ref() }
    }

    /// True in a child of the process that made this.
    #[inline]
    pub(super) fn is_forked(&self) -> bool {
        self.mark().load(Ordering::Relaxed) == 0
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        // SAFETY: our own mapping, by the invariant; nobody refers to it any more.
        unsafe { libc::munmap(self.page.as_ptr().cast(), page_size()) };
    }
}
