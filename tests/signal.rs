//! Signals. Each test is a process of its own, as handlers belong to the process.

#[path = "support/mod.rs"]
mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kapok::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, Signals, ctrl_c};
use kapok::{fiber, no_suspend, spawn, timeout};

use support::{all_is_closed_since, child, open_descriptors, panics, run, run_on_one, says};

/// Sends a signal to this process; it has come when this returns, if this thread does not block it.
#[expect(unsafe_code, reason = "std cannot raise a signal")]
fn raise(signal: i32) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

#[test]
fn they_are_received_by_all_who_listen_and_once_each() {
    child::undisturbed("they_are_received_by_all_who_listen_and_once_each", || {
        run(|| {
            let first = Signals::new([SIGTERM, SIGUSR1, SIGTERM]).unwrap();
            let second = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
            assert_eq!((first.try_recv(), second.try_recv()), (None, None));
            raise(SIGUSR1);
            raise(SIGUSR1);
            assert_eq!(first.recv().unwrap(), SIGUSR1);
            assert_eq!(second.recv().unwrap(), SIGUSR1);
            assert_eq!((first.try_recv(), second.try_recv()), (None, None));
            raise(SIGTERM);
            raise(SIGUSR2);
            assert_eq!((first.recv().unwrap(), second.recv().unwrap()), (SIGTERM, SIGUSR2));
            assert_eq!((first.try_recv(), second.try_recv()), (None, None));
        });
    });
}

#[test]
fn who_waits_is_woken_in_fibers_and_threads() {
    child::undisturbed("who_waits_is_woken_in_fibers_and_threads", || {
        run(|| {
            let signals = Arc::new(Signals::new([SIGUSR1, SIGUSR2, SIGHUP]).unwrap());
            for _ in 0..50 {
                let waiting: Vec<_> = (0..2)
                    .map(|_| {
                        let signals = Arc::clone(&signals);
                        spawn(move || signals.recv().unwrap())
                    })
                    .collect();
                let theirs = Arc::clone(&signals);
                let thread = thread::spawn(move || (&*theirs).next().unwrap());
                fiber::yield_now();
                for signal in [SIGUSR1, SIGUSR2, SIGHUP] {
                    raise(signal);
                }
                let mut got: Vec<_> = waiting.into_iter().map(|fiber| fiber.join().unwrap()).collect();
                got.push(kapok::blocking(|| thread.join().unwrap()));
                got.sort_unstable();
                let mut all = [SIGUSR1, SIGUSR2, SIGHUP];
                all.sort_unstable();
                assert_eq!(got, all);
            }
        });
    });
}

#[test]
fn a_wait_that_is_cancelled_has_taken_none() {
    child::undisturbed("a_wait_that_is_cancelled_has_taken_none", || {
        run_on_one(|| {
            let signals = Signals::new([SIGUSR1]).unwrap();
            timeout(Duration::from_millis(5), || signals.recv()).unwrap_err();
            says(&panics(|| no_suspend(|| signals.recv())), &["no_suspend"]);
            raise(SIGUSR1);
            assert_eq!(no_suspend(|| signals.recv()).unwrap(), SIGUSR1);
        });
    });
}

static EARLIER: AtomicUsize = AtomicUsize::new(0);
static LATER: AtomicUsize = AtomicUsize::new(0);

