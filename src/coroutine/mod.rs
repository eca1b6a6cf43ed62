//! Coroutines without a runtime: a function with a stack of its own that gives control back in the middle.
//!
//! The switch engines of the runtime, behind a safe face. A [`Coroutine`] is resumed with a value and answers with one,
//! until it returns. It owns its stack. Dropping one that is suspended unwinds it, so that the destructors of its frames run.
//!
//! ```
//! use kapok::coroutine::{Coroutine, CoroutineState};
//!
//! let mut sums = Coroutine::new(|yielder, first: u32| {
//!     let mut sum = first;
//!     while sum < 10 {
//!         sum += yielder.suspend(sum);
//!     }
//!     sum
//! })?;
//! assert_eq!(sums.resume(4), CoroutineState::Yielded(4));
//! assert_eq!(sums.resume(5), CoroutineState::Yielded(9));
//! assert_eq!(sums.resume(6), CoroutineState::Complete(15));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! As an iterator it is a [`Generator`]. A stack may be memory of the program's own, see [`StackMemory`].
//!
//! A coroutine stays on the thread that made it: what lies on its stack need not be `Send`.
//!
//! ```compile_fail,E0277
//! let coroutine = kapok::coroutine::Coroutine::<(), (), ()>::new(|_, ()| ()).unwrap();
//! std::thread::spawn(move || drop(coroutine)); // a coroutine is not `Send`
//! ```
//!
//! It borrows nothing, so that leaking it is harmless.
//!
//! ```compile_fail,E0373
//! let local = String::new();
//! let coroutine = kapok::coroutine::Coroutine::<(), (), ()>::new(|_, ()| println!("{local}")); // `local` is borrowed
//! ```

#![allow(unsafe_code, reason = "switches stacks")]

mod generator;
mod memory;

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe, Location, resume_unwind};
use std::ptr::{self, NonNull};

use crate::context::{Engine, Handle, Transfer};
use crate::ffi;
use crate::no_suspend;
use crate::stack::{self, Stack};
pub use generator::Generator;
use memory::Memory;
pub use memory::StackMemory;

/// What a coroutine answers when it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoroutineState<Y, R> {
    /// It suspended itself with this value, and can be resumed.
    Yielded(Y),
    /// It returned this value, and is over.
    Complete(R),
}

/// A function on a stack of its own, which takes an `Input` and gives a `Yield` each time it is resumed, and a `Return` at
/// its end.
pub struct Coroutine<Input, Yield, Return> {
    engine: Engine,
    shared: NonNull<Shared<Input, Yield, Return>>,
    /// `None` once it is over; then nothing of it is left to unwind.
    suspended: Option<Handle>,
    /// Given up, mapping and all, where frames are on it that cannot be unwound.
    stack: Option<Memory>,
    _not_send: PhantomData<*mut ()>,
}

/// What a coroutine suspends itself with.
pub struct Yielder<Input, Yield> {
    suspend: NonNull<dyn Fn(Yield) -> Input>,
    _not_send: PhantomData<*mut ()>,
}

type Body<I, Y, R> = Box<dyn FnOnce(&Yielder<I, Y>, I) -> R>;

/// What both sides reach: lies on the heap, owned by the `Coroutine`.
///
/// # Invariant
/// The two sides never run at the same time, so each has it to itself while it runs.
struct Shared<I, Y, R> {
    engine: Engine,
    /// The addresses of its stack.
    stack: Range<usize>,
    body: Cell<Option<Body<I, Y, R>>>,
    input: Cell<Option<I>>,
    /// What makes the input, in the frame of a [`Coroutine::resume_with`] that has not returned.
    on_top: Cell<Option<NonNull<dyn FnMut() -> I>>>,
    output: Cell<Option<Output<Y, R>>>,
    /// Where the side that resumed is suspended.
    resumer: Cell<Option<Handle>>,
    /// In how many `no_suspend` sections that side is.
    sections: Cell<u32>,
}

impl<I, Y, R> Shared<I, Y, R> {
    /// On the coroutine's side, which was just resumed.
    fn take_input(&self) -> I {
        if let Some(mut make) = self.on_top.take() {
            /// Without a resumer nothing switches back: a fiber of a scope in the body may have lent its yielder to `make`.
            struct Kept<'a>(&'a Cell<Option<Handle>>, Option<Handle>);
            impl Drop for Kept<'_> {
                fn drop(&mut self) {
                    self.0.set(self.1.take());
                }
            }
            let _resumer = Kept(&self.resumer, self.resumer.take());
            // SAFETY: it lies in the frame of `resume_with`, which is suspended until this coroutine switches back, and that
            // it cannot in the middle.
            return unsafe { make.as_mut() }();
        }
        self.input.take().expect("a coroutine is resumed with an input")
    }
}

