//! A million fibers at once, each above a guard of its own: what they cost.
//!
//! ```sh
//! cargo run --release --example million -- 1000000
//! ```
//!
//! Each fiber sleeps, gives a buffer on its own stack to a neighbour, whose message it gets in return, and waits with the
//! message until all have come so far. Then all are woken, and end. It says what that took: time, memory, mappings.

//! `--overflow 1000` has a thousand of them overflow their stacks, each in a child process: each says so and dies, and the stack
//! below its guard stays whole.

#![allow(unsafe_code, reason = "calls the allocator, and makes processes")]

#[cfg(target_os = "linux")]
mod fork;
#[cfg(target_os = "linux")]
mod overflow;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use kapok::fiber::{self, Builder};
use kapok::stack;
use kapok::sync::Baton;

/// Starts many fibers, has them all alive at once, and says what they cost.
#[derive(Parser)]
struct Options {
    /// How many fibers
    #[arg(default_value_t = 1_000_000)]
    count: usize,
    /// Bytes of address space for each stack
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024)]
    stack_size: usize,
    /// Has so many of them overflow their stacks, each in a child process; takes one worker
    #[cfg(target_os = "linux")]
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    overflow: usize,
}

/// What the system says of this process.
struct Usage {
    resident: usize,
    page_tables: usize,
    mappings: usize,
}

impl Usage {
    fn now() -> io::Result<Usage> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let bytes_of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace()
                .next()?
                .parse::<usize>()
                .ok()
                .map(|kib| kib * 1024)
        };
        Ok(Usage {
            resident: bytes_of("VmRSS:").unwrap_or(0),
            page_tables: bytes_of("VmPTE:").unwrap_or(0),
            // Line by line: at the limit of mappings there may be no memory for all of it.
            mappings: BufReader::new(File::open("/proc/self/maps")?).lines().count(),
        })
    }
}

/// What all fibers share.
struct Shared {
    begun: AtomicUsize,
    /// Fibers that have had their neighbour's message, or no stack.
    settled: AtomicUsize,
    right: AtomicUsize,
    ended: AtomicUsize,
    /// The one that is to overflow its stack.
    #[cfg(target_os = "linux")]
    doomed: AtomicUsize,
    /// Who comes next.
    next: AtomicUsize,
    /// What each is sent.
    letters: Vec<Letter>,
    /// Where those that may have to overflow their stacks have them.
    places: Vec<AtomicUsize>,
}

#[derive(Default)]
struct Letter {
    /// Posted when it is there, or will never be; and again, when all are to end.
    sent: Baton,
    text: AtomicU64,
}

/// A fiber that has not begun, and perhaps never will. It is kept small: a million of them are alive.
struct Ticket(Option<Arc<Shared>>);

impl Ticket {
    /// One fiber's life.
    fn live(mut self) {
        let shared = &*self.0.take().expect("a ticket is used once");
        shared.begun.fetch_add(1, Ordering::Relaxed);
        fiber::sleep(Duration::from_millis(1));
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let mut buffer = [0_u8; 64];
        if let Some(place) = shared.place_of(number) {
            place.store(buffer.as_ptr().addr(), Ordering::Relaxed);
        }
        let message = {
            // What is lent stays lent across the waits.
            let lent = &mut buffer;
            fill(lent, number);
            shared.send(number, sum_of(lent));
            let letter = &shared.letters[number];
            letter.sent.wait();
            letter.sent.reset();
            shared.settled.fetch_add(1, Ordering::Release);
            letter.sent.wait();
            #[cfg(target_os = "linux")]
            if shared.doomed.load(Ordering::Relaxed) == number {
                overflow::overflow();
            }
            fill(&mut lent[..32], number);
            letter.text.load(Ordering::Relaxed)
        };
        let is_right = sum_of(&buffer) == sum_of_number(number) && [0, expected(number, shared)].contains(&message);
        shared.right.fetch_add(usize::from(is_right), Ordering::Relaxed);
        shared.ended.fetch_add(1, Ordering::Release);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            // It has got no stack, and its neighbour no message.
            shared.send(shared.next.fetch_add(1, Ordering::Relaxed), 0);
            shared.settled.fetch_add(1, Ordering::Release);
        }
    }
}

