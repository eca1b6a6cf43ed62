//! Reading from and writing to a stream.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use super::*;

pub(super) fn done_at_once_when_nothing_has_to_wait(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let send = Pending::send(source, 3);
    assert_eq!(send.submit(reactor), Submitted::Done(Ok(3)));
    theirs.write_all(b"hello").unwrap();
    // The bytes may take a moment on their way; what counts is that a submitted operation that is done stays silent.
    let first = Pending::recv(source, 5);
    if first.submit(reactor) == Submitted::Pending {
        completions(reactor, 1);
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(reactor.next_completed().is_none());
    assert_eq!(reactor.pending(), 0);
}

pub(super) fn pending_until_data_comes(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 16);
    recv.submit_pending(reactor);
    assert_eq!(reactor.pending(), 1);
    nothing_completes(reactor);
    theirs.write_all(b"hello").unwrap();
    assert_eq!(completions(reactor, 1), [recv.ptr()]);
    assert_eq!(recv.op.outcome(), Some(Ok(5)));
    assert_eq!(&recv.buf[..5], b"hello");
    assert_eq!(reactor.pending(), 0);
}

pub(super) fn one_completion_each_in_order_of_submission(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let all: Vec<_> = (0..10).map(|_| Pending::recv(source, 1)).collect();
    for recv in &all {
        recv.submit_pending(reactor);
    }
    theirs.write_all(b"0123456789").unwrap();
    let expected: Vec<_> = all.iter().map(Pending::ptr).collect();
    assert_eq!(completions(reactor, 10), expected);
    assert_eq!(all.iter().map(|recv| recv.buf[0]).collect::<Vec<_>>(), b"0123456789");
    nothing_completes(reactor);
}

pub(super) fn directions_are_independent(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 16);
    recv.submit_pending(reactor);
    // Fill the connection, so that a send has to wait while the recv does.
    let mut sends = Vec::new();
    let mut fill = |reactor: &mut Reactor| loop {
        let send = Pending::send(source, 1 << 16);
        let submitted = send.submit(reactor);
        sends.push(send);
        if submitted == Submitted::Pending {
            break sends.last().unwrap().ptr();
        }
    };
    let mut waiting = fill(reactor);
    theirs.write_all(b"hello").unwrap();
    // On a slow machine what was sent is still on its way, and makes room when it arrives: then another send waits.
    let mut received = false;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !received {
        assert!(Instant::now() < deadline, "a send that waits kept the recv from ending");
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
        let done: Vec<_> = std::iter::from_fn(|| reactor.next_completed()).collect();
        received = done.contains(&recv.ptr());
        if done.contains(&waiting) {
            waiting = fill(reactor);
        }
    }
    assert_eq!(recv.op.outcome(), Some(Ok(5)));
    let waiting = sends.pop().unwrap();
    let mut drained = vec![0; 1 << 16];
    while reactor.pending() > 0 && waiting.op.outcome().is_none() {
        assert!(theirs.read(&mut drained).unwrap() > 0);
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(completions(reactor, 1), [waiting.ptr()]);
    assert!(matches!(waiting.op.outcome(), Some(Ok(n)) if n > 0));
}

pub(super) fn short_reads_lose_nothing(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let writer = std::thread::spawn(move || {
        for i in 0..20_000_u32 {
            theirs.write_all(&i.to_be_bytes()[..1 + (i % 4) as usize]).unwrap();
        }
    });
    let expected: usize = (0..20_000).map(|i| 1 + i % 4).sum();
    let mut received = 0;
    while received < expected {
        let recv = Pending::recv(source, 1 + received % 300);
        let outcome = match recv.submit(reactor) {
            Submitted::Done(outcome) => outcome,
            Submitted::Pending => {
                completions(reactor, 1);
                recv.op.outcome().unwrap()
            }
        };
        received += outcome.unwrap();
    }
    assert_eq!(received, expected);
    writer.join().unwrap();
}

pub(super) fn peek_leaves_the_bytes_and_the_readiness(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let peek = Pending::recv_with(source, 16, libc::MSG_PEEK);
    peek.submit_pending(reactor);
    theirs.write_all(b"hello").unwrap();
    completions(reactor, 1);
    assert_eq!(peek.op.outcome(), Some(Ok(5)));
    let recv = Pending::recv(source, 16);
    assert_eq!(recv.submit(reactor), Submitted::Done(Ok(5)));
    assert_eq!(&recv.buf[..5], b"hello");
}

