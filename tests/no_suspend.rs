//! Sections in which a fiber is not suspended.

mod support;

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use kapok::coroutine::{Coroutine, CoroutineState};
use kapok::net::{TcpListener, TcpStream, ToSocketAddrs};
use kapok::sync::Baton;
use kapok::{Engine, blocking, fiber, no_suspend, spawn, spawn_local};

use support::{OnDrop, child, panics, run, run_on_one, run_with, says, watchdog};

const SOON: Duration = Duration::from_millis(1);

/// Asserts that it is refused, and that the refusal says why, and what to do.
#[track_caller]
fn refused<T>(f: impl FnOnce() -> T) {
    let sentence = panics(|| no_suspend(f));
    says(
        &sentence,
        &[
            "would suspend the fiber within kapok::no_suspend",
            "wait before or after that section",
        ],
    );
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = spawn(move || TcpStream::connect(address).unwrap());
    let server = listener.accept().unwrap().0;
    (client.join().unwrap(), server)
}

#[test]
fn what_would_suspend_is_refused() {
    for engine in Engine::available() {
        run_with(engine, || {
            refused(fiber::yield_now);
            refused(|| fiber::sleep(SOON));
            refused(|| fiber::sleep_until(Instant::now() + SOON));
            refused(fiber::park);
            refused(|| fiber::park_timeout(SOON));
            refused(|| fiber::scope(|_| ()));
            refused(|| blocking(|| ()));
            refused(|| ("localhost", 1).to_socket_addrs());
            let other = spawn_local(|| ());
            assert!(!other.is_finished());
            refused(|| other.join());
            let baton = Baton::new();
            refused(|| baton.wait());
            refused(|| baton.wait_timeout(SOON));
            refused(|| baton.wait_deadline(Instant::now() + SOON));
        });
    }
}

#[test]
fn a_refused_call_has_changed_nothing() {
    run(|| {
        // The baton has no waiter, the park no token, and the timers no entry.
        let baton = Arc::new(Baton::new());
        refused(|| baton.wait());
        refused(|| baton.wait_timeout(SOON));
        let poster = Arc::clone(&baton);
        spawn(move || poster.post());
        baton.wait();
        refused(fiber::park);
        fiber::current().unpark();
        fiber::park();

        // Nobody waits for the connection or the bytes: the next one gets them.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        refused(|| listener.accept());
        let address = listener.local_addr().unwrap();
        refused(|| TcpStream::connect(address));
        let (mut client, mut server) = connected();
        let mut buf = [0; 4];
        refused(|| server.read(&mut buf));
        let reader = spawn(move || {
            let mut all = String::new();
            server.read_to_string(&mut all).map(|_| all)
        });
        fiber::yield_now();
        client.write_all(b"all of it").unwrap();
        drop(client);
        assert_eq!(reader.join().unwrap().unwrap(), "all of it");
    });
}

#[test]
fn turn_at_a_file_is_not_lost() {
    child::undisturbed("turn_at_a_file_is_not_lost", || {
        run_on_one(|| {
            let temporary = tempfile::NamedTempFile::new().unwrap();
            let mut options = kapok::fs::OpenOptions::new();
            let file = Arc::new(options.read(true).write(true).open(temporary.path()).unwrap());
            // The one thread of the pool is taken, so that the writer, whose turn it is, has to wait, on all reactors.
            blocking::set_max_threads(1);
            let (gate, shut) = mpsc::channel::<()>();
            let busy = spawn(move || blocking(move || shut.recv().unwrap_err()));
            fiber::yield_now();
            let writer = Arc::clone(&file);
            let writes = spawn(move || (&*writer).write(&[b'x'; 100_000]));
            fiber::yield_now();
            refused(|| (&*file).read(&mut [0; 10]));
            drop(gate);
            busy.join().unwrap();
            assert_eq!(writes.join().unwrap().unwrap(), 100_000);
            (&*file).rewind().unwrap();
            assert_eq!((&*file).read(&mut [0; 10]).unwrap(), 10);
        });
    });
}

#[test]
fn what_need_not_wait_is_done() {
    run(|| {
        let (mut client, mut server) = connected();
        let (listener, ended) = (TcpListener::bind("127.0.0.1:0").unwrap(), spawn(|| 7));
        let address = listener.local_addr().unwrap();
        let _waits_to_be_accepted = TcpStream::connect(address).unwrap();
        while !ended.is_finished() {
            fiber::yield_now();
        }
        const BYTES: usize = 1_000;
        client.write_all(&[b'x'; BYTES]).unwrap();
        while server.peek(&mut [0; BYTES]).unwrap() < BYTES {
            fiber::yield_now();
        }
        // The connection may still be on its way.
        while catch_unwind(AssertUnwindSafe(|| no_suspend(|| listener.accept().unwrap()))).is_err() {
            fiber::yield_now();
        }
        let others = Rc::new(Cell::new(0));
        let theirs = Rc::clone(&others);
        let other = spawn_local(move || theirs.set(1));
        no_suspend(|| {
            let baton = Baton::new();
            baton.post();
            baton.wait();
            assert!(baton.wait_timeout(SOON));
            assert!(!Baton::new().wait_timeout(Duration::ZERO));
            fiber::sleep(Duration::ZERO);
            fiber::current().unpark();
            fiber::park();
            assert_eq!(ended.join().unwrap(), 7);
            drop(spawn(|| ()));
            // However much it is: nobody else gets the thread.
            let mut byte = [0];
            for _ in 0..BYTES {
                server.read_exact(&mut byte).unwrap();
                server.write_all(&byte).unwrap();
            }
            assert_eq!(others.get(), 0, "no other fiber has run");
        });
        other.join().unwrap();
        assert_eq!(others.get(), 1);
    });
}

