//! Control blocks: what the scheduler knows of a fiber, kept densely on the heap.
//!
//! The saved context lies here and not on the fiber's stack: reading "who is next" from a cold stack costs several times
//! as much as from a dense slab (docs/performance.md).

use std::cell::Cell;
use std::ops::Range;
use std::ptr::{self, NonNull};

use super::cancel::Cancellation;
use super::task::{TaskRef, Who};
use crate::context::Handle;
use crate::stack::{Room, Stack};

/// What the scheduler knows of one fiber.
///
/// What a switch needs comes first, and a block begins where a cache line does: to resume a fiber takes one line of it.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct ControlBlock {
    /// Where it is suspended. `None` while it runs and before it has a stack.
    pub(super) context: Cell<Option<Handle>>,
    pub(super) who: Cell<Who>,
    /// It was suspended where it is likely to be again before it does much else.
    pub(super) is_shallow: Cell<bool>,
    pub(super) cancellation: Cancellation,
    // ---- for its beginning and its end ----
    /// What it does. `None` in a block that is free.
    pub(super) task: Cell<Option<TaskRef>>,
    /// What it runs on. Before it has started `None`, or what was taken for it, which it need not be given.
    pub(super) stack: Cell<Option<Stack>>,
    /// The size of the stack that it is to have.
    pub(super) stack_size: Cell<usize>,
    pub(super) kept: Kept,
}

/// What the layer of fiber-locals keeps with a fiber. The scheduler makes both null for a new one, and knows no more of them.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) locals: Cell<*const ()>,
    pub(crate) inherited: Cell<*const ()>,
}

impl Default for Kept {
    fn default() -> Self {
        Kept {
            locals: Cell::new(ptr::null()),
            inherited: Cell::new(ptr::null()),
        }
    }
}

/// A fiber of this worker.
///
/// # Invariant
/// Points into the slab of a worker that lives; between `Slab::insert` and `Slab::remove` the block belongs to the fiber.
/// Only the worker's own thread looks behind it; to other threads it is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FiberRef(NonNull<ControlBlock>);

impl FiberRef {
    pub(super) fn block(&self) -> &ControlBlock {
        // SAFETY: the invariant: a live slab never moves its chunks, and frees none that has the block of a fiber.
        unsafe { self.0.as_ref() }
    }

    /// What it does; `None` when it has ended.
    pub(super) fn task(self) -> Option<TaskRef> {
        let slot = &self.block().task;
        let task = slot.take();
        slot.set(task.clone());
        task
    }

    /// The addresses that frames on its stack have.
    pub(super) fn addresses(self) -> Option<Range<usize>> {
        let slot = &self.block().stack;
        let stack = slot.take();
        let addresses = stack.as_ref().map(Stack::addresses);
        slot.set(stack);
        addresses
    }

    /// Whether something with this address lies on its own stack.
    pub(crate) fn has_on_its_stack(self, address: usize) -> bool {
        self.addresses().is_some_and(|addresses| addresses.contains(&address))
    }

    /// For carrying it through an operation's `user` word.
    pub(crate) fn as_ptr(self) -> *const () {
        self.0.as_ptr().cast_const().cast()
    }

    /// # Safety
    /// `ptr` came from [`as_ptr`](FiberRef::as_ptr) of a fiber that has not ended.
    pub(super) unsafe fn from_ptr(ptr: *const ()) -> FiberRef {
        // SAFETY: it came from a NonNull.
        FiberRef(unsafe { NonNull::new_unchecked(ptr.cast_mut().cast()) })
    }
}

const CHUNK: usize = 128;

/// Control blocks with stable addresses, reused last in, first out.
#[derive(Default)]
pub(super) struct Slab {
    chunks: Vec<Box<[ControlBlock]>>,
    free: Vec<FiberRef>,
}

impl Slab {
    pub(super) fn insert(&mut self, task: TaskRef, room: Room) -> FiberRef {
        let fiber = match self.free.pop() {
            Some(fiber) => fiber,
            None => self.grow(),
        };
        let block = fiber.block();
        block.who.set(task.who());
        block.task.set(Some(task));
        block.stack_size.set(room.size());
        block.stack.set(room.into_stack());
        block.kept.locals.set(ptr::null());
        block.kept.inherited.set(ptr::null());
        fiber
    }