impl Shared {
    /// The number of a fiber that may have to overflow its stack: they are spread over all.
    fn victim(&self, index: usize) -> usize {
        index * self.letters.len() / self.places.len()
    }

    fn place_of(&self, number: usize) -> Option<&AtomicUsize> {
        let index = (number * self.places.len()).div_ceil(self.letters.len());
        let place = self.places.get(index)?;
        (self.victim(index) == number).then_some(place)
    }

    /// Sends the neighbour of a fiber a message.
    fn send(&self, from: usize, text: u64) {
        let to = &self.letters[(from + 1) % self.letters.len()];
        to.text.store(text, Ordering::Relaxed);
        to.sent.post();
    }
}

/// What the fiber of that number is sent by its neighbour.
fn expected(number: usize, shared: &Shared) -> u64 {
    let count = shared.letters.len();
    sum_of_number((number + count - 1) % count)
}

fn sum_of_number(number: usize) -> u64 {
    let mut buffer = [0_u8; 64];
    fill(&mut buffer, number);
    sum_of(&buffer)
}

fn fill(buffer: &mut [u8], number: usize) {
    for (byte, part) in buffer.iter_mut().zip(number.to_le_bytes().into_iter().cycle()) {
        *byte = part;
    }
}

fn sum_of(buffer: &[u8]) -> u64 {
    buffer
        .iter()
        .fold(0, |sum, byte| sum * 31 % 1_000_003 + u64::from(*byte))
}

