//! How streams end: at each end, in each direction, in good order or not.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::*;
use crate::sys::socket;

pub(super) fn end_of_file_and_reset_are_outcomes(reactor: &mut Reactor) {
    let (_ours, source, theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    theirs.shutdown(Shutdown::Write).unwrap();
    completions(reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Ok(0)));
    // At the end it stays at the end, without waiting.
    let recv = Pending::recv(source, 1);
    assert_eq!(recv.submit(reactor), Submitted::Done(Ok(0)));

    let (mut ours, source, theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    ours.write_all(b"never read").unwrap();
    // Closing with unread data resets the connection.
    let mut one = [0];
    theirs.peek(&mut one).unwrap();
    drop(theirs);
    completions(reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Err(libc::ECONNRESET)));
}

pub(super) fn data_and_end_in_one_segment_are_both_seen(reactor: &mut Reactor) {
    for _ in 0..100 {
        let (_ours, source, mut theirs) = pair();
        let recv = Pending::recv(source, 16);
        recv.submit_pending(reactor);
        theirs.write_all(b"bye").unwrap();
        drop(theirs);
        completions(reactor, 1);
        assert_eq!(recv.op.outcome(), Some(Ok(3)));
        // That was a short read; the end must be seen all the same, whether its edge came with the data or after it.
        let recv = Pending::recv(source, 16);
        if recv.submit(reactor) == Submitted::Pending {
            completions(reactor, 1);
            assert_eq!(recv.op.outcome(), Some(Ok(0)));
        }
        reactor.forget(source, false);
    }
}

pub(super) fn each_end_can_close_one_direction(reactor: &mut Reactor) {
    // The peer's: reading ends, writing goes on.
    let (_ours, source, mut theirs) = pair();
    let recvs = [(); 2].map(|()| Pending::recv(source, 1));
    for recv in &recvs {
        recv.submit_pending(reactor);
    }
    theirs.shutdown(Shutdown::Write).unwrap();
    completions(reactor, 2);
    assert!(recvs.iter().all(|recv| recv.op.outcome() == Some(Ok(0))));
    assert_eq!(finish(&Pending::send(source, 5), reactor), Ok(5));
    theirs.read_exact(&mut [0; 5]).unwrap();
    reactor.forget(source, false);

    // Ours for writing: reading goes on.
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 5);
    recv.submit_pending(reactor);
    socket::shutdown(source.fd, Shutdown::Write).unwrap();
    assert_eq!(finish(&Pending::send(source, 5), reactor), Err(libc::EPIPE));
    nothing_completes(reactor);
    theirs.write_all(b"hello").unwrap();
    completions(reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Ok(5)));
    reactor.forget(source, false);

    // Ours for reading: what waits there ends.
    let (_ours, source, _theirs) = pair();
    let recv = Pending::recv(source, 5);
    recv.submit_pending(reactor);
    nothing_completes(reactor);
    socket::shutdown(source.fd, Shutdown::Read).unwrap();
    completions(reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Ok(0)));
    reactor.forget(source, false);
}

pub(super) fn a_reset_ends_both_directions(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    let send = loop {
        let send = Pending::send(source, 1 << 16);
        if send.submit(reactor) == Submitted::Pending {
            break send;
        }
    };
    nothing_completes(reactor);
    // With bytes unread, closing is a reset.
    theirs.read_exact(&mut [0]).unwrap();
    drop(theirs);
    completions(reactor, 2);
    // The socket has one error, which the first to ask is given.
    assert!(
        matches!(recv.op.outcome(), Some(Err(libc::ECONNRESET) | Ok(0))),
        "{:?}",
        recv.op.outcome()
    );
    let broken = [Some(Err(libc::ECONNRESET)), Some(Err(libc::EPIPE))];
    assert!(broken.contains(&send.op.outcome()), "{:?}", send.op.outcome());
    assert_eq!(finish(&Pending::send(source, 1), reactor), Err(libc::EPIPE));
    assert_eq!(finish(&Pending::recv(source, 1), reactor), Ok(0));
}

pub(super) fn what_came_before_the_end_is_read_first(reactor: &mut Reactor) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let source = Source::new(ours.as_raw_fd());
    assert_eq!(finish(&Pending::send(source, 1), reactor), Ok(1));
    theirs.write_all(b"last words").unwrap();
    drop(theirs); // with a byte unread
    assert_eq!(finish(&Pending::recv(source, 4), reactor), Ok(4));
    assert_eq!(finish(&Pending::recv(source, 40), reactor), Ok(6));
    assert_eq!(finish(&Pending::recv(source, 40), reactor), Err(libc::ECONNRESET));
    assert_eq!(finish(&Pending::recv(source, 40), reactor), Ok(0));
}
