//! The contract of `backend.rs`, case by case, for every backend of this build.
//!
//! A case is a function over `&mut Reactor`; `contract!` makes a test of each for each backend, so that the list of cases is
//! the list of functions. Operations are driven by hand here, without fibers. Whether backends agree where nobody thought of
//! a case is asked in [`differential`](super::differential).

mod cancel;
mod connections;
mod ends;
mod files;
mod messages;
mod numbers;
mod parts;
mod ready;
mod refused;
mod streams;
mod turns;

use std::cell::Cell;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::*;
use crate::sys::Direction;
use crate::sys::socket::{self, Address};

macro_rules! contract {
    (@ $module:ident = $open:expr; $($group:ident: $($(#[$condition:meta])? $case:ident),* ;)*) => {
        mod $module {
            use super::*;
            $($(
                $(#[$condition])?
                #[test]
                fn $case() {
                    let _not_forked = crate::sys::forks::not_forked();
                    if let Some(mut reactor) = $open {
                        $group::$case(&mut reactor);
                    }
                }
            )*)*
        }
    };
    ($($cases:tt)*) => {
        #[cfg(kapok_io_uring)]
        contract!(@ io_uring = open(ReactorKind::IoUring); $($cases)*);
        #[cfg(kapok_io_uring)]
        contract!(@ io_uring_before_6_13 = open_before_6_13(); $($cases)*);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        contract!(@ epoll = open(ReactorKind::Epoll); $($cases)*);
        #[cfg(kqueue)]
        contract!(@ kqueue_batched = Some(kqueues::open(Changes::Batched)); $($cases)*);
        #[cfg(kqueue)]
        contract!(@ kqueue_immediate = Some(kqueues::open(Changes::Immediate)); $($cases)*);
        #[cfg(kqueue)]
        contract!(@ kqueue_pipe = Some(kqueues::open_with_pipe()); $($cases)*);
        contract!(@ poll = open(ReactorKind::Poll); $($cases)*);
    };
}

contract!(
    streams:
        done_at_once_when_nothing_has_to_wait,
        pending_until_data_comes,
        one_completion_each_in_order_of_submission,
        directions_are_independent,
        short_reads_lose_nothing,
        peek_leaves_the_bytes_and_the_readiness,
        readiness_that_is_gone_again_is_waited_for_anew,
        writes_in_line_follow_the_one_that_waits_for_room,
        what_is_sent_without_an_operation_overtakes_none;
    ends:
        end_of_file_and_reset_are_outcomes,
        data_and_end_in_one_segment_are_both_seen,
        each_end_can_close_one_direction,
        a_reset_ends_both_directions,
        what_came_before_the_end_is_read_first;
    connections:
        accept_waits_for_a_connection,
        connect_completes_or_fails,
        connections_are_accepted_by_those_who_wait_in_order,
        #[cfg(target_os = "linux")] a_connect_that_takes_for_ever_can_be_ended;
    cancel:
        cancelled_completes_once_with_ecanceled,
        cancel_after_completion_changes_nothing,
        cancel_all_ends_both_directions,
        cancelling_the_first_lets_the_next_have_its_turn,
        cancelling_twice_ends_once,
        a_cancelled_buffer_is_nobodys_afterwards,
        what_comes_while_it_is_cancelled_is_not_lost,
        a_direction_that_was_cancelled_when_full_can_be_written_to_again;
    numbers:
        forget_cancels_and_lets_the_number_come_back,
        a_number_comes_back_while_waits_for_readiness_are_left,
        events_of_an_earlier_use_of_a_number_are_ignored,
        duplicate_left_open_does_not_confuse_the_next_owner,
        more_ready_descriptors_than_one_batch,
        closing_ends_what_waits_and_the_peer_sees_it,
        forgetting_one_leaves_the_others_alone,
        two_reactors_on_one_descriptor_do_not_disturb_each_other,
        two_numbers_of_one_file_are_two_sources;
    turns:
        zero_timeout_does_not_wait,
        timeout_is_never_early,
        bell_rung_before_the_turn_is_not_lost,
        bell_ends_a_turn_from_another_thread,
        many_rings_are_one,
        a_turn_does_not_wait_for_more_than_what_is_to_be_handed_out,
        timeouts_longer_than_a_number_of_milliseconds_are_waited_for,
        rings_of_many_threads_are_all_heard,
        a_timeout_does_not_swallow_a_ring,
        a_ring_and_a_completion_at_once_are_both_seen,
        a_signal_ends_no_operation;
    messages:
        pipes_are_read_and_written_and_end,
        a_short_message_does_not_hide_the_next,
        a_message_that_nobody_takes_is_an_error_once;
    ready:
        readiness_is_waited_for_and_takes_nothing,
        readiness_for_writing_comes_with_room,
        an_end_is_readiness,
        waiting_for_readiness_can_be_cancelled,
        #[cfg(any(target_os = "linux", target_os = "android"))] a_file_is_always_ready,
        a_closed_number_is_an_error;
    files:
        files_are_taken_by_completion_kernels_alone;
);

/// Opens one; `None`, visibly, where the system forbids what it needs, unless `KAPOK_REQUIRE_REACTORS` names it.
pub(crate) fn open(kind: ReactorKind) -> Option<Reactor> {
    unless_refused(kind, Reactor::open(Some(kind)))
}

#[cfg(kapok_io_uring)]
fn open_before_6_13() -> Option<Reactor> {
    let opened = Uring::as_before_6_13().map(|uring| Reactor::new(AnyBackend::IoUring(Box::new(uring))));
    unless_refused(ReactorKind::IoUring, opened)
}

fn unless_refused(kind: ReactorKind, opened: io::Result<Reactor>) -> Option<Reactor> {
    match opened {
        Ok(reactor) => Some(reactor),
        Err(error) => {
            let required = std::env::var("KAPOK_REQUIRE_REACTORS").unwrap_or_default();
            let may_be_refused = kind == ReactorKind::IoUring && !required.split(',').any(|name| name == kind.name());
            assert!(may_be_refused, "{error}");
            writeln!(io::stderr(), "SKIP {kind}: {error}").unwrap();
            None
        }
    }
}

/// One operation with its buffer, pinned on the heap instead of in a fiber's frame.
pub(super) struct Pending {
    pub(super) op: Pin<Box<Op>>,
    pub(super) buf: Box<[u8]>,
    _address: Box<Cell<Address>>,
}

impl Pending {
    fn new(source: Source, len: usize, kind: impl FnOnce(NonNull<u8>, NonNull<Address>) -> Kind) -> Pending {
        let mut buf = vec![0; len].into_boxed_slice();
        let address = Box::new(Cell::new(Address::empty()));
        let kind = kind(NonNull::from(&mut *buf).cast(), NonNull::new(address.as_ptr()).unwrap());
        Pending {
            op: Box::pin(Op::new(source, kind)),
            buf,
            _address: address,
        }
    }

    pub(super) fn recv(source: Source, len: usize) -> Pending {
        Pending::recv_with(source, len, 0)
    }

    pub(super) fn recv_with(source: Source, len: usize, flags: libc::c_int) -> Pending {
        Pending::new(source, len, |buf, _| Kind::Recv { buf, len, flags })
    }

    pub(super) fn send(source: Source, len: usize) -> Pending {
        Pending::new(source, len, |buf, _| Kind::Send {
            buf,
            len,
            flags: socket::NO_SIGNAL,
        })
    }

    fn read(source: Source, len: usize) -> Pending {
        Pending::new(source, len, |buf, _| Kind::Read { buf, len })
    }

    fn write(source: Source, len: usize) -> Pending {
        Pending::new(source, len, |buf, _| Kind::Write { buf, len })
    }

    pub(super) fn ready(source: Source, direction: Direction) -> Pending {
        Pending::new(source, 0, |_, _| Kind::Ready(direction))
    }

    pub(super) fn accept(source: Source) -> Pending {
        Pending::new(source, 0, |_, address| Kind::Accept { address })
    }

    pub(super) fn connect(source: Source, to: std::net::SocketAddr) -> Pending {
        Pending::new(source, 0, |_, address| {
            // SAFETY: the box that it points into is kept beside the operation.
            unsafe { *address.as_ptr() = to.into() };
            Kind::Connect {
                address,
                started: false.into(),
            }
        })
    }

    pub(super) fn ptr(&self) -> NonNull<Op> {
        NonNull::from(&*self.op)
    }

    pub(super) fn submit(&self, reactor: &mut Reactor) -> Submitted {
        // SAFETY: pinned on the heap, with its buffers, until the test ends, which is after it has completed.
        unsafe { reactor.submit(self.ptr()) }
    }

    pub(super) fn submit_pending(&self, reactor: &mut Reactor) {
        assert_eq!(self.submit(reactor), Submitted::Pending);
    }

    pub(super) fn cancel(&self, reactor: &mut Reactor) {
        // SAFETY: submitted, and not handed out.
        unsafe { reactor.cancel(self.ptr()) };
    }
}

/// A connected pair: ours does not block and is known by its source, theirs is a plain blocking socket.
pub(super) fn pair() -> (TcpStream, Source, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    theirs.set_nodelay(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    let source = Source::new(ours.as_raw_fd());
    (ours, source, theirs)
}

/// Turns until `count` operations have completed; they are returned in order.
#[track_caller]
pub(super) fn completions(reactor: &mut Reactor, count: usize) -> Vec<NonNull<Op>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut done = Vec::new();
    while done.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} operations have completed",
            done.len()
        );
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
        done.extend(std::iter::from_fn(|| reactor.next_completed()));
    }
    assert_eq!(done.len(), count);
    done
}

#[track_caller]
pub(super) fn nothing_completes(reactor: &mut Reactor) {
    reactor.turn(Some(Duration::from_millis(20))).unwrap();
    assert!(reactor.next_completed().is_none());
}

/// Submits an operation and turns until it has ended.
#[track_caller]
fn finish(operation: &Pending, reactor: &mut Reactor) -> Outcome {
    match operation.submit(reactor) {
        Submitted::Done(outcome) => outcome,
        Submitted::Pending => {
            assert_eq!(completions(reactor, 1), [operation.ptr()]);
            operation.op.outcome().expect("it has completed")
        }
    }
}

#[cfg(kqueue)]
use super::kqueue::Changes;

/// Both ways to hand over changes, and the bell of a kernel without user events.
#[cfg(kqueue)]
mod kqueues {
    use super::super::kqueue::{Changes, Kqueue};
    use super::super::{AnyBackend, Readiness};
    use super::Reactor;

    pub(super) fn open(changes: Changes) -> Reactor {
        Reactor::new(AnyBackend::Kqueue(Readiness::new(
            Kqueue::with_changes(changes).unwrap(),
        )))
    }

    pub(super) fn open_with_pipe() -> Reactor {
        Reactor::new(AnyBackend::Kqueue(Readiness::new(
            Kqueue::with_pipe_bell(Changes::Batched).unwrap(),
        )))
    }
}
