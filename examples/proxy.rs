//! A TCP proxy: what clients say goes to a server, what that answers goes back. One fiber a connection, and one for the way back.
//!
//! ```sh
//! cargo run --release --example proxy -- --listen 127.0.0.1:7001 --upstream 127.0.0.1:7000
//! ```

mod common;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use common::server::{Connections, Server};
use common::{RuntimeOptions, seconds};
use kapok::net::{self, Copied, TcpStream};
use kapok::timeout;

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
    /// Connections at a time; further ones are closed
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    max_connections: usize,
    /// Say what became of each connection
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    runtime: RuntimeOptions,
}

fn main() -> ExitCode {
    let options = Options::parse();
    options.runtime.clone().run("proxy", || serve(options))
}

/// What all connections have in common.
struct Proxy {
    options: Options,
    begun: AtomicU64,
    /// Those that have ended in good order.
    served: AtomicU64,
}

/// Serves until a signal comes, and then until the connections have ended, or their time is up.
fn serve(options: Options) -> io::Result<()> {
    let server = Server::bind(&options.listen, "", options.max_connections)?;
    let grace = options.grace;
    let proxy = Arc::new(Proxy {
        options,
        begun: AtomicU64::new(0),
        served: AtomicU64::new(0),
    });
    let theirs = Arc::clone(&proxy);
    // It knows nothing of what it carries, so there is nothing to tell them when it stops.
    let go_on = |_: &Connections| ();
    server.serve(grace, move |client| theirs.connection(&client.stream), go_on)?;
    let served = proxy.served.load(Ordering::Relaxed);
    let failed = proxy.begun.load(Ordering::Relaxed) - served;
    writeln!(kapok::stdio::stdout(), "{served} connections served, {failed} failed")
}

impl Proxy {
    fn connection(&self, client: &TcpStream) {
        self.begun.fetch_add(1, Ordering::Relaxed);
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
