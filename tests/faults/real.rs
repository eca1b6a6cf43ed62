//! Faults that need no injector: descriptors that run out, and a program that closes what is not its own.
//!
//! These reach what `io_uring` does in the ring, too.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use kapok::ReactorKind;
use kapok::net::TcpListener;
use kapok::runtime::Builder;
use kapok::{fiber, spawn};

use crate::support::child::{self, alone};
use crate::support::{says, show};

/// Runs `f` on each reactor that this system has, or on the one that was asked for.
fn on_each(f: impl Fn(ReactorKind)) {
    for name in crate::reactors() {
        let kind: ReactorKind = name.parse().expect("a reactor of this build");
        match Builder::new().workers(1).reactor(kind).run(|| ()) {
            Ok(()) => f(kind),
            Err(error) => {
                assert_eq!(kind, ReactorKind::IoUring, "{error}");
                show(&format!("SKIP {error}"));
            }
        }
    }
}

fn run_on<T>(kind: ReactorKind, f: impl FnOnce() -> T) -> T {
    let builder = Builder::new().workers(1).reactor(kind);
    builder.run(f).expect("a runtime can be had")
}

/// A socket for a connection, made while there are descriptors.
fn unconnected() -> OwnedFd {
    // SAFETY: a call without pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert_ne!(fd, -1, "{}", io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Connects it over the loopback, where that does not take long.
fn connect(socket: OwnedFd, port: u16) -> std::net::TcpStream {
    // SAFETY: all zeroes is a valid sockaddr_in.
    let mut address = unsafe { std::mem::zeroed::<libc::sockaddr_in>() };
    address.sin_family = libc::sa_family_t::try_from(libc::AF_INET).expect("a small number");
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = u32::from(std::net::Ipv4Addr::LOCALHOST).to_be();
    let len = libc::socklen_t::try_from(size_of_val(&address)).expect("a small struct");
    // SAFETY: `address` is `len` valid bytes.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    socket.into()
}

/// While this lives, the process gets no more descriptors.
struct NoDescriptors {
    before: (u64, u64),
}

impl NoDescriptors {
    fn new() -> NoDescriptors {
        let before = rlimit::getrlimit(rlimit::Resource::NOFILE).expect("a limit");
        // The lowest that is free is where the limit has to be; not lower, or poll(2) would be refused what is open.
        let lowest = unconnected().as_raw_fd();
        let limit = u64::try_from(lowest).expect("not negative");
        rlimit::setrlimit(rlimit::Resource::NOFILE, limit, before.1).expect("it is lowered");
        NoDescriptors { before }
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        rlimit::setrlimit(rlimit::Resource::NOFILE, self.before.0, self.before.1).expect("as it was");
    }
}

/// The server gets an error each time; the connections stay with the kernel, and are taken when there is room again.
#[test]
fn connections_that_there_are_no_descriptors_for_are_not_lost() {
    child::undisturbed(
        "real::connections_that_there_are_no_descriptors_for_are_not_lost",
        || {
            on_each(|kind| run_on(kind, || accept_without_descriptors(kind)));
        },
    );
}

fn accept_without_descriptors(kind: ReactorKind) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let sockets = [unconnected(), unconnected()];
    let waiting = spawn(move || {
        // It waits before there is a connection, and has nowhere to put it when it comes. (A ring goes by the limit that
        // was there when it began to wait.)
        let (mut accepted, mut errors) = (Vec::new(), Vec::new());
        while errors.len() < 3 {
            match listener.accept() {
                Ok((stream, _)) => accepted.push(stream),
                Err(error) => errors.push(error.raw_os_error()),
            }
        }
        (listener, accepted, errors)
    });
    fiber::sleep(Duration::from_millis(5));
    let none_left = NoDescriptors::new();
    let clients = sockets.map(|socket| connect(socket, port));
    let (listener, mut accepted, errors) = waiting.join().expect("it does not panic");
    drop(none_left);
    assert_eq!(errors, [Some(libc::EMFILE); 3], "{kind}");
    while accepted.len() < clients.len() {
        accepted.push(listener.accept().expect("there is room again").0);
    }
    for mut stream in accepted {
        stream.write_all(b"hello").expect("write");
    }
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("read");
        assert_eq!(answer, "hello", "{kind}");
    }
}

/// The reactor's own descriptors are among those that it closes. It ends with a sentence, and does not wait for ever, or
/// run in circles.
#[test]
fn a_program_that_closes_all_descriptors_is_told_so() {
    const NAME: &str = "real::a_program_that_closes_all_descriptors_is_told_so";
    const REACTOR: &str = "KAPOK_TEST_REACTOR";
    if let Ok(name) = std::env::var(REACTOR) {
        let kind = name.parse().expect("a reactor of this build");
        alone(NAME, |_| (), || run_on(kind, close_everything));
        return;
    }
    on_each(|kind| {
        let configure = |command: &mut std::process::Command| {
            command.env(REACTOR, kind.name());
        };
        let ended = alone(NAME, configure, || unreachable!("only with the variable"));
        let said = ended.expect("this is not the child").killed_by(&[libc::SIGABRT]);
        says(
            &said,
            &["kapok: the reactor ", "cannot go on: ", "has closed a descriptor"],
        );
    });
}

fn close_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    spawn(move || listener.accept().map(drop));
    fiber::sleep(Duration::from_millis(1));
    // SAFETY: they are others', which is the point. The process ends before anybody is surprised.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    fiber::sleep(Duration::from_millis(1));
    unreachable!("the reactor cannot wait any more");
}