pub(super) fn readiness_that_is_gone_again_is_waited_for_anew(reactor: &mut Reactor) {
    // Another reader of the same socket was faster: the edge is there, the bytes are not.
    #[cfg(kapok_io_uring)]
    if matches!(&reactor.backend, AnyBackend::IoUring(uring) if !uring.defers()) {
        writeln!(
            io::stderr(),
            "SKIP: before Linux 6.1 the kernel receives at once, and nobody is faster"
        )
        .unwrap();
        return;
    }
    let (mut ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 16);
    recv.submit_pending(reactor);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    for _ in 0..3 {
        theirs.write_all(b"gone").unwrap();
        crate::sys::wait_ready(ours.as_raw_fd(), Direction::Read, None).unwrap();
        assert_eq!(ours.read(&mut [0; 16]).unwrap(), 4);
        nothing_completes(reactor);
    }
    theirs.write_all(b"kept").unwrap();
    assert_eq!(completions(reactor, 1), [recv.ptr()]);
    assert_eq!(recv.op.outcome(), Some(Ok(4)));
    assert_eq!(&recv.buf[..4], b"kept");
}

pub(super) fn writes_in_line_follow_the_one_that_waits_for_room(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let mut sends = Vec::new();
    let mut taken = 0;
    loop {
        let send = Pending::send(source, 1 << 16);
        match send.submit(reactor) {
            Submitted::Done(outcome) => taken += outcome.unwrap(),
            Submitted::Pending => {
                sends.push(send);
                break;
            }
        }
    }
    for _ in 0..3 {
        let send = Pending::send(source, 1 << 16);
        send.submit_pending(reactor);
        sends.push(send);
    }
    let mut drained = vec![0; 1 << 16];
    let mut done = Vec::new();
    let mut got = 0;
    while done.len() < sends.len() {
        got += theirs.read(&mut drained).unwrap();
        reactor.turn(Some(Duration::ZERO)).unwrap();
        done.extend(std::iter::from_fn(|| reactor.next_completed()));
    }
    assert_eq!(done, sends.iter().map(Pending::ptr).collect::<Vec<_>>());
    taken += sends
        .iter()
        .map(|send| send.op.outcome().unwrap().unwrap())
        .sum::<usize>();
    while got < taken {
        got += theirs.read(&mut drained).unwrap();
    }
    assert_eq!(got, taken);
}

pub(super) fn what_is_sent_without_an_operation_overtakes_none(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let bytes = vec![7; 1 << 16];
    let mut taken = 0;
    // A backend that always wants an operation gives none here, and is left with what follows.
    while let Some(outcome) = reactor.send_at_once(source, &bytes, 0) {
        taken += outcome.unwrap();
    }
    let send = loop {
        let send = Pending::send(source, 1 << 16);
        match send.submit(reactor) {
            Submitted::Done(outcome) => taken += outcome.unwrap(),
            Submitted::Pending => break send,
        }
    };
    assert_eq!(reactor.send_at_once(source, b"x", 0), None, "somebody waits in line");
    let mut drained = vec![0; 1 << 16];
    let mut got = 0;
    while send.op.outcome().is_none() {
        got += theirs.read(&mut drained).unwrap();
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(completions(reactor, 1), [send.ptr()]);
    taken += send.op.outcome().unwrap().unwrap();
    while got < taken {
        got += theirs.read(&mut drained).unwrap();
    }
    assert_eq!(got, taken);
    drop(theirs);
    // What can be told is told, in one way or the other.
    let broken = std::iter::repeat_with(|| reactor.send_at_once(source, b"x", socket::NO_SIGNAL))
        .take(1_000)
        .find_map(|outcome| outcome.map_or(Some(Ok(0)), |outcome| outcome.is_err().then_some(outcome)));
    assert!(
        matches!(broken, Some(Ok(0) | Err(libc::EPIPE | libc::ECONNRESET))),
        "{broken:?}"
    );
}
