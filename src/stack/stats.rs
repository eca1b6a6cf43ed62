//! What stacks take.

use std::io;

use super::guard::GuardKind;
use super::{depot, pool};
use crate::sys::page_size;

/// What the stacks of the process take, all runtimes and coroutines together. See [`stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How guards are made; `None` where the one that `KAPOK_STACK_GUARD` asks for cannot be had.
    pub guard: Option<GuardKind>,
    /// Bytes of address space.
    pub reserved: usize,
    /// In how many mappings that was asked for. Guards by `mprotect` take two more for each stack that was ever used.
    pub slabs: usize,
    /// Stacks of fibers and coroutines.
    pub in_use: usize,
    /// Stacks that lie idle and have memory: at hand for the next fiber.
    pub pooled: usize,
    /// Stacks that lie idle, with a guard and no memory.
    pub trimmed: usize,
}

/// What the stacks of the process take. The figures are from about the same moment.
///
/// ```
/// kapok::run(|| {
///     let stats = kapok::stack::stats();
///     assert!(stats.in_use >= 1 && stats.reserved >= kapok::stack::DEFAULT_SIZE);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn stats() -> Stats {
    let figures = depot::figures();
    // In the pools of workers they are in use, as far as the depot knows.
    let with_workers = pool::pooled().min(figures.live);
    Stats {
        guard: GuardKind::chosen().ok(),
        reserved: figures.reserved,
        slabs: figures.slabs,
        in_use: figures.live - with_workers,
        pooled: figures.used + with_workers,
        trimmed: figures.clean,
    }
}

/// How many bytes of memory lie behind the stacks of the process, those included that are idle.
///
/// It asks the kernel about each page, by [`mincore(2)`](https://man7.org/linux/man-pages/man2/mincore.2.html), while nobody can take a
/// stack or give one back: about a millisecond for 10,000 stacks of the default size.
///
/// # Errors
/// What that call says; `Unsupported` on OpenBSD, which does not tell.
pub fn resident() -> io::Result<usize> {
    /// Pages to ask about at a time: less than a 32-bit address space, where a page has 64 KiB too.
    const CHUNK: usize = 1 << 14;
    let mut pages = vec![0_u8; CHUNK];
    let mut count = 0;
    depot::each_mapping(|base, bytes| {
        for offset in (0..bytes).step_by(CHUNK * page_size()) {
            let len = (bytes - offset).min(CHUNK * page_size());
            let start = base.as_ptr().wrapping_add(offset);
            ask_kernel(start, len, &mut pages)?;
            count += pages[..len / page_size()].iter().filter(|page| **page & 1 == 1).count();
        }
        Ok(())
    })?;
    Ok(count * page_size())
}

/// Says of each page of a mapping whether it is in memory, in its byte of `pages`.
#[cfg(not(target_os = "openbsd"))]
pub(super) fn ask_kernel(start: *mut u8, len: usize, pages: &mut [u8]) -> io::Result<()> {
    assert!(len <= pages.len() * page_size());
    // There is a byte for each page, and nobody unmaps them meanwhile; if somebody did, the call would fail.
    crate::sys::syscall!(mincore(start.cast(), len, pages.as_mut_ptr().cast())).map(drop)
}

#[cfg(target_os = "openbsd")]
pub(super) fn ask_kernel(_: *mut u8, _: usize, _: &mut [u8]) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "OpenBSD does not tell what of a mapping is in memory",
    ))
}