fn main() -> ExitCode {
    let options = Options::parse();
    match runtime(&options).run(|| run(&options)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) | Err(error) => {
            // Nothing can be done about a closed standard error.
            drop(writeln!(io::stderr(), "million: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn runtime(options: &Options) -> kapok::runtime::Builder {
    let builder = kapok::runtime::Builder::new();
    #[cfg(target_os = "linux")]
    if options.overflow > 0 {
        // A child process has one thread, and all fibers are to be that one's.
        return builder.workers(1);
    }
    _ = options;
    builder
}

/// Has a sample of the fibers overflow, and says what came of it.
#[cfg(target_os = "linux")]
fn overflow_some(options: &Options, shared: &Shared) -> io::Result<()> {
    let begin = Instant::now();
    let place = |index: usize| shared.places[index].load(Ordering::Relaxed);
    let mut places: Vec<usize> = (0..shared.places.len()).map(place).collect();
    places.sort_unstable();
    let stacks = fork::Stacks::withhold(&places, options.stack_size)?;
    let deaths = overflow::sample(places.len(), &stacks, place, |index| {
        let doomed = shared.victim(index);
        shared.doomed.store(doomed, Ordering::Relaxed);
        shared.letters[doomed].sent.post();
        fiber::yield_now();
    })?;
    say("overflowed", options.overflow)?;
    say("reported, and died of it", deaths.reported)?;
    say("neighbours that were whole", deaths.neighbours_whole)?;
    say("without a neighbour below", deaths.lowest)?;
    say(
        "milliseconds each",
        begin.elapsed().as_millis() / options.overflow as u128,
    )
}

fn run(options: &Options) -> io::Result<()> {
    let count = options.count.max(1);
    let before = Usage::now()?;
    #[cfg(target_os = "linux")]
    let places = options.overflow.min(count);
    #[cfg(not(target_os = "linux"))]
    let places = 0;
    let shared = Arc::new(Shared {
        begun: AtomicUsize::new(0),
        settled: AtomicUsize::new(0),
        right: AtomicUsize::new(0),
        ended: AtomicUsize::new(0),
        #[cfg(target_os = "linux")]
        doomed: AtomicUsize::new(usize::MAX),
        next: AtomicUsize::new(0),
        letters: (0..count).map(|_| Letter::default()).collect(),
        places: (0..places).map(|_| AtomicUsize::new(0)).collect(),
    });
    let begin = Instant::now();
    // Joined at the end: a few, which say why others have got no stack.
    let mut sample = Vec::new();
    for number in 0..count {
        let ticket = Ticket(Some(Arc::clone(&shared)));
        let builder = Builder::new().stack_size(options.stack_size);
        let fiber = builder.spawn(move || ticket.live())?;
        if number % SAMPLED == 0 {
            sample.push(fiber);
            // Those that were spawned have their turn, so that there is no long queue.
            fiber::yield_now();
            progress("started", number, count);
        }
    }
    wait_for("settled", count, || shared.settled.load(Ordering::Acquire));
    // Those that wait are woken whatever has failed: `run` returns when all have ended.
    let (started, alive) = (begin.elapsed(), Usage::now());
    let (begun, stats) = (shared.begun.load(Ordering::Relaxed), stack::stats());

    #[cfg(target_os = "linux")]
    let deaths = match options.overflow {
        0 => Ok(()),
        _ => overflow_some(options, &shared),
    };
    let begin = Instant::now();
    shared.letters.iter().for_each(|letter| letter.sent.post());
    let failed = sample.into_iter().find_map(|fiber| fiber.join().err());
    wait_for("ended", begun, || shared.ended.load(Ordering::Acquire));
    let ended = begin.elapsed();
    let alive = alive?;
    #[cfg(target_os = "linux")]
    deaths?;

    say("fibers alive at once", begun)?;
    say("guards", stats.guard.map_or("none", |guard| guard.name()))?;
    say(
        "resident bytes per fiber",
        alive.resident.saturating_sub(before.resident) / begun.max(1),
    )?;
    say(
        "page table bytes per fiber",
        alive.page_tables.saturating_sub(before.page_tables) / begun.max(1),
    )?;
    say("mappings", alive.mappings)?;
    say("address space, MiB", stats.reserved >> 20)?;
    say("started per second", rate(count, started))?;
    say("woken and ended per second", rate(count, ended))?;

    let right = shared.right.load(Ordering::Relaxed);
    drop(shared);
    // Workers give back what has been idle for a while.
    let patience = Instant::now() + Duration::from_secs(20);
    let mut after = Usage::now()?;
    while after.resident > before.resident + MAX_LEFT && Instant::now() < patience {
        fiber::sleep(Duration::from_millis(100));
        // The allocator keeps what was freed, the fibers' closures among it, until it is asked.
        #[cfg(target_env = "gnu")]
        // SAFETY: it may be called at any time.
        unsafe {
            libc::malloc_trim(0);
        }
        after = Usage::now()?;
    }
    say(
        "left afterwards, MiB",
        after.resident.saturating_sub(before.resident) >> 20,
    )?;
    if right != begun {
        let text = format!("{right} of {begun} fibers have had the right message");
        return Err(io::Error::other(text));
    }
    match failed.map(|reason| reason.downcast::<String>()) {
        None => Ok(()),
        Some(Ok(reason)) => Err(io::Error::other(format!(
            "{} fibers got no stack: {reason}",
            count - begun
        ))),
        Some(Err(_)) => Err(io::Error::other("a fiber panicked")),
    }
}

/// Of how many fibers one is joined.
const SAMPLED: usize = 500;

/// What may be left of the memory when all have ended, in bytes.
const MAX_LEFT: usize = 64 << 20;

fn wait_for(what: &str, count: usize, done: impl Fn() -> usize) {
    while done() < count {
        progress(what, done(), count);
        fiber::sleep(Duration::from_millis(20));
    }
    progress(what, count, count);
}

fn rate(count: usize, took: Duration) -> u128 {
    count as u128 * 1_000_000_000 / took.as_nanos().max(1)
}

fn say(what: &str, figure: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{what:<28} {figure}")
}

fn progress(what: &str, done: usize, count: usize) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        // It is for watching only.
        drop(write!(terminal, "\r{what} {done}/{count}\x1b[K"));
        if done == count {
            drop(write!(terminal, "\r\x1b[K"));
        }
    }
}
