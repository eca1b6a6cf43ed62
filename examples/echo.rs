//! A TCP echo server: one fiber a connection sends back what it reads.
//!
//! ```sh
//! cargo run --release --example echo -- --listen 127.0.0.1:7000
//! nc 127.0.0.1 7000
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use kapok::net::{TcpListener, TcpStream};
use kapok::runtime::{Builder, Handle};
use kapok::sync::Baton;
use kapok::{Engine, ReactorKind};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A TCP echo server on Kapok fibers.
#[derive(Parser)]
struct Options {
    /// Address to listen on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    listen: String,
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

#[expect(clippy::print_stderr, reason = "a person is told why it could not start")]
fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = options.switch.into_iter().fold(Builder::new(), Builder::switch);
    let runtime = options.reactor.into_iter().fold(runtime, Builder::reactor);
    let runtime = options.workers.into_iter().fold(runtime, Builder::workers);
    match runtime.run(move || serve(&options.listen)).and_then(|served| served) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal comes. The runtime ends when the last client has closed its connection.
fn serve(address: &str) -> io::Result<()> {
    let listener = Arc::new(TcpListener::bind(address)?);
    let stop = on_signal()?;
    let (at, runtime) = (listener.local_addr()?, Handle::current());
    let (reactor, switch, workers) = (runtime.reactor(), runtime.switch(), runtime.workers());
    writeln!(
        io::stdout(),
        "listening on {at} (reactor {reactor}, switch {switch}, workers {workers})"
    )?;
    let accepting = Arc::clone(&listener);
    drop(kapok::spawn(move || accept_all(&accepting)));
    stop.wait();
    listener.close();
    Ok(())
}

fn accept_all(listener: &TcpListener) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => drop(kapok::spawn(move || echo(&stream))),
            Err(error) if error.kind() == ErrorKind::NotConnected => return,
            // As a rule the process is out of descriptors, and clients that leave give some back.
            Err(_) => kapok::fiber::sleep(Duration::from_millis(50)),
        }
    }
}

/// Sends everything back until the client has no more to say.
fn echo(mut stream: &TcpStream) -> io::Result<()> {
    // On the fiber's stack, in the page that its frames are in.
    let mut buffer = [0; 2048];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}

/// A baton that the first SIGINT or SIGTERM posts. The second one ends the process on the spot.
fn on_signal() -> io::Result<Arc<Baton>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let stop = Arc::new(Baton::new());
    let post = Arc::clone(&stop);
    thread::spawn(move || {
        signals.forever().next();
        post.post();
        signals.forever().next();
        signal_hook::low_level::exit(130);
    });
    Ok(stop)
}
