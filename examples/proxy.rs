//! A TCP proxy: what clients say goes to a server, what that answers goes back. One fiber a connection, and one for the way back.
//!
//! ```sh
//! cargo run --release --example proxy -- --listen 127.0.0.1:7001 --upstream 127.0.0.1:7000
//! ```

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use kapok::fiber::JoinHandle;
use kapok::net::{self, Copied, TcpListener, TcpStream};
use kapok::runtime::{Builder, Handle};
use kapok::signal::{SIGINT, SIGTERM, Signals};
use kapok::{CancelToken, Engine, ReactorKind, fiber, spawn, timeout};

/// A TCP proxy on Kapok fibers.
#[derive(Clone, Parser)]
struct Options {
    /// Address to listen on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7001")]
    listen: String,
    /// Address of the server; a name is looked up for each connection
    #[arg(long, value_name = "ADDR")]
    upstream: String,
    /// Seconds to wait for the server to take a connection
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    connect_timeout: Duration,
    /// Seconds that a connection may last in all; 0 is without limit
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    max_time: Duration,
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
    /// Say what became of each connection
    #[arg(short, long)]
    verbose: bool,
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
    match runtime.run(move || serve(options)).and_then(|served| served) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What all connections have in common.
struct Proxy {
    options: Options,
    /// Cancelled when the time is up in which connections could end by themselves.
    stop: CancelToken,
    begun: AtomicU64,
    /// Those that have ended in good order.
    served: AtomicU64,
}

/// Serves until a signal comes, and then until the connections have ended, or their time is up.
fn serve(options: Options) -> io::Result<()> {
    let listener = Arc::new(TcpListener::bind(&options.listen)?);
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let (at, runtime) = (listener.local_addr()?, Handle::current());
    let (reactor, workers) = (runtime.reactor(), runtime.workers());
    let mut out = kapok::stdio::stdout();
    writeln!(out, "listening on {at} (reactor {reactor}, workers {workers})")?;
    let proxy = Arc::new(Proxy {
        options,
        stop: CancelToken::new(),
        begun: AtomicU64::new(0),
        served: AtomicU64::new(0),
    });
    let (accepting, theirs) = (Arc::clone(&listener), Arc::clone(&proxy));
    let accepting = spawn(move || accept_all(&accepting, &theirs));
    signals.recv()?;
    listener.close();
    let connections = accepting.join().unwrap_or_default();
    let all_have_ended = timeout(proxy.options.grace, || {
        // A second signal is the end of patience.
        kapok::race(
            || drop(signals.recv()),
            || connections.into_iter().for_each(|connection| drop(connection.join())),
        );
    });
    if all_have_ended.is_err() {
        log::info!("connections are cut off");
    }
    proxy.stop.cancel();
    let served = proxy.served.load(Ordering::Relaxed);
    let failed = proxy.begun.load(Ordering::Relaxed) - served;
    writeln!(out, "{served} connections served, {failed} failed")
}

/// Gives the connections that have not ended when the listener is closed.
fn accept_all(listener: &TcpListener, proxy: &Arc<Proxy>) -> Vec<JoinHandle<()>> {
    let mut connections = Vec::new();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                connections.retain(|connection: &JoinHandle<()>| !connection.is_finished());
                proxy.begun.fetch_add(1, Ordering::Relaxed);
                let proxy = Arc::clone(proxy);
                connections.push(spawn(move || {
                    if proxy.stop.run(|| proxy.connection(&stream)).is_err() {
                        log::info!("a connection was cut off");
                    }
                }));
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => return connections,
            // As a rule the process is out of descriptors, and clients that leave give some back.
            Err(_) => fiber::sleep(Duration::from_millis(50)),
        }
    }
}

impl Proxy {
    fn connection(&self, client: &TcpStream) {
        let copied = Copied::new();
        let result = self.relay(client, &copied);
        if result.is_ok() {
            self.served.fetch_add(1, Ordering::Relaxed);
        }
        if self.options.verbose {
            let how = result.map_or_else(|error| error.to_string(), |()| "done".to_owned());
            let (there, back) = (copied.a_to_b(), copied.b_to_a());
            // Nobody has to listen.
            drop(writeln!(
                kapok::stdio::stderr(),
                "{there} bytes there, {back} back: {how}"
            ));
        }
    }

    fn relay(&self, client: &TcpStream, copied: &Copied) -> io::Result<()> {
        let Options {
            upstream,
            connect_timeout,
            max_time,
            ..
        } = &self.options;
        let server = timeout(*connect_timeout, || TcpStream::connect(upstream))??;
        // Small messages do not wait for larger ones to come.
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let copy = || net::copy_bidirectional_counted(client, &server, copied);
        if max_time.is_zero() {
            copy()
        } else {
            timeout(*max_time, copy)?
        }
    }
}
