//! The load generator: one thread, one epoll loop, nothing of what is measured.
//!
//! It checks every answer, and is cheap enough to keep a server busy that does 200,000 requests in a second. On a processor
//! of its own it never sleeps: a generator that sleeps is woken by the server, on the server's time, and the more often the
//! slower the server is. Its result is one line on standard output, which `Figures` reads again on the other side.

mod epoll;
mod exchange;
mod figures;
mod meter;
mod pace;
mod pipeline;
mod stream;

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) use figures::Figures;

use crate::loads::{Load, Protocol};
use crate::options::Generator;
use epoll::Epoll;
use meter::Meter;
use pace::Pace;

/// For how many nanoseconds a server may leave all connections without an answer.
const PATIENCE: u64 = 20_000_000_000;

/// One connection, driven by what the kernel says of it.
trait Client: Sized {
    /// `eager`: `send` is called whenever something was received.
    fn new(stream: TcpStream, number: u64, eager: bool) -> Self;

    fn stream(&self) -> &TcpStream;

    /// Sends what may be sent.
    fn send(&mut self, meter: &Meter) -> io::Result<()>;

    /// Receives what is there, and checks it.
    fn receive(&mut self, meter: &mut Meter) -> io::Result<()>;
}

/// Puts the server under `load` for the times that `options` say, and prints the figures.
pub(crate) fn run(load: &Load, options: &Generator) -> io::Result<()> {
    let figures = match load.protocol {
        Protocol::Echo => drive::<exchange::Echo>(load, options),
        Protocol::Http => drive::<exchange::Http>(load, options),
        Protocol::Pipelined => drive::<pipeline::Pipeline>(load, options),
        Protocol::Stream => drive::<stream::Stream>(load, options),
    }?;
    println!("{figures}");
    Ok(())
}

fn drive<C: Client>(load: &Load, options: &Generator) -> io::Result<Figures> {
    let connections = load.connections;
    let mut epoll = Epoll::new()?;
    let mut clients = Vec::with_capacity(connections);
    for number in 0..connections {
        let stream = TcpStream::connect(options.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::reset_on_close(&stream)?;
        epoll.add(&stream, number)?;
        clients.push(C::new(stream, number as u64, load.rate.is_none()));
    }
    let mut meter = Meter::new(options)?;
    let mut pace = load.rate.map(|rate| Pace::new(connections, rate, meter.now()));
    if pace.is_none() {
        for client in &mut clients {
            client.send(&meter)?;
        }
    }
    let mut last_event = meter.now();
    while !meter.is_over()? {
        if let Some(pace) = &mut pace {
            while let Some(number) = pace.next_due(meter.now()) {
                clients[number].send(&meter)?;
            }
        }
        let timeout = if options.spin || pace.is_some() {
            Duration::ZERO
        } else {
            Duration::from_nanos(PATIENCE)
        };
        let mut idle = true;
        for event in epoll.wait(timeout)? {
            idle = false;
            let client = &mut clients[event.number];
            if event.readable {
                client.receive(&mut meter)?;
            }
            if pace.is_none() {
                client.send(&meter)?;
            }
        }
        if !idle {
            last_event = meter.now();
        } else if meter.now() - last_event >= PATIENCE {
            return Err(io::Error::new(ErrorKind::TimedOut, "the server has stopped answering"));
        }
    }
    meter.figures()
}

/// What a client thinks of an answer that is not right.
fn wrong(what: &str, client: &impl Client) -> io::Error {
    let address = client.stream().local_addr();
    io::Error::new(ErrorKind::InvalidData, format!("{what} (connection {address:?})"))
}
