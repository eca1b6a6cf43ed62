//! A key-value server that speaks Redis's protocol: one fiber a client, plain blocking code.
//!
//! ```sh
//! cargo run --release --example kv -- --listen 127.0.0.1:6379
//! redis-cli SET greeting hello EX 60
//! redis-benchmark -q -t set,get,incr -P 16
//! ```
//!
//! Read `session.rs` first. Strings only, kept in memory, and in a file with `--appendonly`; `redis-cli COMMAND LIST` tells what it
//! knows.

#[path = "../common/mod.rs"]
mod common;

mod aof;
mod commands;
mod glob;
mod replay;
mod reply;
mod request;
mod session;
mod store;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use aof::{Fsync, Log};
use clap::Parser;
use common::server::Connections;
use common::{RuntimeOptions, seconds};
use kapok::fiber::JoinHandle;
use request::Limits;
use store::Store;

/// A key-value server on Kapok fibers that redis-cli can talk to.
#[derive(Parser)]
struct Options {
    /// Address to listen on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6379")]
    listen: String,
    /// Largest key or value
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    max_value: usize,
    /// Largest request
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    max_request: usize,
    /// Connections at a time; further ones are closed
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_connections: usize,
    /// Password that clients have to give with AUTH
    #[arg(long, value_name = "PASSWORD")]
    requirepass: Option<String>,
    /// File that keeps all changes: it is read at the start, and written before the answers
    #[arg(long, value_name = "FILE")]
    appendonly: Option<PathBuf>,
    /// When the disk is to have what was written to that file
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Fsync::Everysec)]
    appendfsync: Fsync,
    /// Seconds that a client may stay quiet; 0 is without limit
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    idle_timeout: Duration,
    /// Seconds that a client may go without reading any of its answers; 0 is without limit
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    write_timeout: Duration,
    /// Seconds that requests in progress have to end after SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    grace: Duration,
    #[command(flatten)]
    runtime: RuntimeOptions,
}

/// What all clients share.
struct Server {
    store: Store,
    limits: Limits,
    password: Option<String>,
    idle_timeout: Duration,
    write_timeout: Duration,
    begun: Instant,
    /// How many there have been.
    clients: AtomicU64,
    /// How many there have been.
    commands: AtomicU64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    options.runtime.run("kv", || serve(&options))
}

/// Serves until a signal comes; then what has been asked already is still answered.
fn serve(options: &Options) -> io::Result<()> {
    let server = Arc::new(Server {
        store: Store::new(),
        limits: Limits {
            argument: options.max_value,
            request: options.max_request,
        },
        password: options.requirepass.clone(),
        idle_timeout: options.idle_timeout,
        write_timeout: options.write_timeout,
        begun: Instant::now(),
        clients: AtomicU64::new(0),
        commands: AtomicU64::new(0),
    });
    if let Some(path) = &options.appendonly {
        // Locked before it is read: another server may be writing it.
        let file = aof::open(path, options.appendfsync)?;
        let length = replay::replay(&server, &file, path)?;
        let log = Log::new(file, length, options.appendfsync)?;
        server.store.record_in(&Arc::new(log));
    }
    let listening = common::server::Server::bind(&options.listen, "", options.max_connections)?;
    let mut background = Background(Vec::new());
    let (swept, kept, theirs) = (Arc::clone(&server), Arc::clone(&server), Arc::clone(&server));
    background.0.push(kapok::spawn(move || swept.store.sweep()));
    // It ends at once where there is no file.
    background
        .0
        .push(kapok::spawn(move || kept.store.log().map_or((), Log::keep)));
    let session = move |connection: &common::server::Connection| session::serve(&theirs, connection);
    let served = listening.serve(options.grace, session, Connections::end_input);
    drop(background);
    let closed = server.store.log().map_or(Ok(()), Log::close);
    served.and(closed)
}

/// Fibers that have no end of their own: the program would wait for them.
struct Background(Vec<JoinHandle<()>>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::cancel);
    }
}
