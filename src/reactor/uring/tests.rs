//! What a ring can do wrong and readiness cannot. The contract itself is tested in `reactor/tests`.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::super::tests::{Pending, completions, nothing_completes, open, pair};
use super::super::{AnyBackend, Reactor, ReactorKind};
use super::*;

/// One with tiny queues; `None` where the system refuses any.
pub(super) fn tiny(submissions: u32, completions: u32) -> Option<Reactor> {
    open(ReactorKind::IoUring)?;
    let uring = Uring::with(Mode::Deferred, true, submissions, completions).unwrap();
    Some(Reactor::new(AnyBackend::IoUring(Box::new(uring))))
}

pub(super) fn inner(reactor: &mut Reactor) -> &mut Uring {
    match &mut reactor.backend {
        AnyBackend::IoUring(uring) => uring,
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_submissions_and_completions_than_the_queues_hold() {
    let Some(mut reactor) = tiny(4, 8) else { return };
    let mut pairs: Vec<_> = (0..100).map(|_| pair()).collect();
    for round in 0..3 {
        let recvs: Vec<_> = pairs.iter().map(|(_, source, _)| Pending::recv(*source, 1)).collect();
        for recv in &recvs {
            recv.submit_pending(&mut reactor);
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
        for (_, _, theirs) in &mut pairs {
            theirs.write_all(&[round]).unwrap();
        }
        completions(&mut reactor, 100);
        assert!(
            recvs
                .iter()
                .all(|recv| recv.op.outcome() == Some(Ok(1)) && recv.buf[0] == round)
        );
    }
    // The bell's watch may have been given up by the kernel meanwhile.
    reactor.bell().ring();
    reactor.turn(None).unwrap();
}

#[test]
fn a_round_of_operations_is_one_system_call() {
    let Some(mut reactor) = tiny(256, 512) else { return };
    let mut pairs: Vec<_> = (0..100).map(|_| pair()).collect();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let before = inner(&mut reactor).ring.calls();
    let recvs: Vec<_> = pairs.iter().map(|(_, source, _)| Pending::recv(*source, 1)).collect();
    for recv in &recvs {
        recv.submit_pending(&mut reactor);
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(inner(&mut reactor).ring.calls(), before + 1);
    for _ in 0..1_000 {
        reactor.turn(Some(Duration::ZERO)).unwrap(); // nothing queued, nothing to fetch
    }
    assert_eq!(inner(&mut reactor).ring.calls(), before + 1);
    for (_, _, theirs) in &mut pairs {
        theirs.write_all(b"x").unwrap();
    }
    completions(&mut reactor, 100);
}

#[test]
fn cancel_before_the_kernel_has_it_while_it_has_it_and_after() {
    let Some(mut reactor) = tiny(64, 128) else { return };
    let (_ours, source, mut theirs) = pair();
    // Before: both the operation and its cancellation are in the queue.
    let queued = Pending::recv(source, 1);
    queued.submit_pending(&mut reactor);
    queued.cancel(&mut reactor);
    assert_eq!(queued.op.outcome(), None, "the kernel has to say so");
    completions(&mut reactor, 1);
    assert_eq!(queued.op.outcome(), Some(Err(libc::ECANCELED)));
    // While.
    let polled = Pending::recv(source, 1);
    polled.submit_pending(&mut reactor);
    nothing_completes(&mut reactor);
    polled.cancel(&mut reactor);
    polled.cancel(&mut reactor);
    completions(&mut reactor, 1);
    assert_eq!(polled.op.outcome(), Some(Err(libc::ECANCELED)));
    // After: it is done, but nobody has looked. The bytes are not lost.
    let done = Pending::recv(source, 1);
    done.submit_pending(&mut reactor);
    nothing_completes(&mut reactor);
    theirs.write_all(b"x").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    done.cancel(&mut reactor);
    completions(&mut reactor, 1);
    match done.op.outcome() {
        Some(Ok(1)) => {}
        Some(Err(libc::ECANCELED)) => {
            let again = Pending::recv(source, 1);
            if again.submit(&mut reactor) == Submitted::Pending {
                completions(&mut reactor, 1);
            }
        }
        other => panic!("{other:?}"),
    }
    nothing_completes(&mut reactor);
}

#[test]
fn forget_returns_when_the_kernel_has_let_go() {
    let Some(mut reactor) = tiny(64, 128) else { return };
    for turns in [0, 1] {
        let (ours, source, mut theirs) = pair();
        let recvs = [(); 3].map(|()| Pending::recv(source, 8));
        for recv in &recvs {
            recv.submit_pending(&mut reactor);
        }
        for _ in 0..turns {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        reactor.forget(source, false);
        assert!(recvs.iter().all(|recv| recv.op.outcome() == Some(Err(libc::ECANCELED))));
        // Nobody holds the socket open any more, so that the peer sees the end.
        drop(ours);
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        completions(&mut reactor, 3);
    }
    assert_eq!(reactor.pending(), 0);
}

#[test]
fn a_ring_that_is_dropped_writes_to_nobodys_memory_afterwards() {
    let Some(mut reactor) = tiny(64, 128) else { return };
    let (_first, first_source, mut first_peer) = pair();
    let (_second, second_source, mut second_peer) = pair();
    let first = Pending::recv(first_source, 8);
    first.submit_pending(&mut reactor);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let second = Pending::recv(second_source, 8);
    second.submit_pending(&mut reactor); // still in the queue
    drop(reactor);
    for (recv, peer) in [(&first, &mut first_peer), (&second, &mut second_peer)] {
        assert_eq!(recv.op.outcome(), Some(Err(libc::ECANCELED)));
        peer.write_all(b"too late").unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!((&*first.buf, &*second.buf), (&[0; 8][..], &[0; 8][..]));
}

#[test]
fn operations_are_cancelled_also_when_the_queue_is_full() {
    let Some(mut reactor) = tiny(2, 4) else { return };
    let mut pairs: Vec<_> = (0..20).map(|_| pair()).collect();
    let recvs: Vec<_> = pairs.iter().map(|(_, source, _)| Pending::recv(*source, 8)).collect();
    for recv in &recvs {
        recv.submit_pending(&mut reactor);
    }
    // Some are in the kernel, some in the queue, some beside it; there is no room for what is to cancel them.
    for recv in &recvs {
        recv.cancel(&mut reactor);
    }
    completions(&mut reactor, recvs.len());
    assert!(recvs.iter().all(|recv| recv.op.outcome() == Some(Err(libc::ECANCELED))));
    for (_, _, theirs) in &mut pairs {
        theirs.write_all(b"too late").unwrap();
    }
    nothing_completes(&mut reactor);
    assert!(recvs.iter().all(|recv| *recv.buf == [0; 8]));
}

#[test]
fn a_turn_needs_no_room_in_the_queue_for_its_timeout() {
    let Some(mut reactor) = tiny(2, 4) else { return };
    let pairs: Vec<_> = (0..20).map(|_| pair()).collect();
    let recvs: Vec<_> = pairs.iter().map(|(_, source, _)| Pending::recv(*source, 8)).collect();
    for recv in &recvs {
        recv.submit_pending(&mut reactor);
    }
    let (begin, timeout) = (Instant::now(), Duration::from_millis(5));
    reactor.turn(Some(timeout)).unwrap();
    assert!(begin.elapsed() >= timeout);
    assert_eq!(reactor.pending(), recvs.len());
    assert!(reactor.next_completed().is_none());
    drop(reactor); // which waits for all of them
    assert!(recvs.iter().all(|recv| recv.op.outcome() == Some(Err(libc::ECANCELED))));
}

#[test]
fn a_completion_that_is_not_the_last_ends_nothing() {
    const MORE: u32 = 1 << 1;
    const NOTIFICATION: u32 = 1 << 3;
    let Some(mut reactor) = tiny(64, 128) else { return };
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 8);
    recv.submit_pending(&mut reactor);
    nothing_completes(&mut reactor);
    let token = Token::Op(recv.ptr());
    for (token, result, flags) in [
        (token, 3, MORE),
        (token, 0, NOTIFICATION),
        (Token::Cancel, -libc::ENOENT, 0),
    ] {
        inner(&mut reactor).apply(token, result, flags);
        assert_eq!(recv.op.outcome(), None);
    }
    nothing_completes(&mut reactor);
    theirs.write_all(b"hello").unwrap();
    completions(&mut reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Ok(5)));
}

#[test]
fn a_child_process_is_refused() {
    let Some(mut reactor) = tiny(64, 128) else { return };
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(&mut reactor);
    let _forking = sys::forks::forking();
    // SAFETY: the child does what is below and ends; it takes no lock that another thread may hold but malloc's, which
    // libc releases for it.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = reactor.turn(Some(Duration::ZERO)).is_err();
        reactor.forget(source, false); // does nothing, and does not wait
        drop(reactor);
        // SAFETY: ends the child without running what the parent has registered.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    let mut status = 0;
    // SAFETY: waits for our child, `status` has room for what is written.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child could use the ring, or crashed");
    // The parent's is as it was.
    theirs.write_all(b"x").unwrap();
    completions(&mut reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Ok(1)));
}

#[test]
fn thousands_of_idle_reads_start_no_thread() {
    const MANY: u64 = 4096;
    let Some(mut reactor) = open(ReactorKind::IoUring) else {
        return;
    };
    let limit = rlimit::increase_nofile_limit(MANY + 4_000).unwrap();
    assert!(limit > MANY + 100, "this test wants {MANY} descriptors; see ulimit -n");
    let sockets: Vec<_> = (0..MANY)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect();
    let recvs: Vec<_> = sockets
        .iter()
        .map(|socket| Pending::recv(Source::new(socket.as_raw_fd()), 16))
        .collect();
    for recv in &recvs {
        recv.submit_pending(&mut reactor);
    }
    nothing_completes(&mut reactor);
    // The kernel names a ring's threads after the one that submits.
    // SAFETY: asks for a number.
    let thread = unsafe { libc::gettid() };
    let mine = format!("iou-wrk-{thread}");
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names: Vec<_> = threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok())
        .filter(|name| mine.starts_with(name.trim_end()))
        .collect();
    assert!(names.is_empty(), "{} threads of the kernel: {names:?}", names.len());
    drop(reactor); // before its operations
}

#[test]
fn eagain_is_waited_for() {
    let Some(mut reactor) = tiny(64, 128) else { return };
    let (_ours, source, mut theirs) = pair();
    // With this flag the kernel does not poll by itself.
    let recv = Pending::recv_with(source, 16, libc::MSG_DONTWAIT);
    recv.submit_pending(&mut reactor);
    nothing_completes(&mut reactor);
    assert!(inner(&mut reactor).lane_of(&recv.op).polling);
    theirs.write_all(b"hello").unwrap();
    completions(&mut reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Ok(5)));
    // And cancelled while our own poll is under way.
    let recv = Pending::recv_with(source, 16, libc::MSG_DONTWAIT);
    recv.submit_pending(&mut reactor);
    nothing_completes(&mut reactor);
    recv.cancel(&mut reactor);
    completions(&mut reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Err(libc::ECANCELED)));
}

#[test]
fn a_stream_is_read_and_written_by_plain_calls() {
    let Some(mut reactor) = tiny(64, 128) else { return };
    let (_ours, source, mut theirs) = pair();
    theirs.write_all(&[7; 1000]).unwrap();
    let first = Pending::recv(source, 100);
    first.submit_pending(&mut reactor);
    completions(&mut reactor, 1);
    // The kernel has said that there is more, and there is. Before 5.19 it does not say.
    let says = inner(&mut reactor).ring.mode() != Mode::Interrupting;
    for _ in 0..9 {
        let next = Pending::recv(source, 100);
        if says {
            assert_eq!(next.submit(&mut reactor), Submitted::Done(Ok(100)));
        } else {
            next.submit_pending(&mut reactor);
            completions(&mut reactor, 1);
        }
    }
    // The first send is an answer, and may be batched with others'. Those behind it are a stream.
    let answer = Pending::send(source, 10);
    answer.submit_pending(&mut reactor);
    completions(&mut reactor, 1);
    for _ in 0..9 {
        assert_eq!(Pending::send(source, 10).submit(&mut reactor), Submitted::Done(Ok(10)));
    }
    assert_eq!(reactor.pending(), 0);
}
