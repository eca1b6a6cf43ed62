//! Control blocks: what the scheduler knows of a fiber, kept densely on the heap.
//!
//! The saved context lies here and not on the fiber's stack: reading "who is next" from a cold stack costs several times
//! as much as from a dense slab (docs/performance.md).

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::cancel::Cancellation;
use super::task::{Task, Who};
use crate::context::Handle;
use crate::stack::Stack;

/// What the scheduler knows of one fiber.
#[derive(Default)]
pub(super) struct ControlBlock {
    /// Where it is suspended. `None` while it runs and before it has a stack.
    pub(super) context: Cell<Option<Handle>>,
    /// What it does. `None` in a block that is free.
    pub(super) task: Cell<Option<Arc<dyn Task>>>,
    /// What it runs on. `None` before it has started.
    pub(super) stack: Cell<Option<Stack>>,
    /// The size of the stack that it is to have.
    pub(super) stack_size: Cell<usize>,
    pub(super) who: Cell<Who>,
    pub(super) kept: Kept,
    pub(super) cancellation: Cancellation,
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
        // SAFETY: the invariant: a live slab never moves or frees its chunks.
        unsafe { self.0.as_ref() }
    }

    /// What it does; `None` when it has ended.
    pub(super) fn task(self) -> Option<Arc<dyn Task>> {
        let slot = &self.block().task;
        let task = slot.take();
        slot.set(task.clone());
        task
    }

    /// Whether something with this address lies on its own stack.
    pub(super) fn has_on_its_stack(self, address: usize) -> bool {
        let slot = &self.block().stack;
        let stack = slot.take();
        let has = stack.as_ref().is_some_and(|stack| stack.addresses().contains(&address));
        slot.set(stack);
        has
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
    pub(super) fn insert(&mut self, task: Arc<dyn Task>, stack_size: usize) -> FiberRef {
        let fiber = match self.free.pop() {
            Some(fiber) => fiber,
            None => self.grow(),
        };
        let block = fiber.block();
        block.who.set(task.who());
        block.task.set(Some(task));
        block.stack_size.set(stack_size);
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

    /// Takes back the block of a fiber that has ended.
    pub(super) fn remove(&mut self, fiber: FiberRef) {
        debug_assert!(fiber.block().context.take().is_none() && fiber.block().stack.take().is_none());
        self.free.push(fiber);
    }
}
