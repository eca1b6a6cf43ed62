//! What a selector may refuse, and what becomes of the operations.

use std::io::{self, Write};
use std::os::fd::RawFd;
use std::time::Duration;

use super::super::backend::{Backend, Submitted};
use super::super::bell::Bell;
use super::super::readiness::Readiness;
use super::super::selector::{Event, Selector};
use super::{Pending, pair};
use crate::sys::Direction;

/// A selector that fails as it is told to.
#[derive(Default)]
struct Failing {
    registered: usize,
    /// Reported once as readable, and as failed.
    token: Option<u64>,
    register: Option<i32>,
    deregister: Option<i32>,
    arm: Option<i32>,
}

fn fail(with: &mut Option<i32>) -> io::Result<()> {
    with.take()
        .map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
}

impl Selector for Failing {
    fn register(&mut self, _fd: RawFd, token: u64) -> io::Result<()> {
        fail(&mut self.register)?;
        self.registered += 1;
        self.token = Some(token);
        Ok(())
    }

    fn deregister(&mut self, _fd: RawFd, _still_open: bool) -> io::Result<()> {
        fail(&mut self.deregister)
    }

    fn arm(&mut self, _fd: RawFd, _direction: Direction) -> io::Result<()> {
        fail(&mut self.arm)
    }

    fn wait(&mut self, _timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        events.extend(self.token.take().map(|token| Event {
            token,
            readable: true,
            error: Some(libc::ENOMEM),
            ..Event::default()
        }));
        Ok(())
    }

    fn bell(&self) -> Bell {
        unreachable!("nobody rings")
    }
}

fn submit(backend: &mut Readiness<Failing>, op: &Pending) -> Submitted {
    // SAFETY: pinned on the heap, with its buffer, until it has completed.
    unsafe { backend.submit(op.ptr()) }
}

#[test]
fn a_direction_that_cannot_be_watched_ends_what_waits_there_and_is_tried_again() {
    let mut backend = Readiness::new(Failing::default());
    let (_ours, source, mut theirs) = pair();
    for round in 1..=2 {
        let [first, second] = [(); 2].map(|()| Pending::recv(source, 1));
        for recv in [&first, &second] {
            assert_eq!(submit(&mut backend, recv), Submitted::Pending);
        }
        if round == 2 {
            // What an attempt gets all the same is not lost.
            theirs.write_all(b"x").unwrap();
            crate::sys::wait_ready(source.fd, Direction::Read, None).unwrap();
        }
        backend.turn(None).unwrap();
        let done: Vec<_> = std::iter::from_fn(|| backend.next_completed()).collect();
        assert_eq!(done, [first.ptr(), second.ptr()]);
        let expected = if round == 2 { Ok(1) } else { Err(libc::ENOMEM) };
        assert_eq!(first.op.outcome(), Some(expected));
        assert_eq!(second.op.outcome(), Some(Err(libc::ENOMEM)));
        assert_eq!(backend.selector().registered, round);
    }
}

#[test]
fn an_operation_that_cannot_be_watched_for_ends_alone() {
    let mut backend = Readiness::new(Failing::default());
    let (_ours, source, _theirs) = pair();
    let waits = Pending::recv(source, 1);
    // Refused twice before it begins to wait, then once when an edge came for nothing.
    backend.selector_mut().register = Some(libc::ENOSPC);
    assert_eq!(
        submit(&mut backend, &Pending::recv(source, 1)),
        Submitted::Done(Err(libc::ENOSPC))
    );
    backend.selector_mut().arm = Some(libc::ENOMEM);
    assert_eq!(
        submit(&mut backend, &Pending::recv(source, 1)),
        Submitted::Done(Err(libc::ENOMEM))
    );
    assert_eq!(backend.pending(), 0);
    assert_eq!(submit(&mut backend, &waits), Submitted::Pending);
    backend.selector_mut().arm = Some(libc::ENOSPC);
    backend.turn(None).unwrap();
    assert_eq!(backend.next_completed(), Some(waits.ptr()));
    assert_eq!(waits.op.outcome(), Some(Err(libc::ENOSPC)));
    assert_eq!(backend.pending(), 0);
}

#[test]
fn a_registration_of_an_earlier_use_is_replaced() {
    // Whether it can be taken out is not what decides.
    for deregister in [None, Some(libc::ENOENT)] {
        let mut backend = Readiness::new(Failing {
            register: Some(libc::EEXIST),
            deregister,
            ..Failing::default()
        });
        let (_ours, source, _theirs) = pair();
        let recv = Pending::recv(source, 1);
        assert_eq!(submit(&mut backend, &recv), Submitted::Pending);
        assert_eq!(backend.selector().registered, 1);
        backend.forget(source, false);
        assert_eq!(recv.op.outcome(), Some(Err(libc::ECANCELED)));
    }
}
