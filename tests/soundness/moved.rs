//! Started stacks that go to another thread: generator-rs #58, may #6, coroutine-rs #31. Here they do not.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use kapok::sync::Baton;
use kapok::{blocking, fiber, spawn};

use crate::support::{run, watchdog};

thread_local! {
    static COUNTER: Cell<Option<Rc<Cell<u64>>>> = const { Cell::new(None) };
    static ID: RefCell<Option<Rc<ThreadId>>> = const { RefCell::new(None) };
    static LOCAL: RefCell<u32> = const { RefCell::new(7) };
}

/// Suspends the fiber in each way, among them such as other threads end.
fn wait(round: usize) {
    match round % 4 {
        0 => fiber::yield_now(),
        1 => blocking(|| ()),
        2 => fiber::sleep(std::time::Duration::from_nanos(1)),
        _ => {
            let baton = Arc::new(Baton::new());
            let poster = Arc::clone(&baton);
            let thread = thread::spawn(move || poster.post());
            baton.wait();
            thread.join().unwrap();
        }
    }
}

/// Several runtimes at once, each with many fibers that do this.
fn on_many_threads(f: impl Fn(usize) + Send + Sync + 'static) {
    let _watchdog = watchdog();
    let f = Arc::new(f);
    let runtimes: Vec<_> = (0..3)
        .map(|_| {
            let f = Arc::clone(&f);
            thread::spawn(move || {
                run(|| {
                    let fibers: Vec<_> = (0..50)
                        .map(|i| {
                            let f = Arc::clone(&f);
                            spawn(move || f(i))
                        })
                        .collect();
                    fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
                });
            })
        })
        .collect();
    runtimes.into_iter().for_each(|runtime| runtime.join().unwrap());
}

#[test]
fn an_rc_out_of_a_thread_local_stays_on_its_thread() {
    // The work is `Send`; what it finds in the thread-local when it has started is not.
    run(|| {
        let counter = Rc::new(Cell::new(0_u64));
        COUNTER.set(Some(Rc::clone(&counter)));
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let here = kapok::runtime::Handle::current().worker().unwrap();
        let builder = fiber::Builder::new().worker(here);
        let fiber = builder.spawn(move || {
            let counter = COUNTER.take().expect("it began on the thread that has it");
            let home = thread::current().id();
            for round in 0..40 {
                wait(round);
                assert_eq!(thread::current().id(), home);
                (0..1_000).for_each(|_| counter.set(counter.get() + 1));
            }
            ends.store(true, Ordering::SeqCst);
        });
        let fiber = fiber.unwrap();
        let mut own = 0;
        while !stop.load(Ordering::SeqCst) {
            counter.set(counter.get() + 1);
            own += 1;
            fiber::yield_now();
        }
        fiber.join().unwrap();
        assert_eq!(counter.get(), 40_000 + own);
        assert_eq!(Rc::strong_count(&counter), 1);
    });
}

#[test]
fn what_is_not_send_is_used_by_one_thread_across_waits() {
    on_many_threads(|i| {
        let handle = Rc::new(thread::current().id());
        ID.with_borrow_mut(|id| *id = Some(Rc::clone(&handle)));
        for round in i..i + 20 {
            wait(round);
            assert_eq!(*handle, thread::current().id());
            // Counts a reference of whoever was here last, without atomics.
            let last = ID.with_borrow(|id| Rc::clone(id.as_ref().unwrap()));
            assert_eq!(*last, *handle);
        }
    });
}

#[test]
fn a_thread_local_stays_the_same_across_a_wait_within_with() {
    on_many_threads(|i| {
        for round in i..i + 8 {
            LOCAL.with(|local| {
                let (before, thread) = (std::ptr::from_ref(local), thread::current().id());
                *local.borrow_mut() += 1;
                wait(round);
                assert_eq!(thread::current().id(), thread);
                LOCAL.with(|again| assert!(std::ptr::eq(again, before)));
                *local.borrow_mut() -= 1;
            });
        }
    });
}
