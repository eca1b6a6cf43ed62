//! What can be asked for on the command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;

use crate::count::Counted;
use crate::loads::{self, Load};
use crate::servers::{self, Server};

#[derive(Debug, Parser)]
#[command(
    name = "servers",
    about = "What a request costs: Kapok's servers beside plain C loops over epoll and io_uring"
)]
pub(crate) struct Options {
    /// How often each server is measured under each load
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,

    /// For how long it is measured each time, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0.6", value_parser = seconds)]
    pub(crate) window: Duration,

    /// For how long it runs before that
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    pub(crate) warm_up: Duration,

    /// Loads, such as echo-64 or http-1000; echo-1000@140000 with so many requests in a second
    #[arg(long = "load", value_name = "NAMES", value_delimiter = ',', default_values = loads::ALL)]
    pub(crate) loads: Vec<Load>,

    #[arg(long = "server", help = servers::HELP, value_name = "NAMES", value_delimiter = ',', default_values = servers::ALL)]
    pub(crate) servers: Vec<Server>,

    #[arg(
        long,
        help = "Do not ask for the real-time policy SCHED_FIFO, which needs a privilege"
    )]
    pub(crate) no_fifo: bool,

    /// Do not measure times, but count what a request takes: system calls by strace, or instructions in user code by callgrind
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) count: Option<Counted>,

    /// One very short round: does every server answer?
    #[arg(long)]
    pub(crate) test: bool,

    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,

    /// Be the generator
    #[arg(long, hide = true, value_name = "LOAD")]
    pub(crate) generate: Option<Load>,

    #[command(flatten)]
    pub(crate) generator: Generator,
}

/// What the generator is told, beside the load and the times.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Generator {
    #[arg(long, hide = true, default_value = "127.0.0.1:0")]
    pub(crate) address: SocketAddr,

    /// The server's process.
    #[arg(long, hide = true, default_value_t = 0)]
    pub(crate) pid: u32,

    /// Never sleep.
    #[arg(long, hide = true)]
    pub(crate) spin: bool,

    #[arg(long, hide = true, value_parser = seconds, default_value = "0.3")]
    pub(crate) generator_warm_up: Duration,

    #[arg(long, hide = true, value_parser = seconds, default_value = "0.6")]
    pub(crate) generator_window: Duration,

    /// For how long a server may leave all connections without an answer.
    #[arg(long, hide = true, value_parser = seconds, default_value = "20")]
    pub(crate) patience: Duration,

    /// Instead of a window.
    #[arg(long, hide = true)]
    pub(crate) requests: Option<u64>,
}

pub(crate) fn from_command_line() -> Options {
    let mut options = Options::parse();
    if options.test {
        options.rounds = 1;
        options.window = Duration::from_millis(50);
        options.warm_up = Duration::from_millis(10);
    }
    options
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=60.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give a number of seconds up to 60".to_owned()),
    }
}
