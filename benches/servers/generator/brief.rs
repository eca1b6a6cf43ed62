//! One request for each connection: what it costs to take one, and to be rid of it.

use std::io;
use std::net::TcpStream;

use super::Client;
use super::exchange::Echo;
use super::meter::Meter;

pub(super) struct Brief {
    exchange: Echo,
    was_answered: bool,
}

impl Client for Brief {
    fn new(stream: TcpStream, number: u64, _eager: bool) -> Self {
        Brief {
            exchange: Echo::new(stream, number, false),
            was_answered: false,
        }
    }

    fn stream(&self) -> &TcpStream {
        self.exchange.stream()
    }

    fn send(&mut self, meter: &Meter) -> io::Result<()> {
        self.exchange.send(meter)
    }

    fn receive(&mut self, meter: &mut Meter) -> io::Result<()> {
        let before = meter.answers();
        self.exchange.receive(meter)?;
        self.was_answered |= meter.answers() > before;
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.was_answered
    }
}
