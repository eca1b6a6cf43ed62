//! What can be asked for.

use std::time::Duration;

use crate::common::{RuntimeOptions, seconds};

/// An HTTP/1.1 load generator on Kapok fibers.
#[derive(Debug, clap::Parser)]
pub(crate) struct Options {
    #[arg(help = "What to ask for: http://host[:port][/path]")]
    pub(crate) url: String,
    /// Connections at a time
    #[arg(short, long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Seconds to go on; without it and --requests, 10
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Option<Duration>,
    /// Requests in all, after which it ends
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) requests: Option<u64>,
    /// Requests a second in all, due at fixed times; without it, as many as there are answers
    #[arg(short, long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Requests that one connection may have under way
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) pipeline: u16,
    /// Method
    #[arg(short = 'X', long, value_name = "NAME", default_value = "GET")]
    pub(crate) method: String,
    /// Header to send; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Body to send, or @ and the name of a file that has it
    #[arg(short, long, value_name = "TEXT|@FILE")]
    pub(crate) body: Option<String>,
    /// A connection for each request
    #[arg(long)]
    pub(crate) no_keep_alive: bool,
    /// Seconds to wait for a connection, and for the next bytes of an answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = above_zero)]
    pub(crate) timeout: Duration,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeOptions,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (1e-3..=1e9).contains(&rate) => Ok(rate),
        _ => Err("give a number above 0".to_owned()),
    }
}

fn above_zero(text: &str) -> Result<Duration, String> {
    let time = seconds(text)?;
    if time.is_zero() {
        return Err("give a number of seconds above 0".to_owned());
    }
    Ok(time)
}