enum Output<Y, R> {
    Yielded(Y),
    Complete(R),
    Panicked(Box<dyn Any + Send>),
}

/// The payload of the unwinding of a coroutine that is dropped. Its message is never printed.
struct ForcedUnwind;

impl<I: 'static, Y: 'static, R: 'static> Coroutine<I, Y, R> {
    /// A coroutine on a stack of [`stack::DEFAULT_SIZE`], with the engine that `KAPOK_SWITCH` names. `body` runs when it
    /// is first resumed.
    ///
    /// # Errors
    /// Where no stack can be mapped, or `KAPOK_SWITCH` names no engine of this build.
    #[track_caller]
    pub fn new<F>(body: F) -> io::Result<Self>
    where
        F: FnOnce(&Yielder<I, Y>, I) -> R + 'static,
    {
        Coroutine::with(Engine::from_env()?, stack::DEFAULT_SIZE, body)
    }

    /// A coroutine with a given engine, on a stack of `stack_size` bytes, rounded up to one of a few sizes.
    ///
    /// # Errors
    /// Where no stack can be mapped, or its size is not within [`stack::MIN_SIZE`] and [`stack::MAX_SIZE`].
    #[track_caller]
    pub fn with<F>(engine: Engine, stack_size: usize, body: F) -> io::Result<Self>
    where
        F: FnOnce(&Yielder<I, Y>, I) -> R + 'static,
    {
        let stack = Stack::new(stack::check_size(stack_size)?)?;
        stack.set_label(Some(Location::caller()));
        stack::watch_thread();
        Coroutine::on(engine, Memory::Ours(stack), Box::new(body))
    }

    /// A coroutine on memory that the program supplies.
    ///
    /// An overflow of it is not found out, unless the program has put a guard below it.
    ///
    /// # Errors
    /// Where the memory is smaller than [`stack::MIN_SIZE`], or too small for the engine, or lies on the stack of the fiber that
    /// calls.
    pub fn on_memory<M, F>(engine: Engine, memory: M, body: F) -> io::Result<Self>
    where
        M: StackMemory,
        F: FnOnce(&Yielder<I, Y>, I) -> R + 'static,
    {
        Coroutine::on(engine, Memory::Theirs(Box::new(memory)), Box::new(body))
    }

    fn on(engine: Engine, memory: Memory, body: Body<I, Y, R>) -> io::Result<Self> {
        // SAFETY: the memory and the handle stay together in the coroutine.
        let (handle, addresses) = unsafe { memory.begin(engine, entry::<I, Y, R>)? };
        let shared = Box::new(Shared {
            engine,
            stack: addresses,
            body: Cell::new(Some(body)),
            input: Cell::new(None),
            on_top: Cell::new(None),
            output: Cell::new(None),
            resumer: Cell::new(None),
            sections: Cell::new(0),
        });
        let shared = NonNull::from(Box::leak(shared)); // `Drop` takes it back
        Ok(Coroutine {
            engine,
            shared,
            suspended: Some(handle),
            stack: Some(memory),
            _not_send: PhantomData,
        })
    }
}

impl<I, Y, R> Coroutine<I, Y, R> {
    /// Runs it until it suspends itself or returns.
    ///
    /// # Panics
    /// With what its body panicked with; it is over then. Also if it is over already.
    pub fn resume(&mut self, input: I) -> CoroutineState<Y, R> {
        self.shared().input.set(Some(input));
        self.go_on()
    }

