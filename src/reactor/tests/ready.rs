//! Waiting for readiness, with the transfer left to somebody else.

use std::io::{Read, Write};

use super::*;

pub(super) fn readiness_is_waited_for_and_takes_nothing(reactor: &mut Reactor) {
    let (mut ours, source, mut theirs) = pair();
    for round in 0..3 {
        let ready = [(); 2].map(|()| Pending::ready(source, Direction::Read));
        ready.iter().for_each(|ready| ready.submit_pending(reactor));
        nothing_completes(reactor);
        theirs.write_all(b"ab").unwrap();
        completions(reactor, 2);
        assert!(ready.iter().all(|ready| ready.op.outcome() == Some(Ok(0))), "{round}");
        // A part is taken behind the reactor's back: what is left is still seen.
        ours.read_exact(&mut [0]).unwrap();
        let again = Pending::ready(source, Direction::Read);
        assert_eq!(finish(&again, reactor), Ok(0));
        ours.read_exact(&mut [0]).unwrap();
    }
}

pub(super) fn readiness_for_writing_comes_with_room(reactor: &mut Reactor) {
    let (mut ours, source, mut theirs) = pair();
    assert_eq!(finish(&Pending::ready(source, Direction::Write), reactor), Ok(0));
    let mut sent = 0;
    while let Ok(n) = ours.write(&[0; 65536]) {
        sent += n;
    }
    let ready = Pending::ready(source, Direction::Write);
    ready.submit_pending(reactor);
    nothing_completes(reactor);
    theirs.read_exact(&mut vec![0; sent]).unwrap();
    completions(reactor, 1);
    assert_eq!(ready.op.outcome(), Some(Ok(0)));
    assert!(ours.write(&[0]).is_ok());
}

pub(super) fn an_end_is_readiness(reactor: &mut Reactor) {
    let (mut ours, source, theirs) = pair();
    let ready = Pending::ready(source, Direction::Read);
    ready.submit_pending(reactor);
    drop(theirs);
    completions(reactor, 1);
    assert_eq!(ready.op.outcome(), Some(Ok(0)));
    assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    assert_eq!(finish(&Pending::ready(source, Direction::Read), reactor), Ok(0));
}

pub(super) fn waiting_for_readiness_can_be_cancelled(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    let ready = Pending::ready(source, Direction::Read);
    ready.submit_pending(reactor);
    ready.cancel(reactor);
    completions(reactor, 1);
    assert_eq!(ready.op.outcome(), Some(Err(libc::ECANCELED)));
    let ready = Pending::ready(source, Direction::Read);
    ready.submit_pending(reactor);
    theirs.write_all(b"x").unwrap();
    completions(reactor, 1);
    assert_eq!(ready.op.outcome(), Some(Ok(0)));
    reactor.forget(source, false);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn a_file_is_always_ready(reactor: &mut Reactor) {
    let file = tempfile::tempfile().unwrap();
    let source = Source::new(file.as_raw_fd());
    for direction in [Direction::Read, Direction::Write] {
        assert_eq!(finish(&Pending::ready(source, direction), reactor), Ok(0));
    }
    reactor.forget(source, false);
}

pub(super) fn a_closed_number_is_an_error(reactor: &mut Reactor) {
    // Above what this process opens.
    let source = Source::new(4000);
    assert_eq!(
        finish(&Pending::ready(source, Direction::Read), reactor),
        Err(libc::EBADF)
    );
}
