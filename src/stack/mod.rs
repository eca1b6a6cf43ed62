//! Memory to run on: mappings with a guard page below, and a pool that hands them out again.
//!
//! ```text
//!   low                                                                     high
//!   +-------------+---------------------------------------------------------+
//!   | guard page  |  not touched yet: no memory behind it  <- grows | in use |
//!   | PROT_NONE   |                                                         |
//!   +-------------+---------------------------------------------------------+
//!                 ^ usable from here                        initial_sp ^  (staggered)
//! ```
//!
//! The kernel gives a page memory when it is first touched, so a stack costs what it was used, not its size. 256 KiB
//! is the default because it is address space only: large enough for a TLS handshake, a panic with a backtrace and
//! formatted output in a debug build, small enough that 100,000 of them are 25 GiB of 128 TiB.

#![allow(unsafe_code, reason = "maps and unmaps memory")]

mod pool;

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) use pool::Pool;

use crate::sys::{page_size, syscall};

/// The stack of a fiber where nobody asked for another size, in bytes of address space.
pub const DEFAULT_SIZE: usize = 256 * 1024;

/// The smallest stack that a fiber may be given, in bytes: room for the runtime's own frames, a signal handler and a
/// panic that is caught.
pub const MIN_SIZE: usize = 16 * 1024;

/// The largest stack that a fiber may be given, in bytes. What is larger is a slip in the unit.
pub const MAX_SIZE: usize = 1 << 30;

/// Checks a size that a user asked for; the size to map.
///
/// # Errors
/// `InvalidInput`, naming the bounds, where it is outside [`MIN_SIZE`]..=[`MAX_SIZE`].
pub(crate) fn check_size(bytes: usize) -> io::Result<usize> {
    if (MIN_SIZE..=MAX_SIZE).contains(&bytes) {
        Ok(bytes.next_multiple_of(page_size()))
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a fiber's stack of {bytes} bytes: it has to be between {MIN_SIZE} (16 KiB) and {MAX_SIZE} (1 GiB)"
            ),
        ))
    }
}

/// One stack: usable bytes above a guard page.
///
/// # Invariant
/// `base` begins a mapping of `guard + usable` bytes that this value owns; the lowest `guard` bytes cannot be accessed,
/// the rest can be read and written.
#[derive(Debug)]
pub(crate) struct Stack {
    base: NonNull<u8>,
    guard: usize,
    usable: usize,
    /// How far below the high end the first frame begins.
    stagger: usize,
}

/// Stack tops that all lie at the same offset of a page compete for the same few cache sets when many fibers take
/// turns. Each stack begins a few lines lower than the one before. It stays under a quarter of a page, so that a fiber
/// with small frames still touches one page only.
fn next_stagger() -> usize {
    const LINE: usize = 64;
    const STEPS: usize = 16;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) % STEPS * LINE
}

impl Stack {
    /// Maps a stack with at least `bytes` usable (rounded up to pages) and a guard page below them.
    ///
    /// # Errors
    /// What `mmap(2)` and `mprotect(2)` say, with the limit that is the likely cause.
    pub(crate) fn map(bytes: usize) -> io::Result<Stack> {
        let guard = page_size();
        let usable = bytes.next_multiple_of(page_size());
        let total = guard + usable;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | MAP_NORESERVE | MAP_STACK;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), total, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(explain(&io::Error::last_os_error(), total));
        }
        let base = NonNull::new(base.cast()).expect("mmap never answers NULL without MAP_FIXED");
        // From here on `stack` unmaps it on every path. A stack without its guard is never handed out.
        let stack = Stack {
            base,
            guard,
            usable,
            stagger: next_stagger(),
        };
        // `base` begins a mapping of at least `guard` bytes.
        syscall!(mprotect(base.as_ptr().cast(), guard, libc::PROT_NONE)).map_err(|error| explain(&error, total))?;
        Ok(stack)
    }

    /// Where the first frame begins; the stack grows down from here.
    pub(crate) fn initial_sp(&self) -> NonNull<u8> {
        // SAFETY: one past the end of the mapping, or less: within the mapping or one past it.
        unsafe { self.base.add(self.guard + self.usable - self.stagger) }
    }

    /// The bytes between the guard and [`initial_sp`](Stack::initial_sp).
    pub(crate) fn usable_bytes(&self) -> usize {
        self.usable - self.stagger
    }

    /// The addresses that frames on it have.
    pub(crate) fn addresses(&self) -> std::ops::Range<usize> {
        let high = self.initial_sp().addr().get();
        high - self.usable_bytes()..high
    }

    /// The size that it was mapped with, guard not counted: the shelf of the pool that it goes back to.
    pub(crate) fn size(&self) -> usize {
        self.usable
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours (invariant of `Stack`), and whoever drops a stack has made sure that no frame on
        // it will run again.
        let result = unsafe { libc::munmap(self.base.as_ptr().cast(), self.guard + self.usable) };
        let error = io::Error::last_os_error();
        // It may take one mapping more than there may be. Then the addresses are lost, and nothing else; nobody can be told
        // in the middle of a switch.
        debug_assert!(
            result == 0 || error.raw_os_error() == Some(libc::ENOMEM),
            "munmap of a stack: {error}"
        );
    }
}

/// An error of the kernel, with the limit that it usually means.
fn explain(error: &io::Error, bytes: usize) -> io::Error {
    let hint = match error.raw_os_error() {
        Some(libc::ENOMEM) => {
            "; the process is at a limit of its address space (ulimit -v), of mappings (sysctl vm.max_map_count, two \
             for each stack), or of memory"
        }
        Some(libc::EAGAIN) => "; the process has locked its memory (mlockall) beyond RLIMIT_MEMLOCK",
        _ => "",
    };
    io::Error::new(
        error.kind(),
        format!("cannot map a stack of {bytes} bytes: {error}{hint}"),
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_outside_the_bounds_are_refused_with_both_bounds_named() {
        for bytes in [0, 1, MIN_SIZE - 1, MAX_SIZE + 1, usize::MAX] {
            let error = check_size(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(
                text.contains(&MIN_SIZE.to_string()) && text.contains(&MAX_SIZE.to_string()),
                "{text}"
            );
        }
        assert_eq!(check_size(MIN_SIZE).unwrap() % page_size(), 0);
        assert_eq!(check_size(MAX_SIZE).unwrap(), MAX_SIZE);
        assert_eq!(check_size(MIN_SIZE + 1).unwrap() % page_size(), 0);
    }

    #[test]
    fn whole_usable_part_can_be_written() {
        let stack = Stack::map(MIN_SIZE).unwrap();
        let high = stack.initial_sp().as_ptr();
        for offset in (1..=stack.usable_bytes()).step_by(512) {
            // SAFETY: between the guard and the initial stack pointer.
            let byte = unsafe { high.sub(offset) };
            // SAFETY: writable, and nobody else knows this mapping.
            unsafe { byte.write(0xa5) };
        }
        assert!(stack.usable_bytes() <= stack.size() && stack.size() - stack.usable_bytes() < page_size() / 4);
    }

    #[test]
    fn guard_page_cannot_be_read_by_the_kernel_either() {
        let stack = Stack::map(MIN_SIZE).unwrap();
        let (_reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        use std::os::fd::AsRawFd;
        // write(2) from the guard page answers EFAULT and touches nothing.
        let error = syscall!(write(writer.as_raw_fd(), stack.base.as_ptr().cast(), 1)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    }
}
