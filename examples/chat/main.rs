//! A chat server: lines of text over TCP, one fiber that reads and one that writes for each guest.
//!
//! ```sh
//! cargo run --release --example chat -- --listen 127.0.0.1:7002
//! nc 127.0.0.1 7002
//! ```
//!
//! What a guest says goes to all others, by a broadcast channel that keeps the last lines: who reads too slowly is told how many
//! were missed, and holds up nobody. `/help` tells the commands. Read `guest.rs` first.

#[path = "../common/mod.rs"]
mod common;

mod guest;
mod line;
mod room;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use common::server::{Connection, Connections, Server};
use common::{RuntimeOptions, seconds};
use room::Room;

/// A chat server on Kapok fibers.
#[derive(Clone, Parser)]
struct Options {
    /// Address to listen on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7002")]
    listen: String,
    /// Lines that are kept for those who read slowly
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u16).range(1..))]
    backlog: u16,
    /// Longest line
    #[arg(long, value_name = "BYTES", default_value_t = 1000)]
    max_line: usize,
    /// Guests at a time; further ones are closed
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_connections: usize,
    /// Seconds that a guest may say nothing; 0 is without limit
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    idle_timeout: Duration,
    /// Seconds that a guest may go without reading anything, while there is something to read
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    write_timeout: Duration,
    /// Seconds that guests have to read the last lines after SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    grace: Duration,
    #[command(flatten)]
    runtime: RuntimeOptions,
}

fn main() -> ExitCode {
    let options = Options::parse();
    options.runtime.clone().run("chat", || serve(options))
}

fn serve(options: Options) -> io::Result<()> {
    let server = Server::bind(&options.listen, "", options.max_connections)?;
    let room = Arc::new(Room::new(options.backlog.into()));
    let (theirs, grace) = (Arc::clone(&room), options.grace);
    let serve = move |connection: &Connection| guest::serve(&theirs, connection, &options);
    // Who reads sees the end of the input, is told why, and leaves.
    server.serve(grace, serve, Connections::end_input)
}
