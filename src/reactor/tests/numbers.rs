//! Descriptors' numbers: which come back, of which there are many, and of which there are several for one file.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;

use super::*;

pub(super) fn forget_cancels_and_lets_the_number_come_back(reactor: &mut Reactor) {
    let (ours, source, _theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    reactor.forget(source, false);
    completions(reactor, 1);
    drop(ours);
    // The same number, as the kernel hands out the lowest, for another socket.
    let (ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 5);
    recv.submit_pending(reactor);
    theirs.write_all(b"hello").unwrap();
    completions(reactor, 1);
    assert_eq!(&*recv.buf, b"hello");
    reactor.forget(source, false);
    drop(ours);
}

pub(super) fn a_number_comes_back_while_waits_for_readiness_are_left(reactor: &mut Reactor) {
    let (ours, source, _old_peer) = pair();
    let left = [(); 2].map(|()| Pending::ready(source, Direction::Read));
    left.iter().for_each(|ready| ready.submit_pending(reactor));
    nothing_completes(reactor);
    let number = ours.into_raw_fd();
    let (other, _, mut new_peer) = pair();
    // Closed without a word, as by another thread.
    // SAFETY: dup2 onto a number that this test owns: it closes the old and makes it a duplicate of `other`.
    assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
    let new = Source::new(number);
    let recv = Pending::recv(new, 5);
    recv.submit_pending(reactor);
    completions(reactor, 2);
    assert!(
        left.iter()
            .all(|ready| ready.op.outcome() == Some(Err(libc::ECANCELED)))
    );
    new_peer.write_all(b"hello").unwrap();
    assert_eq!(completions(reactor, 1), [recv.ptr()]);
    assert_eq!(&*recv.buf, b"hello");
    reactor.forget(new, true);
    // SAFETY: the duplicate that dup2 made above.
    drop(unsafe { std::os::fd::OwnedFd::from_raw_fd(number) });
}

pub(super) fn events_of_an_earlier_use_of_a_number_are_ignored(reactor: &mut Reactor) {
    // The open file lives on in a duplicate, so the kernel keeps its registration and goes on to report it under the old
    // number; the new owner of the number must not hear of it.
    let (ours, source, mut old_peer) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    recv.cancel(reactor);
    completions(reactor, 1);
    let _duplicate = ours.try_clone().unwrap();
    let number = ours.into_raw_fd();
    reactor.forget(source, false);
    let (other, _, mut new_peer) = pair();
    // SAFETY: dup2 onto a number that this test owns: it closes the old and makes it a duplicate of `other`.
    assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
    let new = Source::new(number);
    let recv = Pending::recv(new, 16);
    recv.submit_pending(reactor);
    old_peer.write_all(b"for the old one").unwrap();
    nothing_completes(reactor);
    new_peer.write_all(b"for the new one").unwrap();
    assert_eq!(completions(reactor, 1), [recv.ptr()]);
    assert_eq!(&recv.buf[..15], b"for the new one");
    reactor.forget(new, true);
    // SAFETY: the duplicate that dup2 made above.
    unsafe { libc::close(number) };
}

pub(super) fn duplicate_left_open_does_not_confuse_the_next_owner(reactor: &mut Reactor) {
    // The very same open file comes back under the very same number: the kernel says EEXIST.
    let (ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    recv.cancel(reactor);
    completions(reactor, 1);
    reactor.forget(source, false);
    let again = Source::new(ours.as_raw_fd());
    let recv = Pending::recv(again, 5);
    recv.submit_pending(reactor);
    theirs.write_all(b"hello").unwrap();
    completions(reactor, 1);
    assert_eq!(&*recv.buf, b"hello");
}

pub(super) fn more_ready_descriptors_than_one_batch(reactor: &mut Reactor) {
    const MANY: usize = 1_500;
    let limit = rlimit::increase_nofile_limit(3 * MANY as u64 + 100).unwrap();
    assert!(
        limit > 3 * MANY as u64,
        "this test wants {} descriptors; see ulimit -n",
        3 * MANY
    );
    // Not over TCP, where so many connections of so many backends would use the ports up.
    let mut all: Vec<_> = (0..MANY)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let source = Source::new(ours.as_raw_fd());
            (ours, source, theirs)
        })
        .collect();
    let recvs: Vec<_> = all.iter().map(|(_, source, _)| Pending::recv(*source, 1)).collect();
    for recv in &recvs {
        recv.submit_pending(reactor);
    }
    for (_, _, theirs) in &mut all {
        theirs.write_all(b"x").unwrap();
    }
    completions(reactor, MANY);
    assert!(
        recvs
            .iter()
            .all(|recv| recv.op.outcome() == Some(Ok(1)) && recv.buf[0] == b'x')
    );
}

