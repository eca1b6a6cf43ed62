//! An HTTP/1 server made of hyper: its futures run in Kapok's fibers, one fiber a connection, without another executor.
//!
//! ```sh
//! cargo run --release --example hyper -- --listen 127.0.0.1:8080
//! curl http://127.0.0.1:8080/
//! curl --no-buffer http://127.0.0.1:8080/count/10
//! curl --data-binary @Cargo.toml http://127.0.0.1:8080/echo
//! ```

mod answer;
mod io;

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use kapok::fiber::{self, JoinHandle};
use kapok::net::{TcpListener, TcpStream};
use kapok::runtime::{Builder, Handle};
use kapok::signal::{SIGINT, SIGTERM, Signals};
use kapok::sync::Baton;
use kapok::{CancelToken, Engine, ReactorKind, spawn, timeout};

use io::{Io, Timers};

/// An HTTP/1 server: hyper on Kapok fibers.
#[derive(Parser)]
struct Options {
    /// Address to listen on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Seconds that a client may take for the head of a request
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    head_timeout: Duration,
    /// Seconds that connections have to end after SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    grace: Duration,
    /// Context switch engine, such as setjmp or ucontext
    #[arg(long, value_name = "ENGINE", value_parser = |s: &str| s.parse::<Engine>().map_err(|e| e.to_string()))]
    switch: Option<Engine>,
    /// I/O interface of the kernel, such as epoll or poll
    #[arg(long, value_name = "NAME", value_parser = |s: &str| s.parse::<ReactorKind>().map_err(|e| e.to_string()))]
    reactor: Option<ReactorKind>,
    /// Threads that run fibers; by default one for each processor
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[expect(clippy::print_stderr, reason = "a person is told why it could not start")]
fn main() -> ExitCode {
    env_logger::init();
    let options = Options::parse();
    let runtime = options.switch.into_iter().fold(Builder::new(), Builder::switch);
    let runtime = options.reactor.into_iter().fold(runtime, Builder::reactor);
    let runtime = options.workers.into_iter().fold(runtime, Builder::workers);
    match runtime.run(move || serve(&options)).and_then(|served| served) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hyper: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A connection that is served, and what tells it to end after the answer that it is at.
struct Connection {
    fiber: JoinHandle<()>,
    stop: Arc<Baton>,
}

/// Serves until a signal comes, and then until the connections have ended, or their time is up.
fn serve(options: &Options) -> std::io::Result<()> {
    let listener = Arc::new(TcpListener::bind(&options.listen)?);
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let (at, runtime) = (listener.local_addr()?, Handle::current());
    let (reactor, workers) = (runtime.reactor(), runtime.workers());
    let mut out = kapok::stdio::stdout();
    writeln!(out, "listening on {at} (reactor {reactor}, workers {workers})")?;
    let (head_timeout, cut_off) = (options.head_timeout, CancelToken::new());
    let (accepting, theirs) = (Arc::clone(&listener), cut_off.clone());
    let accepting = spawn(move || accept_all(&accepting, head_timeout, &theirs));
    signals.recv()?;
    listener.close();
    let connections = accepting.join().unwrap_or_default();
    connections.iter().for_each(|connection| connection.stop.post());
    let all_have_ended = timeout(options.grace, || {
        // A second signal is the end of patience.
        kapok::race(
            || drop(signals.recv()),
            || connections.into_iter().for_each(|one| drop(one.fiber.join())),
        );
    });
    if all_have_ended.is_err() {
        log::info!("connections are cut off");
    }
    cut_off.cancel();
    writeln!(out, "stopped")
}

/// Gives the connections that have not ended when the listener is closed.
fn accept_all(listener: &TcpListener, head_timeout: Duration, cut_off: &CancelToken) -> Vec<Connection> {
    let mut connections = Vec::new();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                connections.retain(|connection: &Connection| !connection.fiber.is_finished());
                let (stop, cut_off) = (Arc::new(Baton::new()), cut_off.clone());
                let stops = Arc::clone(&stop);
                let fiber = spawn(move || {
                    // What a client does wrong, and that it has gone, concerns nobody else.
                    match cut_off.run(|| kapok::block_on(converse(stream, head_timeout, &stops))) {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => log::info!("a connection has failed: {error}"),
                        Err(cancelled) => log::info!("a connection was {cancelled}"),
                    }
                });
                connections.push(Connection { fiber, stop });
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => return connections,
            // As a rule the process is out of descriptors, and clients that leave give some back.
            Err(_) => fiber::sleep(Duration::from_millis(50)),
        }
    }
}

/// Answers the requests of one client, one after the other, until it leaves, or `stop` is posted and the last answer given.
async fn converse(
    stream: TcpStream,
    head_timeout: Duration,
    stop: &Baton,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let connection = http1::Builder::new()
        .timer(Timers)
        .header_read_timeout(head_timeout)
        .serve_connection(Io::new(stream)?, service_fn(answer::answer));
    let (mut connection, mut stop) = (pin!(connection), pin!(stop.posted()));
    let mut stopping = false;
    poll_fn(|context| {
        if !stopping && stop.as_mut().poll(context).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await?;
    Ok(())
}
