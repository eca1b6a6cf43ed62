//! Random scripts of operations, run on every backend of this build, and compared: `poll(2)` is the oracle, since the kernel
//! keeps nothing for it that could be stale.
//!
//! # What is compared
//!
//! A script ([`script`]) is a list of steps on a few channels. Its runner ([`run`]) makes the reactor *settle* from time to
//! time: it turns until nothing waits that does not have to, by what the script's side knows has come and gone ([`slot`]).
//! What has ended between two such points is compared, operation by operation, in the order of submission. It is equal when
//!
//! - the same operations have ended, and the same still wait;
//! - counts are the same, of streams, too: what a read finds has arrived before, or comes in one piece. Whether a message was
//!   cut off is the same;
//! - errno is the same. Over TCP, once the connection was reset, `ECONNRESET`, `EPIPE` and an end of file are one: the socket
//!   has one error, and the direction that asks first gets it.
//!
//! What the kernel may decide so or so is not compared but held against the sum:
//!
//! - An operation that is cancelled when something has come for it ends with that or with `ECANCELED`. What came is read
//!   afterwards, and has to be there to the last byte.
//! - How much of a stream a write takes that has waited for room. All of it together is what the peer gets.
//! - How reads around an urgent byte share what there is.
//!
//! And whether `submit` answers `Done` or `Pending` is a backend's own affair.
//!
//! # What is checked of each by itself, the oracle too
//!
//! Bytes follow a pattern in both directions, so loss, repetition and exchange show. An operation is handed out once, with its
//! outcome, not before those that were submitted before it, unless it was cancelled; `pending` counts right. A read that found
//! something, an accept, a write that has room do not wait. Nothing is written behind what was read, or to a buffer after its
//! operation's end, or after the reactor was dropped. When `forget` returns, all operations of the source have ended, and when
//! the descriptor is closed the peer sees it. A bell ends a turn. What is accepted does not block and is closed on exec.
//!
//! # A failure
//!
//! It is printed with its seed, the script made smaller, and the command that repeats it. `KAPOK_SEED` is the first seed,
//! `KAPOK_SCRIPTS` their number, `KAPOK_REACTOR` leaves only one reactor beside the oracle. One script alone is printed with
//! what came of it. With `KAPOK_SCRIPTS` this is to be the only test that runs: descriptors are counted then.

mod channel;
mod compare;
mod generate;
mod perform;
mod run;
mod script;
mod slot;
mod submission;
mod watch;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::Reactor;
use channel::Ground;
use compare::difference;
use run::{PATIENCE, Trace};
use script::Script;
use watch::{Watched, watch};

/// How many scripts `cargo test` runs. `ci/differential.sh` runs more.
const SCRIPTS: u64 = 300;

/// A way to open a reactor, with the name that `KAPOK_REACTOR` knows it by, and which variety of it.
#[derive(Clone, Copy)]
struct Subject {
    reactor: &'static str,
    variety: &'static str,
    open: fn() -> io::Result<Reactor>,
}

const ORACLE: Subject = Subject {
    reactor: "poll",
    variety: "",
    open: || Reactor::open(Some(super::ReactorKind::Poll)),
};

const SUBJECTS: &[Subject] = &[
    // With itself: where that differs, the script has come out by chance.
    ORACLE,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Subject {
        reactor: "epoll",
        variety: "",
        open: || Reactor::open(Some(super::ReactorKind::Epoll)),
    },
    #[cfg(kapok_io_uring)]
    Subject {
        reactor: "io_uring",
        variety: "",
        open: || Reactor::open(Some(super::ReactorKind::IoUring)),
    },
    #[cfg(kapok_io_uring)]
    Subject {
        reactor: "io_uring",
        variety: ", as before Linux 5.19, with small queues",
        open: || {
            let uring = super::uring::Uring::as_before_5_19(4, 8)?;
            Ok(Reactor::new(super::AnyBackend::IoUring(Box::new(uring))))
        },
    },
    #[cfg(kqueue)]
    Subject {
        reactor: "kqueue",
        variety: ", batched",
        open: || Ok(kqueues::open(false)),
    },
    #[cfg(kqueue)]
    Subject {
        reactor: "kqueue",
        variety: ", immediate",
        open: || Ok(kqueues::open(true)),
    },
];

