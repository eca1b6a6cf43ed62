//! When a turn waits, and what ends it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use super::*;

pub(super) fn zero_timeout_does_not_wait(reactor: &mut Reactor) {
    let (_ours, source, _theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    // A hundred thousand turns would take a day if each waited for a second.
    for _ in 0..100_000 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(reactor.next_completed().is_none());
    reactor.forget(source, false);
    completions(reactor, 1);
}

pub(super) fn timeout_is_never_early(reactor: &mut Reactor) {
    for timeout in [1, 50_000, 100_000, 999_999, 3_100_000, 20_000_000].map(Duration::from_nanos) {
        let begin = Instant::now();
        reactor.turn(Some(timeout)).unwrap();
        assert!(begin.elapsed() >= timeout, "{:?} of {timeout:?}", begin.elapsed());
    }
}

pub(super) fn bell_rung_before_the_turn_is_not_lost(reactor: &mut Reactor) {
    for _ in 0..1_000 {
        reactor.bell().ring();
        reactor.turn(None).unwrap(); // would hang
    }
}

pub(super) fn bell_ends_a_turn_from_another_thread(reactor: &mut Reactor) {
    let bell = reactor.bell();
    let (rung, was_rung) = mpsc::channel();
    let ringer = std::thread::spawn(move || {
        for _ in 0..1_000 {
            bell.ring();
            was_rung.recv().unwrap();
        }
    });
    for _ in 0..1_000 {
        reactor.turn(None).unwrap(); // would hang
        rung.send(()).unwrap();
    }
    ringer.join().unwrap();
}

pub(super) fn many_rings_are_one(reactor: &mut Reactor) {
    for _ in 0..10_000 {
        reactor.bell().ring();
    }
    reactor.turn(None).unwrap();
    let begin = Instant::now();
    let quiet = Duration::from_millis(20);
    reactor.turn(Some(quiet)).unwrap();
    assert!(begin.elapsed() >= quiet);
}

pub(super) fn a_turn_does_not_wait_for_more_than_what_is_to_be_handed_out(reactor: &mut Reactor) {
    let (_ours, source, _theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    reactor.cancel_all(source);
    while recv.op.outcome().is_none() {
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
    }
    reactor.turn(None).unwrap(); // would hang
    completions(reactor, 1);
}

pub(super) fn timeouts_longer_than_a_number_of_milliseconds_are_waited_for(reactor: &mut Reactor) {
    // 2^31 and 2^32 milliseconds, 2^32 seconds, and all there is.
    let timeouts = [
        Duration::from_millis(1 << 31),
        Duration::from_millis(1 << 32),
        Duration::from_secs(1 << 32),
    ];
    for timeout in timeouts.into_iter().chain([Duration::MAX]) {
        let (_ours, source, mut theirs) = pair();
        let recv = Pending::recv(source, 1);
        recv.submit_pending(reactor);
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            theirs.write_all(b"x").unwrap();
            theirs
        });
        // Not round and round: it comes back for what has come, and hardly ever for what does not concern us.
        let mut turns = 0;
        while recv.op.outcome().is_none() {
            turns += 1;
            assert!(turns < 10, "a turn of {timeout:?} does not wait");
            reactor.turn(Some(timeout)).unwrap();
        }
        completions(reactor, 1);
        reactor.forget(source, false);
        writer.join().unwrap();
    }
}

pub(super) fn rings_of_many_threads_are_all_heard(reactor: &mut Reactor) {
    const THREADS: u64 = 8;
    const RINGS: u64 = 500;
    let rung = Arc::new(AtomicU64::new(0));
    let ringers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (bell, rung) = (reactor.bell(), Arc::clone(&rung));
            std::thread::spawn(move || {
                for _ in 0..RINGS {
                    rung.fetch_add(1, Ordering::SeqCst);
                    bell.ring();
                }
            })
        })
        .collect();
    // Whoever sees less than all of them is woken for the rest.
    while rung.load(Ordering::SeqCst) < THREADS * RINGS {
        reactor.turn(None).unwrap(); // would hang
    }
    for ringer in ringers {
        ringer.join().unwrap();
    }
}

pub(super) fn a_timeout_does_not_swallow_a_ring(reactor: &mut Reactor) {
    let (bell, inbox) = (reactor.bell(), Arc::new(AtomicU64::new(0)));
    let (next, is_next) = mpsc::channel::<u64>();
    let ringer = std::thread::spawn({
        let inbox = Arc::clone(&inbox);
        move || {
            for message in is_next {
                inbox.store(message, Ordering::SeqCst);
                bell.ring();
            }
        }
    });
    for message in 1..=2_000 {
        next.send(message).unwrap();
        // Times out at about the moment of the ring. Heard there or not: if the message is not seen, the ring is to come.
        reactor.turn(Some(Duration::from_micros(message % 40))).unwrap();
        while inbox.load(Ordering::SeqCst) < message {
            reactor.turn(None).unwrap(); // would hang
        }
    }
    drop(next);
    ringer.join().unwrap();
}

pub(super) fn a_ring_and_a_completion_at_once_are_both_seen(reactor: &mut Reactor) {
    let (_ours, source, mut theirs) = pair();
    for _ in 0..200 {
        let recv = Pending::recv(source, 1);
        let done = recv.submit(reactor);
        theirs.write_all(b"x").unwrap();
        reactor.bell().ring();
        assert_eq!(done, Submitted::Pending);
        completions(reactor, 1);
    }
}

pub(super) fn a_signal_ends_no_operation(reactor: &mut Reactor) {
    let handled = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let registered = signal_hook::flag::register(libc::SIGUSR2, Arc::clone(&handled)).unwrap();
    let (_ours, source, mut theirs) = pair();
    let recv = Pending::recv(source, 1);
    recv.submit_pending(reactor);
    struct Thread(libc::pthread_t);
    // SAFETY: the name of a thread, which any thread may use; a pointer on some systems.
    unsafe impl Send for Thread {}
    // SAFETY: asks for the calling thread.
    let here = Thread(unsafe { libc::pthread_self() });
    let sent = Arc::new(AtomicU64::new(0));
    let killer = std::thread::spawn({
        let sent = Arc::clone(&sent);
        move || {
            let here = here; // the whole of it
            for _ in 0..50 {
                // SAFETY: the thread waits for this one to end.
                assert_eq!(unsafe { libc::pthread_kill(here.0, libc::SIGUSR2) }, 0);
                sent.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_micros(300));
            }
        }
    });
    while sent.load(Ordering::SeqCst) < 50 {
        reactor.turn(Some(Duration::from_millis(5))).unwrap();
        assert!(reactor.next_completed().is_none());
    }
    killer.join().unwrap();
    assert!(handled.load(Ordering::SeqCst));
    theirs.write_all(b"x").unwrap();
    completions(reactor, 1);
    assert_eq!(recv.op.outcome(), Some(Ok(1)));
    signal_hook::low_level::unregister(registered);
}
