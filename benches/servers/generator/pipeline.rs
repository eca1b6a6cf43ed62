//! Requests that go out together, and the next ones when all of them were answered.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use super::exchange::{REQUEST, answer_length};
use super::meter::Meter;
use super::{Client, wrong};
use crate::loads::DEPTH;

/// There is room for the answers to all of them, at 512 bytes each, and should they not fit they come in pieces.
const ROOM: usize = DEPTH * 512;

pub(super) struct Pipeline {
    stream: TcpStream,
    requests: Vec<u8>,
    /// Answers that are missing.
    missing: usize,
    sent_at: u64,
    input: Box<[u8; ROOM]>,
    filled: usize,
    /// The last answer that was looked at closely. Most are equal to it to the last byte, and then are right as well: a generator
    /// that took longer for them than the servers do could not keep these busy.
    known: Vec<u8>,
}

impl Client for Pipeline {
    fn new(stream: TcpStream, _number: u64, _eager: bool) -> Self {
        Pipeline {
            stream,
            requests: REQUEST.repeat(DEPTH),
            missing: 0,
            sent_at: 0,
            input: Box::new([0; ROOM]),
            filled: 0,
            known: Vec::new(),
        }
    }

    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn send(&mut self, meter: &Meter) -> io::Result<()> {
        if self.missing > 0 {
            return Ok(());
        }
        self.sent_at = meter.now();
        // Nothing else is under way, so there is room for them.
        if self.stream.write(&self.requests)? != self.requests.len() {
            return Err(wrong("requests did not fit into the socket", self));
        }
        self.missing = DEPTH;
        Ok(())
    }

    fn receive(&mut self, meter: &mut Meter) -> io::Result<()> {
        loop {
            let room = &mut self.input[self.filled..];
            let wanted = room.len();
            let count = match self.stream.read(room) {
                Ok(0) => return Err(wrong("the server closed a connection, or its answer is too long", self)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.filled += count;
            self.take_answers(meter)?;
            if count < wanted {
                return Ok(());
            }
        }
    }
}

impl Pipeline {
    fn take_answers(&mut self, meter: &mut Meter) -> io::Result<()> {
        let mut at = 0;
        while at < self.filled {
            let rest = &self.input[at..self.filled];
            let is_known = !self.known.is_empty() && rest.starts_with(&self.known);
            let length = if is_known {
                self.known.len()
            } else {
                match answer_length(rest) {
                    Ok(Some(length)) => length,
                    Ok(None) => break,
                    Err(what) => return Err(wrong(&what, self)),
                }
            };
            if self.missing == 0 {
                return Err(wrong("an answer came before its request", self));
            }
            if !is_known {
                self.known = rest[..length].to_vec();
            }
            self.missing -= 1;
            at += length;
            meter.answered(self.sent_at);
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}
