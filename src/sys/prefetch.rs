//! Asking the processor for memory before it is needed.
//!
//! With a thousand connections nothing of a fiber is in the nearer caches when its turn comes: the kernel's own work on the
//! others has displaced it. But whose turn comes is known a few fibers ahead.

/// What a cache line has on the machines that this is tuned on; elsewhere a good guess.
const LINE: usize = 64;

/// Has the first `bytes` bytes at `address` fetched, from any address, for nothing is read. Does nothing on machines whose
/// instruction for it Rust does not offer.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T, bytes: usize) {
    for line in 0..bytes.div_ceil(LINE) {
        fetch(address.cast::<i8>().wrapping_add(line * LINE));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fetch(line: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint; an address that cannot be read is ignored.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn fetch(line: *const i8) {
    // SAFETY: a hint; an address that cannot be read is ignored.
    unsafe { std::arch::asm!("prfm pldl1keep, [{}]", in(reg) line, options(nostack, preserves_flags)) };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
fn fetch(_line: *const i8) {}
