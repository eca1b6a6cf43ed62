//! The load generator: one thread, one epoll loop, nothing of what is measured.
//!
//! It checks every answer, and is cheap enough to keep a server busy that does 200,000 requests in a second. On a processor
//! of its own it never sleeps: a generator that sleeps is woken by the server, on the server's time, and the more often the
//! slower the server is. Its result is one line on standard output, which `Figures` reads again on the other side.

mod brief;
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
use epoll::{Epoll, Event};
use meter::Meter;
use pace::Pace;

/// One connection, driven by what the kernel says of it.
trait Client: Sized {
    /// `eager`: `send` is called whenever something was received.
    fn new(stream: TcpStream, number: u64, eager: bool) -> Self;

    fn stream(&self) -> &TcpStream;

    /// Sends what may be sent.
    fn send(&mut self, meter: &Meter) -> io::Result<()>;

    /// Receives what is there, and checks it.
    fn receive(&mut self, meter: &mut Meter) -> io::Result<()>;

    /// Whether another connection is to take its place.
    fn is_done(&self) -> bool {
        false
    }
}

/// Puts the server under `load` for the times that `options` say, and prints the figures.
pub(crate) fn run(load: &Load, options: &Generator) -> io::Result<()> {
    let figures = match load.protocol {
        Protocol::Echo => drive::<exchange::Echo>(load, options),
        Protocol::Http => drive::<exchange::Http>(load, options),
        Protocol::Pipelined => drive::<pipeline::Pipeline>(load, options),
        Protocol::Stream => drive::<stream::Stream>(load, options),
        Protocol::Connect => drive::<brief::Brief>(load, options),
    }?;
    println!("{figures}");
    Ok(())
}

fn drive<C: Client>(load: &Load, options: &Generator) -> io::Result<Figures> {
    let connections = load.connections;
    let mut epoll = Epoll::new()?;
    let mut clients = Vec::with_capacity(connections);
    for number in 0..connections {
        clients.push(connect::<C>(number, load, options, &mut epoll)?);
    }
    let mut meter = Meter::new(options)?;
    let mut wait = Wait::new(epoll, options.patience, options.spin || load.rate.is_some());
    greet(&mut clients, &mut meter, &mut wait)?;
    meter.start();
    let mut pace = load.rate.map(|rate| Pace::new(connections, rate, meter.now()));
    for (number, client) in clients.iter_mut().enumerate().filter(|_| pace.is_none()) {
        if client.is_done() {
            *client = connect(number, load, options, &mut wait.epoll)?;
        }
        client.send(&meter)?;
    }
    let mut events = Vec::new();
    while !meter.is_over()? {
        if let Some(pace) = &mut pace {
            while let Some(number) = pace.next_due(meter.now()) {
                clients[number].send(&meter)?;
            }
        }
        wait.for_events(&meter, &mut events)?;
        for event in &events {
            let client = &mut clients[event.number];
            if event.readable {
                client.receive(&mut meter)?;
            }
            if client.is_done() {
                *client = connect(event.number, load, options, &mut wait.epoll)?;
            }
            if pace.is_none() {
                client.send(&meter)?;
            }
        }
    }
    meter.figures()
}

fn connect<C: Client>(number: usize, load: &Load, options: &Generator, epoll: &mut Epoll) -> io::Result<C> {
    let stream = TcpStream::connect_timeout(&options.address, options.patience)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    epoll::reset_on_close(&stream)?;
    epoll.add(&stream, number)?;
    Ok(C::new(stream, number as u64, load.rate.is_none()))
}

/// Has every connection answered once, before anything is measured. To make a thousand connections takes a server a while during
/// which it answers nobody: where its table of descriptors grows, the kernel has `accept` wait for all processors.
///
/// Nothing else is sent meanwhile, so that what comes before the measurement is always the same.
fn greet<C: Client>(clients: &mut [C], meter: &mut Meter, wait: &mut Wait) -> io::Result<()> {
    for client in &mut *clients {
        client.send(meter)?;
    }
    let mut was_answered = vec![false; clients.len()];
    let mut left = clients.len();
    let mut events = Vec::new();
    while left > 0 {
        wait.for_events(meter, &mut events).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{error}: {left} connections had no answer at all"),
            )
        })?;
        for event in events.iter().filter(|event| event.readable) {
            let before = meter.answers();
            clients[event.number].receive(meter)?;
            if meter.answers() > before && !was_answered[event.number] {
                was_answered[event.number] = true;
                left -= 1;
            }
        }
    }
    Ok(())
}

/// Waits for what happens to the connections, with patience, but not for ever.
struct Wait {
    epoll: Epoll,
    patience: Duration,
    /// Never sleep.
    spin: bool,
    last_event: u64,
}

impl Wait {
    fn new(epoll: Epoll, patience: Duration, spin: bool) -> Wait {
        Wait {
            epoll,
            patience,
            spin,
            last_event: 0,
        }
    }

    /// Replaces `events`.
    ///
    /// # Errors
    /// `TimedOut` when nothing has happened for too long.
    fn for_events(&mut self, meter: &Meter, events: &mut Vec<Event>) -> io::Result<()> {
        let patience = u64::try_from(self.patience.as_nanos()).expect("a minute at most");
        let timeout = if self.spin { Duration::ZERO } else { self.patience };
        self.epoll.wait(timeout, events)?;
        let now = meter.now();
        if !events.is_empty() {
            self.last_event = now;
        } else if now - self.last_event >= patience {
            let text = format!("the server has not answered for {:?}", self.patience);
            return Err(io::Error::new(ErrorKind::TimedOut, text));
        }
        Ok(())
    }
}

/// What a client thinks of an answer that is not right.
fn wrong(what: &str, client: &impl Client) -> io::Error {
    let address = client.stream().local_addr();
    io::Error::new(ErrorKind::InvalidData, format!("{what} (connection {address:?})"))
}
