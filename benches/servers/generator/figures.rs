//! The outcome of one measurement, as one line of text on its way from the generator's process.

use std::fmt;
use std::str::FromStr;

/// Times are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) window: u64,
    /// Processor time of the server.
    pub(crate) server: u64,
    /// Processor time of the generator.
    pub(crate) generator: u64,
    /// For how long the one or the other, whichever longer, could have run, but somebody else had its processor.
    pub(crate) waited: u64,
    /// Latencies.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
}

impl Figures {
    /// Whether other programs had the processors for more than a tenth of the time.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.waited > self.window / 10
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures {
            requests,
            window,
            server,
            generator,
            waited,
            p50,
            p99,
            p999,
        } = self;
        write!(
            f,
            "figures {requests} {window} {server} {generator} {waited} {p50} {p99} {p999}"
        )
    }
}

impl FromStr for Figures {
    type Err = String;

    fn from_str(line: &str) -> Result<Figures, String> {
        let error = || line.trim_start_matches("servers: ").to_owned();
        let numbers = line.strip_prefix("figures ").ok_or_else(error)?;
        let numbers: Result<Vec<u64>, _> = numbers.split(' ').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[requests, window, server, generator, waited, p50, p99, p999]) => Ok(Figures {
                requests,
                window,
                server,
                generator,
                waited,
                p50,
                p99,
                p999,
            }),
            _ => Err(error()),
        }
    }
}