    fn grow(&mut self) -> FiberRef {
        // Collected on the heap: an array would first lie on the stack, and that may be a fiber's, and small.
        let chunk: Box<[ControlBlock]> = (0..CHUNK).map(|_| ControlBlock::default()).collect();
        self.chunks.push(chunk);
        let chunk = self.chunks.last().expect("just pushed");
        // The first block last, so that it is handed out first.
        self.free
            .extend(chunk.iter().rev().map(|block| FiberRef(NonNull::from(block))));
        self.free.pop().expect("a chunk is not empty")
    }

    /// All of them, in use or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = FiberRef> {
        let blocks = self.chunks.iter().flat_map(|chunk| chunk.iter());
        blocks.map(|block| FiberRef(NonNull::from(block)))
    }

    /// Frees chunks that no fiber has a block in, where most blocks are free: after a burst.
    pub(super) fn trim(&mut self) {
        const KEPT: usize = 64;
        if self.chunks.len() <= KEPT || self.free.len() < self.chunks.len() * CHUNK * 3 / 4 {
            return;
        }
        self.chunks.sort_unstable_by_key(|chunk| chunk.as_ptr().addr());
        let begins: Vec<usize> = self.chunks.iter().map(|chunk| chunk.as_ptr().addr()).collect();
        let chunk_of = |fiber: &FiberRef| begins.partition_point(|begin| *begin <= fiber.0.addr().get()) - 1;
        let mut in_use = vec![CHUNK; begins.len()];
        self.free.iter().for_each(|fiber| in_use[chunk_of(fiber)] -= 1);
        self.free.retain(|fiber| in_use[chunk_of(fiber)] > 0);
        self.free.shrink_to_fit();
        let mut in_use = in_use.iter();
        self.chunks.retain(|_| in_use.next().is_some_and(|count| *count > 0));
        self.chunks.shrink_to_fit();
    }

    /// Takes back the block of a fiber that has ended.
    pub(super) fn remove(&mut self, fiber: FiberRef) {
        debug_assert!(fiber.block().context.take().is_none() && fiber.block().stack.take().is_none());
        self.free.push(fiber);
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::io;

    use super::super::cancel::Life;
    use super::super::task::{Task, Who};
    use super::*;
    use crate::pool_arc::{Block, PoolArc};
    use crate::stack::Description;

    struct Nothing(Life);

    impl Task for Nothing {
        fn run(&self) {}

        fn cancel(&self) {}

        fn fail(&self, _: io::Error) {}

        fn life(&self) -> &Life {
            &self.0
        }

        fn who(&self) -> Who {
            Who::default()
        }

        fn has_ended(&self) -> bool {
            true
        }

        fn describe(&self) -> Description<'_> {
            Description {
                name: None,
                id: 0,
                spawned_at: None,
            }
        }

        fn identity(&self) -> &dyn Any {
            &()
        }
    }

    fn nothing() -> TaskRef {
        let (task, _) = PoolArc::new_pair(|| Nothing(Life::new()));
        // SAFETY: the same pointer.
        unsafe { task.unsize(|block| block as *mut Block<dyn Task>) }
    }

    #[test]
    fn trimming_frees_what_nobody_uses_and_nothing_else() {
        let mut slab = Slab::default();
        let mut insert = |size| slab.insert(nothing(), Room::OfSize(size));
        let fibers: Vec<FiberRef> = (0..100 * CHUNK).map(&mut insert).collect();
        let mut kept = Vec::new();
        for (index, fiber) in fibers.into_iter().enumerate() {
            if index % 1_000 == 0 {
                kept.push((index, fiber));
            } else {
                drop(fiber.block().task.take());
                slab.remove(fiber);
            }
        }
        slab.trim();
        assert!(slab.chunks.len() <= kept.len(), "{} chunks", slab.chunks.len());
        for (size, fiber) in &kept {
            assert_eq!(fiber.block().stack_size.get(), *size);
        }
        // All that is free can be had again, and is nobody else's.
        let rest = slab.chunks.len() * CHUNK - kept.len();
        assert_eq!(slab.free.len(), rest);
        for _ in 0..rest {
            let fiber = slab.insert(nothing(), Room::OfSize(0));
            assert!(kept.iter().all(|(_, other)| *other != fiber));
        }
        assert!(slab.free.is_empty());
        slab.trim();
        assert_eq!(slab.iter().count(), rest + kept.len());
    }
}
