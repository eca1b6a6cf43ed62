//! Coroutines on memory that the program supplies.
#![allow(unsafe_code, reason = "StackMemory is for those who promise")]

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::rc::Rc;

use kapok::coroutine::CoroutineState::{Complete, Yielded};
use kapok::coroutine::{Coroutine, StackMemory, Yielder};
use kapok::{fiber, stack};

use super::{each_engine, notes};
use crate::support::run_with;

/// Memory of the heap, `skipped` bytes from its begin on. Counts how often some was given back.
struct OnHeap {
    all: NonNull<[u8]>,
    skipped: usize,
    given_back: Rc<Cell<usize>>,
}

impl OnHeap {
    fn new(bytes: usize, skipped: usize, given_back: &Rc<Cell<usize>>) -> OnHeap {
        OnHeap {
            all: NonNull::from(Box::leak(vec![0_u8; bytes + skipped].into_boxed_slice())),
            skipped,
            given_back: Rc::clone(given_back),
        }
    }
}

// SAFETY: leaked for the value, and given back by it.
unsafe impl StackMemory for OnHeap {
    fn memory(&self) -> NonNull<[u8]> {
        let begin: NonNull<u8> = self.all.cast();
        // SAFETY: within the memory.
        let begin = unsafe { begin.add(self.skipped) };
        NonNull::slice_from_raw_parts(begin, self.all.len() - self.skipped)
    }
}

impl Drop for OnHeap {
    fn drop(&mut self) {
        self.given_back.set(self.given_back.get() + 1);
        // SAFETY: it came from a box.
        drop(unsafe { Box::from_raw(self.all.as_ptr()) });
    }
}

#[test]
fn runs_there_and_gives_it_back() {
    each_engine(|engine| {
        let given_back = Rc::new(Cell::new(0));
        // Of whatever alignment.
        for skipped in [0, 1, 7, 63] {
            given_back.set(0);
            let memory = OnHeap::new(256 * 1024, skipped, &given_back);
            let (begin, len) = (memory.memory().cast::<u8>().addr().get(), memory.memory().len());
            let mut coroutine = Coroutine::on_memory(engine, memory, |yielder, mut input: u64| {
                for _ in 0..10 {
                    let here = 0_u8;
                    let text = format!("{input:?} {:.3}", 1.5); // what needs an aligned stack
                    assert!(text.ends_with("1.500"));
                    input = yielder.suspend((&raw const here).addr());
                }
                input
            })
            .unwrap();
            for input in 0..10 {
                let Yielded(at) = coroutine.resume(input) else {
                    panic!("it goes on")
                };
                assert!((begin..begin + len).contains(&at));
            }
            assert_eq!(coroutine.resume(42), Complete(42));
            drop(coroutine);
            assert_eq!(given_back.get(), 1);
        }
    });
}

#[test]
fn is_given_back_after_the_frames_are_unwound() {
    each_engine(|engine| {
        let (log, given_back) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
        let theirs = Rc::clone(&log);
        let memory = OnHeap::new(256 * 1024, 0, &given_back);
        let mut coroutine = Coroutine::on_memory(engine, memory, move |yielder: &Yielder<(), ()>, ()| {
            let _frame = notes(&theirs, "frame");
            yielder.suspend(());
        })
        .unwrap();
        assert_eq!(coroutine.resume(()), Yielded(()));
        drop(coroutine);
        assert_eq!((given_back.get(), log.borrow().len()), (1, 1));
    });
}

#[test]
fn stays_where_frames_cannot_be_unwound() {
    each_engine(|engine| {
        let given_back = Rc::new(Cell::new(0));
        let memory = OnHeap::new(256 * 1024, 0, &given_back);
        let mut coroutine = Coroutine::on_memory(engine, memory, |yielder: &Yielder<(), ()>, ()| {
            loop {
                drop(catch_unwind(AssertUnwindSafe(|| yielder.suspend(()))));
            }
        })
        .unwrap();
        assert_eq!(coroutine.resume(()), Yielded::<(), ()>(()));
        drop(coroutine);
        assert_eq!(given_back.get(), 0);
    });
}

#[test]
fn too_little_is_refused() {
    each_engine(|engine| {
        let given_back = Rc::new(Cell::new(0));
        for bytes in [0, 1, stack::MIN_SIZE - 1] {
            let memory = OnHeap::new(bytes, 0, &given_back);
            let error = Coroutine::on_memory(engine, memory, |_: &Yielder<(), ()>, ()| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(given_back.get(), 3);
    });
}

/// What is nobody's to give.
struct Somewhere(NonNull<[u8]>);

// SAFETY: not kept, but refused where it is used here.
unsafe impl StackMemory for Somewhere {
    fn memory(&self) -> NonNull<[u8]> {
        self.0
    }
}

#[test]
fn the_stack_of_the_fiber_is_refused() {
    each_engine(|engine| {
        run_with(engine, || {
            let builder = fiber::Builder::new().stack_size(256 * 1024);
            let fiber = builder.spawn(move || {
                let mut frame = [MaybeUninit::<u8>::uninit(); 64 * 1024];
                let bytes = NonNull::from(&mut frame[..]).cast();
                let memory = Somewhere(NonNull::slice_from_raw_parts(bytes, frame.len()));
                Coroutine::on_memory(engine, memory, |_: &Yielder<(), ()>, ()| ())
                    .unwrap_err()
                    .kind()
            });
            assert_eq!(fiber.unwrap().join().unwrap(), ErrorKind::InvalidInput);
        });
    });
}
