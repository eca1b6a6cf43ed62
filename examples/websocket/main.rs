//! A WebSocket server: tungstenite's blocking face as it is, over a Kapok stream, one fiber a client.
//!
//! ```sh
//! cargo run --release --example websocket -- --listen 127.0.0.1:7003
//! websocat ws://127.0.0.1:7003/            # what is sent comes back
//! websocat ws://127.0.0.1:7003/broadcast   # what is sent comes to all others who are there
//! ```
//!
//! Read `session.rs` first.

#[path = "../common/mod.rs"]
mod common;

mod session;
mod transport;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use common::server::{Connection, Server};
use common::{RuntimeOptions, seconds};
use kapok::sync::broadcast::{self, Sender};
use tungstenite::Message;

/// A WebSocket server on Kapok fibers and tungstenite.
#[derive(Clone, Parser)]
struct Options {
    /// Address to listen on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7003")]
    listen: String,
    /// Largest message
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    max_message: usize,
    /// Messages that are kept for those who read slowly
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u16).range(1..))]
    backlog: u16,
    /// Connections at a time; further ones are closed
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_connections: usize,
    /// Seconds for the handshake
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    handshake_timeout: Duration,
    /// Seconds after which a client that says nothing is asked whether it is there, and after as many more left
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    ping: Duration,
    /// Seconds that clients have to say good-bye after SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    grace: Duration,
    #[command(flatten)]
    runtime: RuntimeOptions,
}

/// What all clients share.
struct Rooms {
    /// Those who hear each other.
    together: Sender<Said>,
    /// Those who hear themselves, and when it ends.
    alone: Sender<Said>,
}

#[derive(Clone)]
enum Said {
    By(u64, Message),
    /// The server stops.
    End,
}

fn main() -> ExitCode {
    let options = Options::parse();
    options.runtime.clone().run("websocket", || serve(options))
}

fn serve(options: Options) -> io::Result<()> {
    let server = Server::bind(&options.listen, "ws://", options.max_connections)?;
    let rooms = Arc::new(Rooms {
        together: broadcast::channel(options.backlog.into()).0,
        alone: broadcast::channel(1).0,
    });
    let (theirs, grace) = (Arc::clone(&rooms), options.grace);
    let serve = move |connection: &Connection| session::serve(&theirs, connection, &options);
    server.serve(grace, serve, |_| {
        // Where nobody is, nobody hears it.
        drop(rooms.together.send(Said::End));
        drop(rooms.alone.send(Said::End));
    })
}