    /// As [`resume`](Coroutine::resume), with a function that makes the input, and runs on the coroutine's own stack, on top of the
    /// [`suspend`](Yielder::suspend) that it is in. As Boost.Context's `ontop_fcontext` does.
    ///
    /// What it panics with comes out of that `suspend`: so it can raise something in the coroutine. If the body has not begun, it
    /// does not, and is over.
    ///
    /// ```
    /// use kapok::coroutine::{Coroutine, CoroutineState};
    /// use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    ///
    /// let mut coroutine = Coroutine::new(|yielder, first: u32| {
    ///     let raised = catch_unwind(AssertUnwindSafe(|| yielder.suspend(first + 1)));
    ///     raised.unwrap_err().downcast::<&str>().map(|text| *text)
    /// })?;
    /// let six = 6; // may be borrowed
    /// let state = coroutine.resume_with(|| six * 7);
    /// assert!(matches!(state, CoroutineState::Yielded(43)));
    /// let state = coroutine.resume_with(|| resume_unwind(Box::new("enough")));
    /// assert!(matches!(state, CoroutineState::Complete(Ok("enough"))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// As [`resume`](Coroutine::resume).
    pub fn resume_with(&mut self, input: impl FnOnce() -> I) -> CoroutineState<Y, R> {
        /// Not even a coroutine that is over keeps what is borrowed.
        struct Borrowed<'a, I>(&'a Cell<Option<NonNull<dyn FnMut() -> I>>>);
        impl<I> Drop for Borrowed<'_, I> {
            fn drop(&mut self) {
                self.0.set(None);
            }
        }
        assert!(!self.is_done(), "Coroutine::resume: the coroutine is over");
        let mut input = Some(input);
        let mut once = || input.take().expect("it is called once")();
        let on_top: NonNull<dyn FnMut() -> I + '_> = NonNull::from(&mut once);
        // SAFETY: only the lifetime is forgotten: it is called before the coroutine goes on, or `Borrowed` takes it back.
        let on_top =
            unsafe { std::mem::transmute::<NonNull<dyn FnMut() -> I + '_>, NonNull<dyn FnMut() -> I>>(on_top) };
        // SAFETY: owned by this coroutine, which outlives this call.
        let shared = unsafe { self.shared.as_ref() };
        shared.on_top.set(Some(on_top));
        let _borrowed = Borrowed(&shared.on_top);
        self.go_on()
    }

    /// Runs it until it suspends itself or returns. Its input is there, or what makes it.
    fn go_on(&mut self) -> CoroutineState<Y, R> {
        let handle = self.suspended.take().expect("Coroutine::resume: the coroutine is over");
        self.shared().sections.set(no_suspend::depth());
        // SAFETY: the coroutine's own handle, of this engine, on this thread; `entry` and `suspend` expect `Shared`. On-top
        // functions are run on the coroutine alone, not on who has resumed it.
        let transfer = unsafe { self.engine.switch(handle, self.shared.as_ptr().cast()) };
        match self.came_back(transfer) {
            Output::Yielded(value) => CoroutineState::Yielded(value),
            Output::Complete(value) => CoroutineState::Complete(value),
            Output::Panicked(payload) => resume_unwind(payload),
        }
    }

    /// Whether it has returned or panicked.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.suspended.is_none()
    }

    fn shared(&self) -> &Shared<I, Y, R> {
        // SAFETY: owned by this coroutine until it is dropped.
        unsafe { self.shared.as_ref() }
    }

    /// Takes what the coroutine left; keeps its handle if it can be resumed.
    fn came_back(&mut self, transfer: Transfer) -> Output<Y, R> {
        let output = self
            .shared()
            .output
            .take()
            .expect("a coroutine leaves something when it switches back");
        if matches!(output, Output::Yielded(_)) {
            self.suspended = transfer.from;
        }
        output
    }

    /// Unwinds what is suspended; false when it would not go.
    fn unwind(&mut self) -> bool {
        /// A body that catches the unwinding and suspends itself again gets so many more.
        const PATIENCE: usize = 100;
        if self.shared().body.take().is_some() {
            self.suspended = None; // never started: there are no frames
            return true;
        }
        for _ in 0..PATIENCE {
            let Some(handle) = self.suspended.take() else {
                return true;
            };
            if cfg!(not(panic = "unwind")) {
                return false;
            }
            self.shared().sections.set(no_suspend::depth());
            // SAFETY: as in `resume`; `force_unwind` raises a panic out of the coroutine's own jump, which `Yielder` lets
            // through.
            let transfer = unsafe {
                self.engine
                    .ontop(handle, self.shared.as_ptr().cast(), force_unwind::<I, Y, R>)
            };
            // What it yields, returns or panics with on the way out concerns nobody any more.
            drop(panic::catch_unwind(AssertUnwindSafe(|| drop(self.came_back(transfer)))));
        }
        self.suspended.is_none()
    }
}

impl<I, Y, R> Drop for Coroutine<I, Y, R> {
    fn drop(&mut self) {
        if self.unwind() {
            // SAFETY: leaked in `with`; no frame is left that could reach it.
            drop(unsafe { Box::from_raw(self.shared.as_ptr()) });
            if let Some(Memory::Ours(stack)) = &self.stack {
                stack.set_label(None);
            }
        } else {
            log::error!("a coroutine was dropped and cannot be unwound: its stack is leaked");
            // Frames that still hold something must keep their memory.
            #[expect(clippy::mem_forget, reason = "unmapping it is what must not happen")]
            std::mem::forget(self.stack.take());
        }
    }
}

