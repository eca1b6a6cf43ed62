//! What a runtime leaves behind: nothing.

use std::io::{Read, Write};
use std::sync::Arc;
use std::{io, thread};

use kapok::net::{TcpListener, TcpStream};
use kapok::sync::{Event, Semaphore};
use kapok::{fiber, spawn};
use std::time::Duration;

use crate::support::{LASTING_DESCRIPTORS, child, open_descriptors, run, says, skip};

/// A runtime that uses a bit of everything.
fn use_everything() -> io::Result<()> {
    kapok::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = spawn(move || -> io::Result<()> {
            for stream in listener.incoming().take(5) {
                let mut stream = stream?.try_clone()?;
                stream.write_all(b"hello")?;
            }
            Ok(())
        });
        for _ in 0..5 {
            let mut text = String::new();
            TcpStream::connect(address)?.read_to_string(&mut text)?;
            assert_eq!(text, "hello");
        }
        server.join().unwrap()?;
        // All of them have a stack at once: as many stacks each time.
        let (begun, release) = (Arc::new(Semaphore::new(0)), Arc::new(Event::new()));
        let fibers: Vec<_> = (0..100)
            .map(|_| {
                let (begun, release) = (Arc::clone(&begun), Arc::clone(&release));
                spawn(move || {
                    begun.add(1);
                    release.wait();
                    fiber::sleep(Duration::from_micros(1));
                })
            })
            .collect();
        begun.acquire_many(100).expect("it is open").forget();
        release.set();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        kapok::blocking(|| ());
        Ok(())
    })?
}

#[test]
fn descriptors_are_given_back() {
    child::undisturbed("leaks::descriptors_are_given_back", || {
        let Some(before) = open_descriptors() else { return };
        for _ in 0..50 {
            use_everything().unwrap();
        }
        // The thread that did the blocking work may hold on to the bell that it rang for a moment longer.
        while open_descriptors() > Some(before + LASTING_DESCRIPTORS) {
            thread::yield_now();
        }
    });
}

#[test]
fn memory_of_stacks_is_given_back() {
    child::undisturbed("leaks::memory_of_stacks_is_given_back", || {
        let mappings = || std::fs::read_to_string("/proc/self/maps").map(|text| text.lines().count());
        use_everything().unwrap();
        let Ok(before) = mappings() else {
            skip("mappings are not counted: no /proc/self/maps", "KAPOK_REQUIRE_PROC");
            return;
        };
        for _ in 0..50 {
            use_everything().unwrap();
        }
        // Each run had more than a hundred stacks; the allocator may have taken a few mappings.
        let after = mappings().unwrap();
        assert!(after < before + 50, "{before} mappings, and then {after}");
    });
}

#[test]
fn lack_of_descriptors_is_an_error_with_a_remedy() {
    child::undisturbed("leaks::lack_of_descriptors_is_an_error_with_a_remedy", || {
        let mut held: Vec<_> = Vec::new();
        rlimit::setrlimit(rlimit::Resource::NOFILE, 64, 64).expect("one may have less");
        while let Ok(file) = std::fs::File::open("/dev/null") {
            held.push(file);
        }
        // The number that it needs is its own affair: each of them may be the one that is missing.
        for _ in 0..2 {
            let mut ran = false;
            let error = kapok::run(|| ran = true).unwrap_err();
            says(&error.to_string(), &["ulimit -n"]);
            assert!(!ran);
            held.pop();
        }
        held.truncate(40);
        run(|| ());
    });
}
