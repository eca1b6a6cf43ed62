//! Messages that do not wait for each other: out they go for as long as not too many are under way, and come back in order.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use super::meter::Meter;
use super::{Client, wrong};

const MESSAGE: usize = 512;
/// Most messages that are under way on a connection.
const UNDER_WAY: u64 = 64;

/// A message is its number, the time at which it was made, and this.
const FILLING: [u8; MESSAGE - 16] = [b'~'; MESSAGE - 16];

pub(super) struct Stream {
    stream: TcpStream,
    /// The message that is being sent, and how much of it was.
    message: [u8; MESSAGE],
    out: usize,
    sent: u64,
    answered: u64,
    input: Box<[u8; 16 * MESSAGE]>,
    filled: usize,
}

impl Client for Stream {
    fn new(stream: TcpStream, _number: u64, _eager: bool) -> Self {
        let mut message = [0; MESSAGE];
        message[16..].copy_from_slice(&FILLING);
        Stream {
            stream,
            message,
            out: 0,
            sent: 0,
            answered: 0,
            input: Box::new([0; 16 * MESSAGE]),
            filled: 0,
        }
    }

    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn send(&mut self, meter: &Meter) -> io::Result<()> {
        while self.out > 0 || self.sent - self.answered < UNDER_WAY {
            if self.out == 0 {
                self.message[..8].copy_from_slice(&self.sent.to_le_bytes());
                self.message[8..16].copy_from_slice(&meter.now().to_le_bytes());
                self.sent += 1;
            }
            match self.stream.write(&self.message[self.out..]) {
                Ok(count) => self.out = (self.out + count) % MESSAGE,
                // What could not begin is begun again when there is room.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.out == 0 {
                        self.sent -= 1;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, meter: &mut Meter) -> io::Result<()> {
        loop {
            let room = &mut self.input[self.filled..];
            let wanted = room.len();
            let count = match self.stream.read(room) {
                Ok(0) => return Err(wrong("the server closed a connection", self)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.filled += count;
            let whole = self.filled / MESSAGE * MESSAGE;
            for start in (0..whole).step_by(MESSAGE) {
                let (number, rest) = self.input[start..start + MESSAGE].split_at(8);
                let (made, filling) = rest.split_at(8);
                if number != self.answered.to_le_bytes() || filling != FILLING {
                    return Err(wrong("what came back is not what was sent", self));
                }
                meter.answered(u64::from_le_bytes(made.try_into().expect("8 bytes")));
                self.answered += 1;
            }
            self.input.copy_within(whole..self.filled, 0);
            self.filled -= whole;
            if count < wanted {
                return Ok(());
            }
        }
    }
}
