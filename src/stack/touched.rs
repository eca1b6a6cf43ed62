//! Which pages of a stack were touched: those that have memory, and those whose memory the kernel has swapped out.

use std::io;
use std::ops::Range;
use std::ptr;

use crate::sys::page_size;

/// Pages to ask about at a time. What is asked here lies on the stack that is looked at, and is to stay within the margin of what is
/// looked at.
const CHUNK: usize = 32;

/// The lowest page that was touched, or the end.
pub(super) fn lowest_touched(pages: &Range<usize>) -> usize {
    let found = in_pagemap(pages).or_else(|_| in_memory(pages));
    // Not to be told: as if all of it was used.
    found.unwrap_or(pages.start)
}

/// As the kernel's table says, which few systems have.
fn in_pagemap(pages: &Range<usize>) -> io::Result<usize> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

        use crate::sys::syscall;

        // std would take room on the stack for the path.
        let file = syscall!(open(c"/proc/self/pagemap".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC))?;
        // SAFETY: a new descriptor.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        let mut entries = [0_u64; CHUNK];
        for start in pages.clone().step_by(CHUNK * page_size()) {
            let count = ((pages.end - start) / page_size()).min(CHUNK);
            let bytes = count * size_of::<u64>();
            let offset = start / page_size() * size_of::<u64>();
            let offset = libc::off64_t::try_from(offset).map_err(io::Error::other)?;
            // As many bytes are there.
            let read = syscall!(pread64(file.as_raw_fd(), entries.as_mut_ptr().cast(), bytes, offset))?;
            if usize::try_from(read).ok() != Some(bytes) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(index) = entries[..count].iter().position(|entry| has_memory(*entry)) {
                return Ok(start + index * page_size());
            }
        }
        Ok(pages.end)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        _ = pages;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Whether an entry of the table says that a page is present, or swapped out.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn has_memory(entry: u64) -> bool {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    entry & (PRESENT | SWAPPED) != 0
}

/// Of those that are in memory.
fn in_memory(pages: &Range<usize>) -> io::Result<usize> {
    let mut resident = [0_u8; CHUNK];
    for start in pages.clone().step_by(CHUNK * page_size()) {
        let len = (pages.end - start).min(CHUNK * page_size());
        super::stats::ask_kernel(ptr::with_exposed_provenance_mut(start), len, &mut resident)?;
        let first = resident[..len / page_size()].iter().position(|page| page & 1 == 1);
        if let Some(index) = first {
            return Ok(start + index * page_size());
        }
    }
    Ok(pages.end)
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::io::Write;

    use super::super::map;
    use super::*;

    /// Whether the kernel's table has its entries in the bytes' order of this machine. An emulator hands on the host's.
    fn is_table_ours() -> bool {
        let emulated =
            cfg!(target_endian = "big") && std::env::var_os("KAPOK_EMULATED").is_some_and(|value| value == "1");
        if emulated {
            let line = b"SKIP the emulator lacks a /proc/self/pagemap of this machine\n";
            // Past the harness, so that it is seen.
            io::stderr().write_all(line).unwrap();
        }
        !emulated
    }

    #[test]
    fn both_ways_find_the_lowest_page() {
        const COUNT: usize = 100;
        let base = map::reserve(COUNT * page_size()).unwrap();
        let start = base.addr().get();
        let pages = start..start + COUNT * page_size();
        let is_table_ours = is_table_ours();
        assert!(!is_table_ours || in_pagemap(&pages).unwrap() == pages.end);
        assert_eq!(in_memory(&pages).unwrap(), pages.end);
        for touched in [COUNT - 1, CHUNK, CHUNK - 1, 0] {
            // SAFETY: within the mapping.
            let page = unsafe { base.add(touched * page_size()) };
            // SAFETY: ours, and it can be written.
            unsafe { page.write(1) };
            let lowest = start + touched * page_size();
            assert_eq!(in_memory(&pages).unwrap(), lowest);
            if is_table_ours {
                assert_eq!(in_pagemap(&pages).unwrap(), lowest);
                assert_eq!(lowest_touched(&pages), lowest);
            }
        }
        // SAFETY: mapped above.
        unsafe { map::release(base, COUNT * page_size()) }.unwrap();
    }

    #[test]
    fn what_is_swapped_out_was_touched() {
        assert!(has_memory(1 << 63) && has_memory(1 << 62) && has_memory(1 << 62 | 0x1234));
        // Not touched, and a file's, soft-dirty or a guard, which say nothing of it.
        assert!(!has_memory(0) && !has_memory(1 << 61 | 1 << 58 | 1 << 55));
    }
}
