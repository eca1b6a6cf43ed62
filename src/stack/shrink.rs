//! What a fiber has used of its stack and does not use now goes back to the system while it waits.

use std::hint::black_box;
use std::ops::Range;
use std::ptr::NonNull;

use super::map;
use crate::sched::Worker;
use crate::sys::page_size;

/// Gives memory of the running fiber's stack back: that of the pages below the caller's frame.
///
/// A stack keeps the memory of the deepest call that it has seen, until its fiber ends. A fiber that is about to wait for long,
/// and has many like it, calls this before: what the calls to come touch again is one fault and a page of zeroes each. It is one system call,
/// [`madvise(2)`](https://man7.org/linux/man-pages/man2/madvise.2.html), and so nothing for every wait: a server calls it when a connection
/// has been idle for a second, say.
///
/// It does nothing outside of a fiber, in a coroutine (whose memory must not lie on the fiber's stack, see
/// [`StackMemory`](crate::coroutine::StackMemory)), while the thread is panicking, and where stacks are measured (see
/// [`usage`](super::usage())).
///
/// ```
/// use std::time::Duration;
///
/// kapok::run(|| {
///     let sessions: Vec<_> = (0..10)
///         .map(|_| {
///             kapok::spawn(|| {
///                 println!("hello"); // deep calls
///                 kapok::stack::shrink();
///                 kapok::fiber::sleep(Duration::from_millis(10));
///             })
///         })
///         .collect();
///     sessions.into_iter().for_each(|session| session.join().unwrap());
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn shrink() {
    Worker::shrink_stack();
}

/// What the frames of what is called here may have below the first of them, a signal's red zone included.
const MARGIN: usize = if cfg!(debug_assertions) { 2048 } else { 1024 };

/// Gives back the pages of a stack, of which frames have these addresses, that lie below the caller's frame, if that is one of
/// its own.
#[inline(never)]
pub(crate) fn shrink_here(addresses: Range<usize>) {
    let here = 0_u64;
    let here = (&raw const *black_box(&here)).addr();
    let low = addresses.start;
    // In a coroutine, or where the compiler keeps variables elsewhere, as AddressSanitizer may, it is not.
    if !addresses.contains(&here) {
        return;
    }
    let edge = here.saturating_sub(MARGIN) & !(page_size() - 1);
    if let Some(base) = NonNull::new(std::ptr::with_exposed_provenance_mut(low)).filter(|_| edge > low) {
        // SAFETY: below the frames that are in use; the margin is for this function's.
        unsafe { map::empty(base, edge - low) };
    }
}
