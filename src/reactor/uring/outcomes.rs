//! What follows from each errno that a completion may carry.
//!
//! Most of them cannot be had from a kernel when one wants them. So an operation is taken back from it by a cancellation
//! whose completion is swallowed, and then is said to have ended as the test wants it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::super::bell::Bell;
use super::super::tests::{Pending, completions, nothing_completes, pair};
use super::tests::{inner, tiny};
use super::*;
use crate::reactor::Reactor;

const DEADLINE: Duration = Duration::from_secs(20);

/// Completions as the kernel wrote them, until `wanted` has come.
fn swallow_until(uring: &mut Uring, wanted: Token) {
    let mut swallowed: Vec<cqueue::Entry> = Vec::new();
    let is_wanted = |entry: &cqueue::Entry| Token::from_bits(entry.user_data()) == wanted;
    while !swallowed.iter().any(is_wanted) {
        assert_ne!(uring.ring.enter(Some(DEADLINE)).unwrap(), Entered::TimedOut);
        uring.ring.reap(&mut swallowed);
    }
}

/// Submits it, takes it back from the kernel, and says how it has ended.
fn end_with(reactor: &mut Reactor, op: &Pending, errno: i32) {
    op.submit_pending(reactor);
    let uring = inner(reactor);
    let token = Token::Op(op.ptr());
    // SAFETY: it has no buffers.
    unsafe { uring.ring.push(entry::of_cancel(token)) };
    swallow_until(uring, token);
    uring.apply(token, -errno, 0);
}

#[test]
fn what_was_interrupted_or_would_block_is_waited_for() {
    for errno in [libc::EINTR, libc::EAGAIN] {
        let Some(mut reactor) = tiny(64, 128) else { return };
        let (_ours, source, mut theirs) = pair();
        let recv = Pending::recv(source, 16);
        end_with(&mut reactor, &recv, errno);
        nothing_completes(&mut reactor);
        theirs.write_all(b"hello").unwrap();
        completions(&mut reactor, 1);
        assert_eq!((recv.op.outcome(), &recv.buf[..5]), (Some(Ok(5)), &b"hello"[..]));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let accept = Pending::accept(Source::new(listener.as_raw_fd()));
        end_with(&mut reactor, &accept, errno);
        nothing_completes(&mut reactor);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        completions(&mut reactor, 1);
        drop(accepted(&accept));
        assert_eq!(reactor.pending(), 0);
    }
}

#[test]
fn what_was_interrupted_and_is_not_wanted_any_more_has_ended() {
    for errno in [libc::EINTR, libc::EAGAIN, libc::ECANCELED] {
        let Some(mut reactor) = tiny(64, 128) else { return };
        let (_ours, source, _theirs) = pair();
        let recv = Pending::recv(source, 16);
        recv.submit_pending(&mut reactor);
        recv.cancel(&mut reactor);
        let uring = inner(&mut reactor);
        swallow_until(uring, Token::Op(recv.ptr()));
        uring.apply(Token::Op(recv.ptr()), -errno, 0);
        assert_eq!(reactor.next_completed(), Some(recv.ptr()));
        assert_eq!(recv.op.outcome(), Some(Err(libc::ECANCELED)));
        assert_eq!(reactor.pending(), 0);
    }
}

#[test]
fn an_error_ends_one_operation_and_the_next_begins() {
    let errnos = [
        libc::EBADF,
        libc::ECANCELED, // nobody here has asked for it
        libc::ECONNRESET,
        libc::EFAULT,
        libc::EINVAL,
        libc::EMFILE,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::ENOTCONN,
        libc::EPERM,
        libc::ETIMEDOUT,
    ];
    for errno in errnos {
        let Some(mut reactor) = tiny(64, 128) else { return };
        let (_ours, source, mut theirs) = pair();
        let [first, second] = [(); 2].map(|()| Pending::recv(source, 16));
        first.submit_pending(&mut reactor);
        second.submit_pending(&mut reactor);
        let uring = inner(&mut reactor);
        let token = Token::Op(first.ptr());
        // SAFETY: it has no buffers.
        unsafe { uring.ring.push(entry::of_cancel(token)) };
        swallow_until(uring, token);
        theirs.write_all(b"hello").unwrap();
        sys::wait_ready(source.fd, Direction::Read, None).unwrap();
        uring.apply(token, -errno, 0);
        assert_eq!(first.op.outcome(), Some(Err(errno)));
        assert_eq!(completions(&mut reactor, 2), [first.ptr(), second.ptr()]);
        assert_eq!(second.op.outcome(), Some(Ok(5)));
    }
}

#[test]
fn a_wait_for_readiness_that_fails_ends_the_operation() {
    for errno in [libc::EBADF, libc::ENOMEM] {
        let Some(mut reactor) = tiny(64, 128) else { return };
        let (_ours, source, _theirs) = pair();
        let recv = Pending::recv(source, 16);
        end_with(&mut reactor, &recv, libc::EAGAIN);
        let uring = inner(&mut reactor);
        let token = Token::Poll(recv.ptr());
        // SAFETY: it has no buffers.
        unsafe { uring.ring.push(entry::of_cancel(token)) };
        swallow_until(uring, token);
        uring.apply(token, -errno, 0);
        assert_eq!(reactor.next_completed(), Some(recv.ptr()));
        assert_eq!(recv.op.outcome(), Some(Err(errno)));
        assert_eq!(reactor.pending(), 0);
    }
}