#[test]
fn files_are_read_from_memory_or_refused() {
    run(|| {
        let mut temporary = tempfile::NamedTempFile::new().unwrap();
        temporary.write_all(b"text").unwrap();
        let file = kapok::fs::File::open(temporary.path()).unwrap();
        refused(|| kapok::fs::File::open(temporary.path()));
        assert!(File::open(temporary.path()).is_ok());
        // What the page cache has needs no wait, where the kernel can tell.
        let read = catch_unwind(AssertUnwindSafe(|| no_suspend(|| (&file).read(&mut [0; 10]))));
        match read {
            Ok(read) => assert_eq!(read.unwrap(), 4),
            Err(_) => assert_eq!((&file).read(&mut [0; 10]).unwrap(), 4),
        }
    });
}

#[test]
fn sections_nest_and_end_with_unwinding() {
    run(|| {
        assert_eq!(no_suspend(|| no_suspend(|| 1) + 1), 2);
        no_suspend(|| {
            no_suspend(|| ());
            refused(fiber::yield_now);
            assert!(catch_unwind(fiber::yield_now).is_err(), "the outer one lasts");
        });
        fiber::yield_now();
        assert_eq!(panics(|| no_suspend(|| -> () { panic!("on purpose") })), "on purpose");
        fiber::yield_now();
        fiber::sleep(SOON);
    });
}

#[test]
fn one_fibers_section_is_not_anothers() {
    run(|| {
        let child = no_suspend(|| {
            spawn(|| {
                fiber::yield_now();
                blocking(fiber::yield_now);
            })
        });
        child.join().unwrap();
        // Nor does it go over to the thread that does the work for a fiber.
        fiber::scope(|s| {
            s.spawn(|| refused(fiber::yield_now));
            s.spawn(fiber::yield_now);
        });
    });
}

#[test]
fn a_scope_within_which_it_is_refused_still_waits_for_its_fibers() {
    run(|| {
        let ended = Cell::new(false);
        refused(|| {
            // Refused at once, with nothing started.
            fiber::scope(|s| s.spawn_local(|| ended.set(true)).join())
        });
        assert!(!ended.get());
        let sentence = panics(|| {
            fiber::scope(|s| {
                let sets = OnDrop(|| ended.set(true));
                let child = s.spawn_local(move || {
                    let _sets = sets;
                    fiber::park();
                });
                fiber::yield_now();
                no_suspend(|| child.join())
            })
        });
        says(&sentence, &["no_suspend"]);
        assert!(ended.get());
    });
}

#[test]
fn where_a_wait_blocks_the_thread_nothing_is_refused() {
    let _watchdog = watchdog();
    no_suspend(|| {
        fiber::yield_now();
        fiber::sleep(SOON);
        assert!(!Baton::new().wait_timeout(SOON));
        assert_eq!(blocking(|| 1), 1);
    });
    run(|| {
        // While it is panicking, a fiber does not switch.
        let waited = Cell::new(false);
        let sentence = panics(|| {
            no_suspend(|| {
                let _waits = OnDrop(|| {
                    fiber::sleep(SOON);
                    assert!(!Baton::new().wait_timeout(SOON));
                    waited.set(true);
                });
                panic!("on purpose");
            });
        });
        assert_eq!((sentence.as_str(), waited.get()), ("on purpose", true));
    });
}

#[test]
fn a_runtime_that_is_started_in_a_section_is_outside_of_it() {
    let _watchdog = watchdog();
    no_suspend(|| {
        run(|| {
            fiber::yield_now();
            refused(fiber::yield_now);
            spawn(fiber::yield_now).join().unwrap();
        });
    });
}

#[test]
fn coroutines_suspend_themselves_within_a_section_but_not_out_of_one() {
    let _watchdog = watchdog();
    let check = || {
        let coroutine = || {
            Coroutine::<bool, u8, u8>::new(|yielder, first| {
                let mut bad = first;
                for i in 0.. {
                    if bad {
                        no_suspend(|| yielder.suspend(99));
                    }
                    bad = yielder.suspend(i);
                }
                unreachable!()
            })
            .unwrap()
        };
        // Resumed, suspended and dropped within the section: that one is not left.
        no_suspend(|| {
            let mut coroutine = coroutine();
            assert_eq!(coroutine.resume(false), CoroutineState::Yielded(0));
            assert_eq!(coroutine.resume(false), CoroutineState::Yielded(1));
        });
        // Resumed on both sides of a border.
        let mut both = coroutine();
        assert_eq!(both.resume(false), CoroutineState::Yielded(0));
        assert_eq!(no_suspend(|| both.resume(false)), CoroutineState::Yielded(1));
        assert_eq!(both.resume(false), CoroutineState::Yielded(2));
        // One that would be left in the middle.
        says(&panics(|| both.resume(true)), &["no_suspend"]);
        assert!(both.is_done());
        let mut inside = coroutine();
        says(&panics(|| no_suspend(|| inside.resume(true))), &["no_suspend"]);
    };
    check();
    run(|| {
        check();
        // What suspends the fiber is refused in a coroutine as well.
        let mut coroutine = Coroutine::<(), (), ()>::new(|_, ()| fiber::yield_now()).unwrap();
        refused(|| coroutine.resume(()));
        fiber::yield_now();
    });
}
