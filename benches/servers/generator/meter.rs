//! Counts answers, and what they cost, between the end of the warm-up and the end of the window.

use std::io;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::figures::Figures;
use crate::options::Generator;

/// Latencies above it count as this much, in nanoseconds.
const LONGEST: u64 = 10_000_000_000;

pub(super) struct Meter {
    server: String,
    begin: Instant,
    warm_up: u64,
    /// Nanoseconds after `begin`; `None` before the warm-up.
    warm_until: Option<u64>,
    window: u64,
    /// The window closes when so many requests were answered, however long that takes.
    wanted: Option<u64>,
    /// Where everything stood when the window opened.
    opening: Option<Sample>,
    closing: Option<Sample>,
    /// Answers, those before the window included.
    answers: u64,
    /// Answers within the window.
    requests: u64,
    latencies: Histogram<u64>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: u64,
    server: ProcessorTime,
    generator: ProcessorTime,
}

/// Of all threads of a process, in nanoseconds.
#[derive(Clone, Copy, Default)]
struct ProcessorTime {
    /// They have run for so long. Of a thread that is running right now, the latest tick is missing.
    run: u64,
    /// They were to run, and waited for so long until their turn came.
    waited: u64,
}

impl Meter {
    pub(super) fn new(options: &Generator) -> io::Result<Meter> {
        let nanoseconds = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).expect("below a minute");
        Ok(Meter {
            server: options.pid.to_string(),
            begin: Instant::now(),
            warm_up: nanoseconds(options.generator_warm_up),
            warm_until: None,
            window: nanoseconds(options.generator_window),
            wanted: options.requests,
            opening: None,
            closing: None,
            answers: 0,
            requests: 0,
            latencies: Histogram::new_with_bounds(1, LONGEST, 3).map_err(io::Error::other)?,
        })
    }

    /// Nanoseconds since the meter was made.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).expect("not that long")
    }

    /// Begins the warm-up.
    pub(super) fn start(&mut self) {
        self.warm_until = Some(self.now() + self.warm_up);
    }

    /// Whether answers count by now.
    pub(super) fn is_open(&self) -> bool {
        self.opening.is_some()
    }

    /// How many answers there have been.
    pub(super) fn answers(&self) -> u64 {
        self.answers
    }

    /// Counts an answer to what was sent at `sent`; the time now.
    pub(super) fn answered(&mut self, sent: u64) -> u64 {
        let now = self.now();
        self.answers += 1;
        if self.is_open() {
            self.requests += 1;
            self.latencies.saturating_record(now - sent);
        }
        now
    }

    /// Opens and closes the window; whether it was closed.
    pub(super) fn is_over(&mut self) -> io::Result<bool> {
        let now = self.now();
        match self.opening {
            None if self.warm_until.is_some_and(|warm| now >= warm) => self.opening = Some(self.sample()?),
            // On a busy machine a short window may have seen nothing yet.
            Some(opening) => {
                let is_over = match self.wanted {
                    Some(wanted) => self.requests >= wanted,
                    None => now >= opening.at + self.window && self.requests > 0,
                };
                if is_over {
                    let closing = self.sample()?;
                    // Nor need the kernel have counted by now what the server has run.
                    self.closing = Some(closing).filter(|closing| closing.server.run > opening.server.run);
                }
            }
            _ => {}
        }
        Ok(self.closing.is_some())
    }

    fn sample(&self) -> io::Result<Sample> {
        Ok(Sample {
            server: ProcessorTime::of(&self.server)?,
            generator: ProcessorTime::of("self")?,
            at: self.now(),
        })
    }

    pub(super) fn figures(&self) -> io::Result<Figures> {
        let (Some(opening), Some(closing)) = (self.opening, self.closing) else {
            return Err(io::Error::other("the window was never open"));
        };
        let server = closing.server.since(opening.server);
        let generator = closing.generator.since(opening.generator);
        Ok(Figures {
            requests: self.requests,
            window: closing.at - opening.at,
            server: server.run,
            generator: generator.run,
            waited: server.waited.max(generator.waited),
            p50: self.latencies.value_at_quantile(0.5),
            p99: self.latencies.value_at_quantile(0.99),
            p999: self.latencies.value_at_quantile(0.999),
        })
    }
}

impl ProcessorTime {
    fn of(process: &str) -> io::Result<ProcessorTime> {
        let mut sum = ProcessorTime::default();
        for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let text = match std::fs::read_to_string(thread?.path().join("schedstat")) {
                // The thread has ended in the meantime.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => continue,
                result => result?,
            };
            let mut numbers = text.split_whitespace().map_while(|word| word.parse::<u64>().ok());
            let (Some(run), Some(waited)) = (numbers.next(), numbers.next()) else {
                return Err(io::Error::other("schedstat does not hold what it should"));
            };
            sum.run += run;
            sum.waited += waited;
        }
        Ok(sum)
    }

    /// What was added, if no thread took its share away by ending.
    fn since(self, earlier: ProcessorTime) -> ProcessorTime {
        ProcessorTime {
            run: self.run.saturating_sub(earlier.run),
            waited: self.waited.saturating_sub(earlier.waited),
        }
    }
}