/// A connect that the kernel is through with, which is said to have ended with `errno`.
fn connect_that_ended_with(reactor: &mut Reactor, errno: i32) -> (Pending, TcpListener, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = sys::socket::internet_socket(&address, libc::SOCK_STREAM).unwrap();
    let connect = Pending::connect(Source::new(socket.as_raw_fd()), address);
    connect.submit_pending(reactor);
    let uring = inner(reactor);
    swallow_until(uring, Token::Op(connect.ptr()));
    uring.apply(Token::Op(connect.ptr()), -errno, 0);
    (connect, listener, socket)
}

#[test]
fn a_connect_that_was_interrupted_goes_on_and_is_not_begun_again() {
    for errno in [libc::EINTR, libc::EINPROGRESS] {
        let Some(mut reactor) = tiny(64, 128) else { return };
        let (connect, listener, _socket) = connect_that_ended_with(&mut reactor, errno);
        assert_eq!(connect.op.outcome(), None);
        completions(&mut reactor, 1);
        assert_eq!(connect.op.outcome(), Some(Ok(0)));
        listener.accept().unwrap();
        listener.set_nonblocking(true).unwrap();
        listener.accept().unwrap_err();
    }
}

#[test]
fn a_connect_that_failed_has_ended() {
    let errnos = [
        (libc::ECONNREFUSED, libc::ECONNREFUSED),
        (libc::ETIMEDOUT, libc::ETIMEDOUT),
        (libc::ENETUNREACH, libc::ENETUNREACH),
        (libc::EADDRNOTAVAIL, libc::EADDRNOTAVAIL),
        // It has not begun, so there is nothing to wait for.
        (libc::EAGAIN, libc::ENOBUFS),
    ];
    for (errno, outcome) in errnos {
        let Some(mut reactor) = tiny(64, 128) else { return };
        let (connect, ..) = connect_that_ended_with(&mut reactor, errno);
        assert_eq!(connect.op.outcome(), Some(Err(outcome)));
        assert_eq!(completions(&mut reactor, 1), [connect.ptr()]);
    }
}

#[test]
fn how_a_cancellation_ended_does_not_matter() {
    let Some(mut reactor) = tiny(64, 128) else { return };
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 16);
    recv.submit_pending(&mut reactor);
    for errno in [0, libc::ENOENT, libc::EALREADY, libc::EINVAL, libc::ENOMEM] {
        inner(&mut reactor).apply(Token::Cancel, -errno, 0);
    }
    nothing_completes(&mut reactor);
    theirs.write_all(b"x").unwrap();
    completions(&mut reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Ok(1)));
}

#[test]
fn an_eventfd_that_is_not_watched_any_more_is_watched_again() {
    for errno in [0, libc::ENOMEM, libc::EAGAIN, libc::ECANCELED] {
        let Some(mut reactor) = tiny(64, 128) else { return };
        let uring = inner(&mut reactor);
        // The one it had may be an eventfd, too, and about to be watched.
        let _left_open = std::mem::replace(&mut uring.bell, Bell::EventFd(EventFd::new().unwrap()));
        // The kernel has given the watch up, or, here, has never begun.
        uring.apply(Token::Bell, -errno, 0);
        reactor.turn(Some(Duration::ZERO)).unwrap();
        let bell = reactor.bell();
        std::thread::spawn(move || bell.ring());
        reactor.turn(None).unwrap();
    }
}

/// What an accept has ended with.
fn accepted(accept: &Pending) -> OwnedFd {
    let fd = RawFd::try_from(accept.op.outcome().unwrap().unwrap()).unwrap();
    // SAFETY: made by the accept, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[test]
fn a_connection_that_a_dropped_ring_accepts_is_closed() {
    let Some(mut reactor) = tiny(64, 128) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let accept = Pending::accept(Source::new(listener.as_raw_fd()));
    accept.submit_pending(&mut reactor);
    nothing_completes(&mut reactor);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    drop(reactor);
    assert_eq!(accept.op.outcome(), Some(Err(libc::ECANCELED)));
    // Either it was accepted and closed again, or it was cancelled, and the connection is the listener's.
    match listener.accept() {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => assert_eq!(client.read(&mut [0; 1]).unwrap(), 0),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_connection_that_nobody_was_told_of_is_closed() {
    let Some(mut reactor) = tiny(64, 128) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let accept = Pending::accept(Source::new(listener.as_raw_fd()));
    accept.submit_pending(&mut reactor);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    while accept.op.outcome().is_none() {
        reactor.turn(Some(DEADLINE)).unwrap();
    }
    // It has completed, and was not handed out.
    drop(reactor);
    assert_eq!(accept.op.outcome(), Some(Err(libc::ECANCELED)));
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}