#[cfg(kqueue)]
mod kqueues {
    use super::super::AnyBackend;
    use super::super::kqueue::{Changes, Kqueue};
    use super::super::readiness::Readiness;
    use super::Reactor;

    pub(super) fn open(at_once: bool) -> Reactor {
        let changes = if at_once { Changes::Immediate } else { Changes::Batched };
        let kqueue = if at_once {
            Kqueue::with_pipe_bell(changes)
        } else {
            Kqueue::with_changes(changes)
        };
        Reactor::new(AnyBackend::Kqueue(Readiness::new(kqueue.expect("a kqueue can be had"))))
    }
}

#[test]
fn every_backend_does_what_poll_does() {
    let _not_forked = crate::sys::forks::not_forked();
    let first = number("KAPOK_SEED").unwrap_or(1);
    let count = number("KAPOK_SCRIPTS").unwrap_or(SCRIPTS);
    let subjects = subjects();
    let alone = std::env::var_os("KAPOK_SCRIPTS").is_some();
    let open = open_descriptors();
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    let watched: Vec<Watched> = (0..threads).map(|_| Watched::default()).collect();
    let (working, done) = mpsc::channel();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let (next, subjects, watched) = (&next, &subjects, &watched);
        scope.spawn(move || watch(watched, &done));
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || Bench::new(number, watched[number].clone()).work(next, first + count, subjects))
            })
            .collect();
        let failures = workers
            .into_iter()
            .filter_map(|worker| worker.join().expect("a worker ends"))
            .collect();
        drop(working);
        failures
    });
    if count == 1 {
        say(&Bench::new(threads, Watched::default()).story(&Script::of(first), &subjects));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if alone {
        assert_eq!(open_descriptors(), open, "descriptors were left open");
    }
}

fn open_descriptors() -> Vec<RawFd> {
    (0..1024)
        .filter(|&fd| crate::sys::syscall!(fcntl(fd, libc::F_GETFD)).is_ok())
        .collect()
}

/// Those that are to be compared with the oracle; one that the system refuses is left out, visibly, unless it is required.
fn subjects() -> Vec<Subject> {
    let only = std::env::var("KAPOK_REACTOR").ok().filter(|name| !name.is_empty());
    let wanted = SUBJECTS
        .iter()
        .filter(|subject| only.as_deref().is_none_or(|name| name == subject.reactor));
    let required = std::env::var("KAPOK_REQUIRE_REACTORS").unwrap_or_default();
    wanted
        .filter(|subject| match (subject.open)() {
            Ok(_) => true,
            Err(error) => {
                let may_be_refused =
                    subject.reactor == "io_uring" && !required.split(',').any(|name| name == "io_uring");
                assert!(may_be_refused, "{}: {error}", subject.reactor);
                say(&format!("SKIP {}: {error}", subject.reactor));
                false
            }
        })
        .copied()
        .collect()
}

/// Where scripts are run, one after the other.
struct Bench {
    number: usize,
    ground: Ground,
    watched: Watched,
}

impl Bench {
    fn new(number: usize, watched: Watched) -> Bench {
        let address = u8::try_from(number).expect("a few threads");
        let ground = Ground::new(address).expect("the loopback can be bound to");
        Bench {
            number,
            ground,
            watched,
        }
    }