#[test]
#[expect(unsafe_code, reason = "handlers of somebody else")]
fn handlers_of_others_are_called_and_put_back() {
    child::undisturbed("handlers_of_others_are_called_and_put_back", || {
        run(|| {
            extern "C" fn plain(signal: i32) {
                EARLIER.fetch_add(usize::try_from(signal).unwrap(), Ordering::SeqCst);
            }
            let action = |function: usize| {
                // SAFETY: all zeroes is a valid sigaction.
                let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
                action.sa_sigaction = function;
                action
            };
            let new = action(plain as *const () as usize);
            // SAFETY: a valid action.
            let installed = unsafe { libc::sigaction(SIGUSR1, &raw const new, std::ptr::null_mut()) };
            assert_eq!(installed, 0);
            let one = usize::try_from(SIGUSR1).unwrap();
            for round in 1..=3 {
                let signals = Signals::new([SIGUSR1]).unwrap();
                raise(SIGUSR1);
                assert_eq!(signals.recv().unwrap(), SIGUSR1);
                drop(signals);
                assert_eq!(EARLIER.load(Ordering::SeqCst), (2 * round - 1) * one);
                raise(SIGUSR1); // and it is theirs alone again
                assert_eq!(EARLIER.load(Ordering::SeqCst), 2 * round * one);
            }
            // One that comes later, and passes on, stays above; ours goes on to hear, also with new listeners.
            let signals = Signals::new([SIGUSR1]).unwrap();
            let count = || {
                LATER.fetch_add(1, Ordering::SeqCst);
            };
            // SAFETY: the handler counts, which it may.
            unsafe { signal_hook::low_level::register(SIGUSR1, count) }.unwrap();
            drop(signals);
            for round in 1..=2 {
                let signals = Signals::new([SIGUSR1]).unwrap();
                raise(SIGUSR1);
                assert_eq!(signals.recv().unwrap(), SIGUSR1);
                assert_eq!(signals.try_recv(), None);
                assert_eq!(LATER.load(Ordering::SeqCst), round);
                assert_eq!(EARLIER.load(Ordering::SeqCst), (6 + round) * one);
            }
        });
    });
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    let refused = [0, -1, 65, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGILL];
    for signal in refused {
        assert_eq!(
            Signals::new([SIGUSR1, signal]).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
    says(
        &Signals::new([libc::SIGKILL]).unwrap_err().to_string(),
        &["9", "cannot be caught"],
    );
    // One of libc's own.
    #[cfg(target_os = "linux")]
    Signals::new([32]).unwrap_err();
}

#[test]
fn the_default_comes_back_with_the_last_listener() {
    let ended = child::alone(
        "the_default_comes_back_with_the_last_listener",
        |_| (),
        || {
            default_for(SIGINT);
            run(|| {
                let before = open_descriptors();
                let waiting = spawn(ctrl_c);
                while !listens_to(SIGINT) {
                    fiber::sleep(Duration::from_micros(100));
                }
                raise(SIGINT);
                waiting.join().unwrap().unwrap();
                all_is_closed_since(before);
                support::show("still here");
                raise(SIGINT);
                unreachable!("it has ended the process");
            });
        },
    );
    if let Some(ended) = ended {
        says(&ended.killed_by(&[SIGINT]), &["still here"]);
    }
}

/// A shell has those that it starts in the background ignore SIGINT.
#[expect(unsafe_code, reason = "std cannot take a handler away")]
fn default_for(signal: i32) {
    // SAFETY: it takes no handler away that somebody counts on.
    assert_ne!(unsafe { libc::signal(signal, libc::SIG_DFL) }, libc::SIG_ERR);
}

#[expect(unsafe_code, reason = "std cannot ask for a handler")]
fn listens_to(signal: i32) -> bool {
    // SAFETY: all zeroes is a valid sigaction.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: there is room for one.
    assert_eq!(unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut now) }, 0);
    now.sa_sigaction != libc::SIG_DFL
}

#[test]
fn listeners_come_and_go_while_signals_come() {
    child::undisturbed("listeners_come_and_go_while_signals_come", || {
        let _watchdog = support::watchdog();
        // Keeps the default away.
        let always = Signals::new([SIGUSR1]).unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        let before = open_descriptors();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let done = Arc::clone(&done);
                thread::spawn(move || {
                    for _ in 0..300 {
                        let signals = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
                        raise(SIGUSR1);
                        assert_eq!(signals.recv().unwrap(), SIGUSR1);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((done.load(Ordering::SeqCst), always.recv().unwrap()), (3, SIGUSR1));
        all_is_closed_since(before);
    });
}