impl<I, Y> Yielder<I, Y> {
    /// Gives `value` to whoever resumed the coroutine, and waits to be resumed with the next input.
    ///
    /// Do not suspend a coroutine in a destructor that runs because of a panic: the panic is the thread's until it has been
    /// caught, so that whoever resumed the coroutine finds itself panicking, its waits block the thread, and its own panic
    /// ends the process.
    ///
    /// # Panics
    /// When the coroutine is dropped: that unwinds it. The payload is private; catching it does not help. Also when it is
    /// called elsewhere than on the coroutine's own stack, for instance in a fiber that was started in its body; and within
    /// a [`no_suspend`](crate::no_suspend()) section of the body.
    pub fn suspend(&self, value: Y) -> I {
        // SAFETY: it lies in the frame of `run_body`, which is below this one.
        let suspend = unsafe { self.suspend.as_ref() };
        suspend(value)
    }
}

/// The bottom frame of a coroutine's stack.
unsafe extern "C-unwind" fn entry<I, Y, R>(first: ffi::kapok_transfer_t) {
    // SAFETY: what an engine hands to an entry function, converted once.
    let first = unsafe { Transfer::from_raw(first) };
    let shared: *const Shared<I, Y, R> = first.data.cast();
    // SAFETY: passed by `resume`; it lives as long as this stack.
    let shared = unsafe { &*shared };
    shared.resumer.set(first.from);
    let output = run_body(shared);
    shared.output.set(Some(output));
    let resumer = shared.resumer.take().expect("somebody resumed this coroutine");
    // SAFETY: the resumer is suspended in `resume` or `unwind`, and expects nothing but the output. From here on the stack
    // holds nothing and is not resumed again.
    unsafe { shared.engine.jump(resumer, ptr::null_mut()) };
    std::process::abort();
}

fn run_body<I, Y, R>(shared: &Shared<I, Y, R>) -> Output<Y, R> {
    let suspend = |value: Y| {
        let here = 0_u8;
        // A scope, or a runtime within the body, can lend the yielder to a fiber, which has a stack of its own.
        assert!(
            shared.stack.contains(&(&raw const here).addr()),
            "Yielder::suspend: called on another stack than the coroutine's own"
        );
        if no_suspend::depth() > shared.sections.get() {
            no_suspend::refuse();
        }
        let resumer = shared.resumer.take();
        let resumer = resumer.expect("Yielder::suspend: called in what makes the input of a resume_with");
        shared.output.set(Some(Output::Yielded(value)));
        // SAFETY: the resumer is suspended in `resume` or `unwind`, on this thread.
        let transfer = unsafe { shared.engine.jump(resumer, ptr::null_mut()) };
        shared.resumer.set(transfer.from);
        shared.take_input()
    };
    let suspend: NonNull<dyn Fn(Y) -> I + '_> = NonNull::from(&suspend);
    // SAFETY: only the lifetime is forgotten; the yielder does not leave the frame that `suspend` is in, because the body
    // gets a reference to it that is good for any lifetime.
    let suspend = unsafe { std::mem::transmute::<NonNull<dyn Fn(Y) -> I + '_>, NonNull<dyn Fn(Y) -> I>>(suspend) };
    let yielder = Yielder {
        suspend,
        _not_send: PhantomData,
    };
    let body = shared.body.take().expect("a coroutine begins once");
    match panic::catch_unwind(AssertUnwindSafe(|| body(&yielder, shared.take_input()))) {
        Ok(value) => Output::Complete(value),
        Err(payload) => Output::Panicked(payload),
    }
}

/// Runs on top of a suspended coroutine: raises a panic, without a message, out of the jump that it is suspended in.
unsafe extern "C-unwind" fn force_unwind<I, Y, R>(raw: ffi::kapok_transfer_t) -> ffi::kapok_transfer_t {
    // SAFETY: what an engine hands to an on-top function, converted once.
    let transfer = unsafe { Transfer::from_raw(raw) };
    let shared: *const Shared<I, Y, R> = transfer.data.cast();
    // SAFETY: passed by `unwind`; it lives as long as this stack.
    unsafe { &*shared }.resumer.set(transfer.from);
    resume_unwind(Box::new(ForcedUnwind))
}

impl<I, Y, R> fmt::Debug for Coroutine<I, Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine")
            .field("engine", &self.engine)
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}

impl<I, Y> fmt::Debug for Yielder<I, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yielder").finish_non_exhaustive()
    }
}