    /// Runs scripts until one fails, and says how; the others end then, too.
    fn work(&mut self, next: &AtomicU64, end: u64, subjects: &[Subject]) -> Option<String> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return None;
            }
            let script = Script::of(seed);
            let oracle = self.run(&script, ORACLE, PATIENCE);
            for &subject in subjects {
                if let Some(what) = self.failure(&script, &oracle, subject, PATIENCE) {
                    next.store(end, Ordering::Relaxed);
                    return Some(self.report(&script, subject, &what));
                }
            }
        }
    }

    fn run(&mut self, script: &Script, subject: Subject, patience: Duration) -> Trace {
        // Far from those that are handed out lowest first, so that a number that becomes free comes back.
        let base = RawFd::try_from(200 + 10 * self.number).expect("a small number");
        let ground = &self.ground;
        self.watched.begins(script.seed, subject.reactor);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let reactor = (subject.open)().expect("it could be opened before");
            run::run(script, reactor, ground, base, patience)
        }));
        self.watched.ends();
        let trace = result.unwrap_or_else(|panic| Trace {
            entries: Vec::new(),
            violation: Some(format!("a panic: {:?}", panic.downcast_ref::<String>())),
        });
        if trace.violation.is_some() {
            // A connection may have been left in the listener.
            *self = Bench::new(self.number, self.watched.clone());
        }
        trace
    }

    /// What is wrong with a script on `subject`.
    fn failure(&mut self, script: &Script, oracle: &Trace, subject: Subject, patience: Duration) -> Option<String> {
        if let Some(violation) = &oracle.violation {
            return Some(format!("the oracle itself: {violation}"));
        }
        let trace = self.run(script, subject, patience);
        match &trace.violation {
            Some(violation) => Some(violation.clone()),
            None => difference(oracle, &trace),
        }
    }

    /// Leaves steps out for as long as it fails.
    fn shrink(&mut self, script: &Script, subject: Subject) -> Script {
        const PATIENCE: Duration = Duration::from_millis(500);
        let mut small = script.clone();
        let mut size = small.steps.len() / 2;
        while size > 0 {
            let mut from = 0;
            while from < small.steps.len() {
                let mut less = small.clone();
                less.steps.drain(from..(from + size).min(small.steps.len()));
                let oracle = self.run(&less, ORACLE, PATIENCE);
                if self.failure(&less, &oracle, subject, PATIENCE).is_some() {
                    small = less;
                } else {
                    from += size;
                }
            }
            size /= 2;
        }
        small
    }

    fn report(&mut self, script: &Script, subject: Subject, what: &str) -> String {
        let small = self.shrink(script, subject);
        let oracle = self.run(&small, ORACLE, PATIENCE);
        let again = self.failure(&small, &oracle, subject, PATIENCE);
        let (name, variety, seed) = (subject.reactor, subject.variety, script.seed);
        let mut text = format!("\nscript {seed} on {name}{variety}: {what}\n{script}\n");
        match again {
            Some(what) => write!(text, "less of it is enough: {what}\n{small}\n"),
            None => writeln!(text, "it does not fail each time"),
        }
        .expect("a String takes all");
        write!(
            text,
            "to repeat it: KAPOK_SEED={seed} KAPOK_SCRIPTS=1 KAPOK_REACTOR={name} cargo test --lib differential -- --nocapture"
        )
        .expect("a String takes all");
        text
    }

    /// All that came of one script.
    fn story(&mut self, script: &Script, subjects: &[Subject]) -> String {
        let mut text = format!("script {}:\n{script}", script.seed);
        for subject in std::iter::once(&ORACLE).chain(subjects) {
            let trace = self.run(script, *subject, PATIENCE);
            writeln!(text, "{}{}:", subject.reactor, subject.variety).expect("a String takes all");
            for entry in &trace.entries {
                writeln!(text, "      {entry:?}").expect("a String takes all");
            }
            if let Some(violation) = trace.violation {
                writeln!(text, "      {violation}").expect("a String takes all");
            }
        }
        text
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(
        value
            .parse()
            .unwrap_or_else(|error| panic!("{variable}={value}: {error}")),
    )
}

fn say(text: &str) {
    writeln!(io::stderr(), "{text}").expect("there is a standard error");
}

#[test]
fn a_script_is_the_same_each_time() {
    for seed in 0..100 {
        assert_eq!(Script::of(seed), Script::of(seed));
    }
    assert_ne!(Script::of(1).steps, Script::of(2).steps);
}
