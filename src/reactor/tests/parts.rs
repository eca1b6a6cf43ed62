//! The parts that backends are made of.

use std::io::{self, Write};
use std::os::fd::RawFd;
use std::time::Duration;

use super::super::op::OpList;
use super::super::selector::{Event, Selector};
use super::*;

/// A selector that fails in one direction each time that something was registered.
struct Failing {
    registered: usize,
    token: Option<u64>,
}

impl Selector for Failing {
    fn register(&mut self, _fd: RawFd, token: u64) -> io::Result<()> {
        self.registered += 1;
        self.token = Some(token);
        Ok(())
    }

    fn deregister(&mut self, _fd: RawFd, _still_open: bool) -> io::Result<()> {
        Ok(())
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

#[test]
fn a_direction_that_cannot_be_watched_ends_what_waits_there_and_is_tried_again() {
    let mut backend = Readiness::new(Failing {
        registered: 0,
        token: None,
    });
    let (_ours, source, mut theirs) = pair();
    for round in 1..=2 {
        let [first, second] = [(); 2].map(|()| Pending::recv(source, 1));
        for recv in [&first, &second] {
            // SAFETY: pinned on the heap, with its buffer, until it has completed.
            assert_eq!(unsafe { backend.submit(recv.ptr()) }, Submitted::Pending);
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
fn lists_keep_their_order_when_members_leave() {
    let source = Source::new(0);
    let ops: Vec<_> = (0..4).map(|_| Pending::recv(source, 0)).collect();
    let mut list = OpList::default();
    for op in &ops {
        // SAFETY: in no list, and kept until the end.
        unsafe { list.push_back(op.ptr()) };
    }
    for removed in [2, 0, 3] {
        assert!(list.contains(ops[removed].ptr()));
        // SAFETY: in this list.
        unsafe { list.remove(ops[removed].ptr()) };
        assert!(!list.contains(ops[removed].ptr()));
    }
    assert_eq!(list.pop_front(), Some(ops[1].ptr()));
    assert_eq!(list.pop_front(), None);
    assert!(list.is_empty());
}

#[test]
fn a_reactor_that_does_not_exist_is_named_with_those_that_do() {
    let error = "iocp".parse::<ReactorKind>().unwrap_err().to_string();
    assert!(error.contains("\"iocp\"") && error.contains("epoll"), "{error}");
}
