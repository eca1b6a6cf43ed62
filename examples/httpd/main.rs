//! A static-file and plaintext HTTP/1.1 server on Kapok: one fiber a connection, plain blocking code, no `async`.
//!
//! ```sh
//! cargo run --release --example httpd -- --root . --listen 127.0.0.1:8080
//! curl -i http://127.0.0.1:8080/plaintext
//! ```
//!
//! Read this file first, then `conversation.rs`: the life of one connection from its first request to its last. Every
//! other module answers one question. What the server says to each hostile input is in `docs/httpd.md`.

mod accept;
mod access_log;
mod body;
mod conditional;
mod connections;
mod conversation;
mod date;
mod files;
mod head_scan;
mod listing;
mod options;
mod range;
mod reply;
mod request;
mod room;
mod shutdown;
mod spare;
mod target;
mod wire;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kapok::net::TcpListener;
use kapok::runtime::Handle;
use kapok::sync::Baton;

use crate::access_log::AccessLog;
use crate::connections::Connections;
use crate::options::{Limits, Options};

/// What every connection shares.
struct Server {
    root: PathBuf,
    limits: Limits,
    log: Option<AccessLog>,
    connections: Connections,
    stopping: AtomicBool,
}

impl Server {
    /// Whether the first stop signal has come: from then on the last answer on each connection says so.
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

#[expect(
    clippy::print_stderr,
    reason = "this is where the program tells a person why it could not start"
)]
fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error,httpd=warn")).init();
    let options = match options::from_command_line() {
        Ok(options) => options,
        Err(exit_code) => return exit_code,
    };
    match set_up_and_serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("httpd: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// Checks what the options name, then runs the server inside the fiber runtime until a signal stops it.
fn set_up_and_serve(options: Options) -> Result<(), String> {
    let runtime = options.runtime();
    let (log, log_writer) = access_log::open(&options.access_log)?.unzip();
    let server = Arc::new(Server {
        root: options.root()?,
        limits: options.limits(),
        log,
        connections: Connections::new(options.max_connections),
        stopping: AtomicBool::new(false),
    });
    let stop = shutdown::on_signal().map_err(|error| format!("cannot watch for signals: {error}"))?;
    // One descriptor a connection: the soft limit of a shell is often 1024. Where it cannot be raised, it is kept.
    let _limit = rlimit::increase_nofile_limit(u64::MAX);

    runtime
        .run(move || serve(&options, &server, &stop))
        .map_err(|error| error.to_string())??;

    // The runtime has ended and with it the server's half of the log; the writer ends when it has written the rest.
    if let Some(writer) = log_writer {
        writer
            .join()
            .map_err(|_| "the access log's writer panicked".to_owned())?;
    }
    Ok(())
}

/// The root fiber: listens, waits for the signal, and sees the last client off.
fn serve(options: &Options, server: &Arc<Server>, stop: &Baton) -> Result<(), String> {
    let listener = Arc::new(TcpListener::bind(options.listen.as_str()).map_err(|error| options.cannot_listen(&error))?);
    date::look();
    let clock = kapok::spawn_local(date::keep);
    announce(&listener, server).map_err(|error| format!("cannot print the address: {error}"))?;

    let acceptor = kapok::spawn({
        let (listener, server) = (Arc::clone(&listener), Arc::clone(server));
        move || accept::accept_all(&listener, &server)
    });

    stop.wait();

    server.stopping.store(true, Ordering::Relaxed);
    // The accepting fiber lets in who stands in line already, and with its end the listener is gone.
    listener.close();
    drop(listener);
    shutdown::see_off(&acceptor, &server.connections, options.grace);
    clock.cancel();
    acceptor.join().map_err(|_| "the accepting fiber panicked".to_owned())
}

/// Tells whoever started the server, person or script, where it is: one line a fact.
fn announce(listener: &TcpListener, server: &Server) -> io::Result<()> {
    let (address, runtime) = (listener.local_addr()?, Handle::current());
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "listening on http://{address}/ (reactor {}, switch {}, workers {})",
        runtime.reactor(),
        runtime.switch(),
        runtime.workers()
    )?;
    writeln!(out, "serving {}", server.root.display())?;
    out.flush()
}