pub(super) fn closing_ends_what_waits_and_the_peer_sees_it(reactor: &mut Reactor) {
    let (ours, source, mut theirs) = pair();
    let recvs = [(); 3].map(|()| Pending::recv(source, 8));
    for recv in &recvs {
        recv.submit_pending(reactor);
    }
    nothing_completes(reactor);
    reactor.forget(source, false);
    assert!(recvs.iter().all(|recv| recv.op.outcome() == Some(Err(libc::ECANCELED))));
    drop(ours);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    completions(reactor, 3);
    assert_eq!(reactor.pending(), 0);
}

pub(super) fn forgetting_one_leaves_the_others_alone(reactor: &mut Reactor) {
    let mut pairs = [(); 3].map(|()| pair());
    let recvs: Vec<_> = pairs.iter().map(|(_, source, _)| Pending::recv(*source, 8)).collect();
    for recv in &recvs {
        recv.submit_pending(reactor);
    }
    nothing_completes(reactor);
    for (_, _, theirs) in &mut pairs {
        theirs.write_all(b"hello").unwrap();
    }
    reactor.forget(pairs[1].1, false);
    completions(reactor, 3);
    assert_eq!(recvs[0].op.outcome(), Some(Ok(5)));
    assert!(matches!(recvs[1].op.outcome(), Some(Ok(5) | Err(libc::ECANCELED))));
    assert_eq!(recvs[2].op.outcome(), Some(Ok(5)));
}

pub(super) fn two_reactors_on_one_descriptor_do_not_disturb_each_other(reactor: &mut Reactor) {
    let mut other = open(reactor.kind()).expect("there is one already");
    let (_ours, source, mut theirs) = pair();
    let (here, there) = (Pending::recv(source, 8), Pending::recv(source, 8));
    here.submit_pending(reactor);
    there.submit_pending(&mut other);
    nothing_completes(reactor);
    nothing_completes(&mut other);
    other.cancel_all(source);
    completions(&mut other, 1);
    nothing_completes(reactor);
    other.forget(source, true);
    theirs.write_all(b"hello").unwrap();
    completions(reactor, 1);
    assert_eq!(here.op.outcome(), Some(Ok(5)));
    assert_eq!(there.op.outcome(), Some(Err(libc::ECANCELED)));
}

pub(super) fn two_numbers_of_one_file_are_two_sources(reactor: &mut Reactor) {
    let (ours, source, mut theirs) = pair();
    let duplicate = ours.try_clone().unwrap();
    let second = Source::new(duplicate.as_raw_fd());
    let recvs = [Pending::recv(source, 1), Pending::recv(second, 1)];
    for recv in &recvs {
        recv.submit_pending(reactor);
    }
    nothing_completes(reactor);
    theirs.write_all(b"ab").unwrap();
    completions(reactor, 2);
    assert!(recvs.iter().all(|recv| recv.op.outcome() == Some(Ok(1))));
    // One is closed; the other lives on.
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    reactor.forget(second, true);
    drop(duplicate);
    theirs.write_all(b"c").unwrap();
    completions(reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Ok(1)));
}
