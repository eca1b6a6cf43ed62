//! Which reactor a program gets, from outside: the choice, the fallback where the system refuses, and what is said then.
//!
//! This program runs itself again for each case, with the environment and the seccomp filter of the case: what happens to a
//! process cannot be undone in it.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]

#[path = "support/emulator.rs"]
mod emulator;

use std::io::{Read, Write};
use std::process::Command;
use std::thread;

use kapok::runtime::Builder;
use kapok::{Engine, ReactorKind};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Set in a child to what the filter answers to the system calls that make a reactor of these names.
const REFUSE_WITH: &str = "KAPOK_TEST_REFUSE_WITH";
const REFUSED: &str = "KAPOK_TEST_REFUSED";

/// What `the_child` of this program says when it runs with these variables.
fn child(variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().expect("the path of this test"))
        .args(["--exact", "the_child", "--ignored", "--nocapture", "--test-threads=1"])
        .env_remove("KAPOK_REACTOR")
        .env_remove("KAPOK_SWITCH")
        .env("RUST_LOG", "warn")
        .envs(variables.iter().copied())
        .output()
        .expect("run this test");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text.into_owned()
}

#[test]
#[ignore = "run by the others, in a process of its own"]
fn the_child() {
    env_logger::init();
    if let Ok(errno) = std::env::var(REFUSE_WITH) {
        let refused = std::env::var(REFUSED).expect("set together");
        let calls = [
            ("io_uring", libc::SYS_io_uring_setup),
            ("epoll", libc::SYS_epoll_create1),
        ];
        let rules = calls
            .into_iter()
            .filter(|(name, _)| refused.contains(name))
            .map(|(_, call)| (call, vec![]))
            .collect();
        let refuse = SeccompAction::Errno(errno.parse().expect("an errno"));
        let here = std::env::consts::ARCH
            .try_into()
            .expect("seccompiler knows this machine");
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, here).expect("a filter");
        let program: BpfProgram = filter.try_into().expect("a program");
        seccompiler::apply_filter(&program).expect("seccomp works without privileges");
    }
    let said = match kapok::run(a_conversation) {
        Ok(reactor) => format!("the reactor was {reactor}\n"),
        Err(error) => format!("run failed: {error}\n"),
    };
    std::io::stdout().write_all(said.as_bytes()).expect("stdout");
}

/// A few bytes there and back between two fibers; the reactor they went through.
fn a_conversation() -> ReactorKind {
    let listener = kapok::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    let server = kapok::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).expect("read");
        stream.write_all(&bytes).expect("write");
    });
    let mut stream = kapok::net::TcpStream::connect(address).expect("connect");
    stream.write_all(b"hello").expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    assert_eq!(answer, "hello");
    server.join().expect("the server");
    kapok::runtime::Handle::current().reactor()
}

#[test]
fn what_is_refused_is_named_and_the_next_one_serves() {
    if emulator::lacks("seccomp") {
        return;
    }
    let cases = [("epoll", "io_uring"), ("epoll io_uring", "poll")];
    for switch in Engine::available().iter().map(|engine| engine.name()) {
        for (refused, serves) in cases {
            for errno in [libc::EPERM, libc::ENOSYS] {
                let errno = errno.to_string();
                let said = child(&[(REFUSE_WITH, &errno), (REFUSED, refused), ("KAPOK_SWITCH", switch)]);
                // Where the system itself refuses io_uring, it is the next one again.
                let forbidden = !refused.contains("io_uring") && said.contains("io_uring cannot start");
                let serves = if forbidden { "poll" } else { serves };
                assert!(said.contains(&format!("the reactor was {serves}\n")), "{said}");
                for name in refused.split(' ') {
                    assert!(
                        said.contains("WARN") && said.contains(&format!("{name} cannot start")),
                        "{said}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_refused_io_uring_that_was_asked_for_is_an_error() {
    if emulator::lacks("seccomp") {
        return;
    }
    let said = child(&[
        (REFUSE_WITH, &libc::EPERM.to_string()),
        (REFUSED, "io_uring"),
        ("KAPOK_REACTOR", "io_uring"),
    ]);
    assert!(said.contains("run failed: the reactor io_uring cannot start"), "{said}");
    assert!(said.contains("seccomp"), "{said}");
    let said = child(&[
        (REFUSE_WITH, &libc::ENOMEM.to_string()),
        (REFUSED, "io_uring"),
        ("KAPOK_REACTOR", "io_uring"),
    ]);
    assert!(said.contains("RLIMIT_MEMLOCK"), "{said}");
}

#[test]
fn one_that_is_asked_for_is_the_one() {
    for name in ["epoll", "poll"] {
        let said = child(&[("KAPOK_REACTOR", name)]);
        assert!(said.contains(&format!("the reactor was {name}\n")), "{said}");
    }
    let said = child(&[("KAPOK_REACTOR", "iocp")]);
    assert!(
        said.contains("run failed: KAPOK_REACTOR: there is no reactor \"iocp\""),
        "{said}"
    );
}

/// Each reactor under each engine, one after the other and two at once in one process.
#[test]
fn every_reactor_works_with_every_engine() {
    for kind in ReactorKind::available() {
        let threads = Engine::available().into_iter().map(move |engine| {
            thread::spawn(move || {
                for _ in 0..10 {
                    let used = Builder::new().reactor(kind).switch(engine).run(a_conversation);
                    match used {
                        Ok(used) => assert_eq!(used, kind),
                        // Some systems forbid it; src/reactor/tests/ tells so, and fails where it is required.
                        Err(error) => assert_eq!(kind, ReactorKind::IoUring, "{error}"),
                    }
                }
            })
        });
        for thread in threads.collect::<Vec<_>>() {
            thread.join().expect("each engine works");
        }
    }
}
