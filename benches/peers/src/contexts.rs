//! Switches without a scheduler.

use std::hint::black_box;

use kapok::Engine;
use kapok::coroutine::Coroutine;

use crate::work::{Figure, Measure, timed};

pub(crate) fn measure(peer: &str, work: &str) -> Option<Measure> {
    match (peer, work) {
        ("kapok", "switch") => Some(|n| kapok(Engine::available()[0], n)),
        ("kapok-asm", "switch") => asm().map(|_| (|n| kapok(asm().expect("as before"), n)) as Measure),
        ("kapok-ucontext", "switch") => Some(|n| kapok(ucontext(), n)),
        ("corosensei", "switch") => Some(corosensei),
        ("generator", "switch") => Some(generator),
        _ => None,
    }
}

/// Where somebody has written it.
pub(crate) fn asm() -> Option<Engine> {
    "asm".parse().ok()
}

pub(crate) fn ucontext() -> Engine {
    "ucontext".parse().expect("it is in every build")
}

/// Each resumption is two switches.
fn kapok(engine: Engine, n: u32) -> Figure {
    let coroutine = Coroutine::<(), (), ()>::with(engine, kapok::stack::DEFAULT_SIZE, |yielder, ()| {
        loop {
            yielder.suspend(());
        }
    });
    let coroutine = std::cell::RefCell::new(coroutine.expect("a stack"));
    timed(n, |n| {
        let mut coroutine = coroutine.borrow_mut();
        (0..n / 2).for_each(|_| _ = black_box(coroutine.resume(())));
    })
}

fn corosensei(n: u32) -> Figure {
    let coroutine = corosensei::Coroutine::<(), (), ()>::new(|yielder, ()| {
        loop {
            yielder.suspend(());
        }
    });
    let coroutine = std::cell::RefCell::new(coroutine);
    let figure = timed(n, |n| {
        let mut coroutine = coroutine.borrow_mut();
        (0..n / 2).for_each(|_| _ = black_box(coroutine.resume(())));
    });
    std::mem::forget(coroutine); // it never returns, and is not to be unwound
    figure
}

fn generator(n: u32) -> Figure {
    let generator = generator::Gn::new_scoped(|mut scope: generator::Scope<'_, '_, (), ()>| {
        loop {
            scope.yield_(());
        }
    });
    let generator = std::cell::RefCell::new(generator);
    timed(n, |n| {
        let mut generator = generator.borrow_mut();
        (0..n / 2).for_each(|_| _ = black_box(generator.resume()));
    })
}
