//! What is measured, and who takes part.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::{contexts, fibers, futures, threads};

/// One thing that all do.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    count: u32,
}

pub(crate) const WORKS: &[Work] = &[
    work("switch", "one switch, there or back, without a scheduler", 2_000_000),
    work("c-switch", "one switch through the C interface, 2 contexts", 10_000_000),
    work("c-ring-1000", "the same, a ring of 1000 contexts", 10_000_000),
    work(
        "c-walk-100000",
        "the same, a random walk over 100,000 contexts",
        1_000_000,
    ),
    work("yield-2", "yield, 2 tasks", 1_000_000),
    work("yield-1000", "yield, 1000 tasks", 1_000_000),
    work("spawn-1", "spawn and join, one by one", 500_000),
    work("spawn-1000", "spawn and join, batches of 1000", 500_000),
    work("channel", "channel ping-pong of 2 tasks, each message", 500_000),
    work("mutex", "a mutex held over a yield, 2 tasks, each hand-over", 500_000),
    work(
        "sleep-100000",
        "tasks that sleep, all at once, processor time for each",
        100_000,
    ),
    work(
        "sleep-1000000",
        "tasks that sleep, all at once, processor time for each",
        1_000_000,
    ),
    work(
        "sleep-again-1000000",
        "from one sleep to the next of tasks that all sleep, processor time for each",
        1_000_000,
    ),
];

const fn work(name: &'static str, what: &'static str, count: u32) -> Work {
    Work { name, what, count }
}

impl Work {
    fn sleeps(&self) -> bool {
        self.name.starts_with("sleep")
    }

    pub(crate) fn rounds(&self, wanted: usize, test: bool) -> usize {
        match (test, self.sleeps()) {
            (true, _) => 1,
            (_, true) => wanted.div_ceil(3),
            _ => wanted,
        }
    }

    pub(crate) fn count(&self, test: bool) -> u32 {
        if test { self.count / 100 } else { self.count }
    }
}

/// One who does it.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// If it is not part of this program: which one, and its first argument, if it has one.
    pub(crate) program: Option<&'static str>,
    pub(crate) measures: fn(&str) -> bool,
}

/// Whom all are compared with.
pub(crate) const BASE: &str = "kapok";

pub(crate) const PEERS: &[Peer] = &[
    here("kapok", |work| find("kapok", work)),
    here("kapok-asm", |work| find("kapok-asm", work)),
    here("kapok-ucontext", |work| find("kapok-ucontext", work)),
    here("tokio", |work| find("tokio", work)),
    here("tokio-multi", |work| find("tokio-multi", work)),
    here("may", |work| find("may", work)),
    here("smol", |work| find("smol", work)),
    here("monoio", |work| find("monoio", work)),
    here("corosensei", |work| find("corosensei", work)),
    here("generator", |work| find("generator", work)),
    here("crossbeam-threads", |work| find("crossbeam-threads", work)),
    switch("kapok-c-asm", "switch asm"),
    switch("kapok-c-asm-fenv", "switch asm_fenv"),
    switch("kapok-c-setjmp", "switch setjmp"),
    switch("boost-fcontext", "switch boost"),
    Peer {
        name: "go",
        program: Some("go"),
        measures: |work| has_scheduler(work),
    },
    Peer {
        name: "boost-context",
        program: Some("boost"),
        measures: |work| work == "switch",
    },
    Peer {
        name: "boost-fiber",
        program: Some("boost"),
        measures: |work| has_scheduler(work),
    },
];

/// By `contexts/switch.c`, with its first argument.
const fn switch(name: &'static str, program: &'static str) -> Peer {
    Peer {
        name,
        program: Some(program),
        measures: |work| work.starts_with("c-"),
    }
}

fn has_scheduler(work: &str) -> bool {
    work != "switch" && !work.starts_with("c-")
}

const fn here(name: &'static str, measures: fn(&str) -> bool) -> Peer {
    Peer {
        name,
        program: None,
        measures,
    }
}

fn find(peer: &str, work: &str) -> bool {
    measure(peer, work).is_some()
}

/// Does it as often as it is told.
pub(crate) type Measure = fn(u32) -> Figure;

pub(crate) fn measure(peer: &str, work: &str) -> Option<Measure> {
    contexts::measure(peer, work)
        .or_else(|| fibers::measure(peer, work))
        .or_else(|| futures::measure(peer, work))
        .or_else(|| threads::measure(peer, work))
}

/// What one measurement gives; the form in which it is printed is that of all programs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    /// Nanoseconds for each.
    pub(crate) time: f64,
    /// Bytes of resident memory for each task that waits.
    pub(crate) memory: Option<f64>,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.time)?;
        self.memory.map_or(Ok(()), |memory| write!(f, " {memory}"))
    }
}

impl FromStr for Figure {
    type Err = String;

    fn from_str(line: &str) -> Result<Figure, String> {
        let mut numbers = line.split(' ').map(str::parse);
        match (numbers.next(), numbers.next().transpose()) {
            (Some(Ok(time)), Ok(memory)) => Ok(Figure { time, memory }),
            _ => Err(line.to_owned()),
        }
    }
}

/// Runs it once with a tenth, to warm up, and then measures it.
pub(crate) fn timed(n: u32, f: impl Fn(u32)) -> Figure {
    f(n / 10 + 1);
    let begin = Instant::now();
    f(n);
    Figure {
        time: begin.elapsed().as_secs_f64() * 1e9 / f64::from(n),
        memory: None,
    }
}

/// What tasks that all sleep at once cost.
pub(crate) struct Sleeping {
    memory: f64,
    processor: f64,
    /// When all are to wake: late enough for all to be asleep by then.
    pub(crate) until: Instant,
}

impl Sleeping {
    pub(crate) fn begin(n: u32) -> Sleeping {
        Sleeping {
            memory: resident_bytes(),
            processor: processor_seconds(),
            until: Instant::now() + Duration::from_millis(500) + Duration::from_micros(8) * n,
        }
    }

    /// How long before they wake they are looked at.
    pub(crate) const BEFORE: Duration = Duration::from_millis(200);

    /// When to look what they take: just before they wake.
    pub(crate) fn look(&self) -> Instant {
        self.until - Sleeping::BEFORE
    }

    /// When they wake that sleep once more.
    pub(crate) fn again(&self, n: u32) -> Instant {
        self.until + Duration::from_millis(500) + Duration::from_micros(2) * n
    }

    pub(crate) fn left(until: Instant) -> Duration {
        until.saturating_duration_since(Instant::now())
    }

    /// When all have ended. `memory` was measured by [`resident_bytes`] at the time to look.
    pub(crate) fn end(self, n: u32, memory: f64) -> Figure {
        let n = f64::from(n);
        Figure {
            time: (processor_seconds() - self.processor) * 1e9 / n,
            memory: Some((memory - self.memory) / n),
        }
    }
}

/// What one sleep has cost: `processor` is what [`processor_seconds`] said while all slept the time before.
pub(crate) fn one_sleep(n: u32, processor: f64) -> Figure {
    Figure {
        time: (processor_seconds() - processor) * 1e9 / f64::from(n),
        memory: None,
    }
}

pub(crate) fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: f64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("pages");
    pages * 4096.0
}

/// Of all threads of the process, in user code and in the kernel.
pub(crate) fn processor_seconds() -> f64 {
    // SAFETY: all zeroes are a valid timespec.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: it writes to a timespec.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
