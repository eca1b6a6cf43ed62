//! Operations that end early.

use std::io::{Read, Write};

use super::*;

pub(super) fn cancelled_completes_once_with_ecanceled(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let [first, second, third] = [(); 3].map(|()| Pending::recv(source, 1));
    for recv in [&first, &second, &third] {
        recv.submit_pending(reactor);
    }
    second.cancel(reactor);
    assert_eq!(completions(reactor, 1), [second.ptr()]);
    assert_eq!(second.op.outcome(), Some(Err(libc::ECANCELED)));
    theirs.write_all(b"ab").unwrap();
    assert_eq!(completions(reactor, 2), [first.ptr(), third.ptr()]);
    nothing_completes(reactor);
}

pub(super) fn cancel_after_completion_changes_nothing(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    theirs.write_all(b"a").unwrap();
    while recv.op.outcome().is_none() {
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
    }
    recv.cancel(reactor);
    assert_eq!(completions(reactor, 1), [recv.ptr()]);
    assert_eq!(recv.op.outcome(), Some(Ok(1)));
}

pub(super) fn cancel_all_ends_both_directions(reactor: &mut Reactor) {
    let (_ours, source, _theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    let mut sends = vec![Pending::send(source, 1 << 20)];
    while sends.last().unwrap().submit(reactor) != Submitted::Pending {
        sends.push(Pending::send(source, 1 << 20));
    }
    reactor.cancel_all(source);
    assert_eq!(completions(reactor, 2).len(), 2);
    assert_eq!(recv.op.outcome(), Some(Err(libc::ECANCELED)));
    assert_eq!(sends.last().unwrap().op.outcome(), Some(Err(libc::ECANCELED)));
    reactor.cancel_all(source);
    nothing_completes(reactor);
}

pub(super) fn cancelling_the_first_lets_the_next_have_its_turn(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let [first, second] = [(); 2].map(|()| Pending::recv(source, 8));
    for recv in [&first, &second] {
        recv.submit_pending(reactor);
    }
    nothing_completes(reactor);
    first.cancel(reactor);
    assert_eq!(completions(reactor, 1), [first.ptr()]);
    theirs.write_all(b"hello").unwrap();
    assert_eq!(completions(reactor, 1), [second.ptr()]);
    assert_eq!(second.op.outcome(), Some(Ok(5)));
}

pub(super) fn cancelling_twice_ends_once(reactor: &mut Reactor) {
    let (_ours, source, _theirs) = pair();
    let recv = Pending::recv(source, 8);
    recv.submit_pending(reactor);
    nothing_completes(reactor);
    for _ in 0..3 {
        recv.cancel(reactor);
    }
    completions(reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Err(libc::ECANCELED)));
    reactor.cancel_all(source);
    nothing_completes(reactor);
    assert_eq!(reactor.pending(), 0);
}

pub(super) fn a_cancelled_buffer_is_nobodys_afterwards(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 8);
    recv.submit_pending(reactor);
    nothing_completes(reactor);
    recv.cancel(reactor);
    completions(reactor, 1);
    theirs.write_all(b"too late").unwrap();
    nothing_completes(reactor);
    assert_eq!(*recv.buf, [0; 8]);
    assert_eq!(finish(&Pending::recv(source, 8), reactor), Ok(8));
}

pub(super) fn what_comes_while_it_is_cancelled_is_not_lost(reactor: &mut Reactor) {
    const BYTES: u32 = 3_000;
    let (_ours, source, mut theirs) = pair();
    let writer = std::thread::spawn(move || {
        for i in 0..BYTES {
            theirs.write_all(&i.to_le_bytes()[..1]).unwrap();
        }
        theirs
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut got = 0;
    while got < BYTES {
        assert!(Instant::now() < deadline, "{got} of {BYTES} bytes");
        let recv = Pending::recv(source, 1);
        let outcome = match recv.submit(reactor) {
            Submitted::Done(outcome) => outcome,
            Submitted::Pending => {
                reactor.turn(Some(Duration::ZERO)).unwrap();
                recv.cancel(reactor);
                completions(reactor, 1);
                recv.op.outcome().unwrap()
            }
        };
        match outcome {
            Ok(n) => {
                assert_eq!((n, recv.buf[0]), (1, got.to_le_bytes()[0]));
                got += 1;
            }
            Err(errno) => assert_eq!((errno, recv.buf[0]), (libc::ECANCELED, 0)),
        }
    }
    writer.join().unwrap();
}

pub(super) fn a_direction_that_was_cancelled_when_full_can_be_written_to_again(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let mut taken = 0;
    let waiting = loop {
        let send = Pending::send(source, 1 << 16);
        match send.submit(reactor) {
            Submitted::Done(outcome) => taken += outcome.unwrap(),
            Submitted::Pending => break send,
        }
    };
    nothing_completes(reactor);
    waiting.cancel(reactor);
    completions(reactor, 1);
    taken += waiting.op.outcome().unwrap().unwrap_or(0);
    theirs.read_exact(&mut vec![0; taken]).unwrap();
    assert_eq!(finish(&Pending::send(source, 5), reactor), Ok(5));
    theirs.read_exact(&mut [0; 5]).unwrap();
}
