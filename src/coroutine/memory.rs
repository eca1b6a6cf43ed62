//! What a coroutine runs on: a stack of the library's, or memory of the caller's.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use crate::context::{Engine, Entry, Handle};
use crate::sched::{FiberRef, Worker};
use crate::stack::{MIN_SIZE, Stack};

/// Memory that a program supplies for a coroutine's stack: a static area, huge pages, what an allocator of its own has made.
///
/// ```
/// use kapok::Engine;
/// use kapok::coroutine::{Coroutine, CoroutineState, StackMemory, Yielder};
/// use std::ptr::NonNull;
///
/// /// Memory of the heap; large enough for what is to run on it, which nobody checks.
/// struct OnHeap(NonNull<[u8]>);
///
/// // SAFETY: leaked for the value, and given back by it.
/// unsafe impl StackMemory for OnHeap {
///     fn memory(&self) -> NonNull<[u8]> {
///         self.0
///     }
/// }
///
/// impl Drop for OnHeap {
///     fn drop(&mut self) {
///         // SAFETY: it came from a box.
///         drop(unsafe { Box::from_raw(self.0.as_ptr()) });
///     }
/// }
///
/// let memory = OnHeap(NonNull::from(Box::leak(vec![0_u8; 64 * 1024].into_boxed_slice())));
/// let mut coroutine = Coroutine::on_memory(Engine::default(), memory, |_: &Yielder<u32, ()>, n| n + 1)?;
/// assert_eq!(coroutine.resume(1), CoroutineState::Complete(2));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Safety
/// What [`memory`](StackMemory::memory) gives is readable and writable, the same each time, and used by nobody else, until the
/// value is dropped, wherever it is moved. All that runs on it fits: there is no guard below it, unless the program has made
/// one. It does not lie on the stack of a fiber: [`stack::shrink`](crate::stack::shrink()) would empty what is below the
/// coroutine's frames, and frames of the fiber are.
pub unsafe trait StackMemory: 'static {
    /// Where it lies. The stack grows down from its high end.
    fn memory(&self) -> NonNull<[u8]>;
}

pub(super) enum Memory {
    Ours(Stack),
    Theirs(Box<dyn StackMemory>),
}

impl Memory {
    /// A context that begins with `entry`, and the addresses that its frames will have.
    ///
    /// # Errors
    /// Where it is too small, or lies on the running fiber's stack.
    ///
    /// # Safety
    /// The memory stays for as long as the context has frames on it, and holds no other context.
    pub(super) unsafe fn begin(&self, engine: Engine, entry: Entry) -> io::Result<(Handle, Range<usize>)> {
        match self {
            // SAFETY: the caller's promise.
            Memory::Ours(stack) => Ok((unsafe { engine.make(stack, entry)? }, stack.addresses())),
            Memory::Theirs(memory) => {
                let memory = memory.memory();
                if memory.len() < MIN_SIZE {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        format!("a stack of {} bytes is smaller than {MIN_SIZE}", memory.len()),
                    ));
                }
                const LINE: usize = 64;
                let low: NonNull<u8> = memory.cast();
                let on_fiber = |(_, fiber): (&Worker, FiberRef)| fiber.has_on_its_stack(low.addr().get());
                if Worker::with_running(|here| here.is_some_and(on_fiber)) {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "the memory for a coroutine lies on the stack of the fiber",
                    ));
                }
                let usable = memory.len() - (low.addr().get() + memory.len()) % LINE;
                // SAFETY: within the memory, or one past it.
                let high = unsafe { low.add(usable) };
                // SAFETY: the caller's promise, and that of `StackMemory`.
                let handle = unsafe { engine.make_below(high, usable, entry)? };
                Ok((handle, low.addr().get()..high.addr().get()))
            }
        }
    }
}
