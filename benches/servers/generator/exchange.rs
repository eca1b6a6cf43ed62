//! One request at a time: the next one is sent when the answer to the last one is there.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use super::meter::Meter;
use super::{Client, wrong};

/// What is sent and how the answer is known to be right.
pub(super) trait Protocol: Sized {
    fn new(number: u64) -> Self;

    /// The next request.
    fn request(&mut self) -> &[u8];

    /// Whether `bytes` are the answer: false if some of it is missing, an error if they cannot become it.
    fn is_answer(&self, bytes: &[u8]) -> Result<bool, String>;
}

pub(super) struct Exchange<P> {
    stream: TcpStream,
    protocol: P,
    waiting: bool,
    /// The next request goes out when the last answer has come in, so one look at the clock does for both.
    eager: bool,
    /// 0: to be looked up when the next one is sent.
    sent_at: u64,
    answer: [u8; 1024],
    filled: usize,
}

pub(super) type Echo = Exchange<EchoBytes>;
pub(super) type Http = Exchange<Plaintext>;

impl<P: Protocol> Client for Exchange<P> {
    fn new(stream: TcpStream, number: u64, eager: bool) -> Self {
        Exchange {
            stream,
            protocol: P::new(number),
            waiting: false,
            eager,
            sent_at: 0,
            answer: [0; 1024],
            filled: 0,
        }
    }

    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn send(&mut self, meter: &Meter) -> io::Result<()> {
        if self.waiting {
            return Ok(());
        }
        if self.sent_at == 0 {
            self.sent_at = meter.now();
        }
        let request = self.protocol.request();
        // Nothing else is under way, so there is room for it.
        let length = request.len();
        let sent = self.stream.write(request)?;
        if sent != length {
            return Err(wrong("a request did not fit into the socket", self));
        }
        self.waiting = true;
        Ok(())
    }

    fn receive(&mut self, meter: &mut Meter) -> io::Result<()> {
        match self.stream.read(&mut self.answer[self.filled..]) {
            Ok(0) => return Err(wrong("the server closed a connection, or its answer is too long", self)),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        if !self.waiting {
            return Err(wrong("an answer came before its request", self));
        }
        match self.protocol.is_answer(&self.answer[..self.filled]) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.waiting = false;
                self.filled = 0;
                let now = meter.answered(self.sent_at);
                self.sent_at = if self.eager && meter.is_open() { now } else { 0 };
                Ok(())
            }
            Err(what) => Err(wrong(&what, self)),
        }
    }
}

/// 64 bytes of which no two are alike in a connection's life, nor in two connections'.
pub(super) struct EchoBytes {
    message: [u8; 64],
    number: u64,
    count: u64,
}

impl Protocol for EchoBytes {
    fn new(number: u64) -> Self {
        let message = std::array::from_fn(|i| b"kapok"[i % 5]);
        EchoBytes {
            message,
            number,
            count: 0,
        }
    }

    fn request(&mut self) -> &[u8] {
        self.count += 1;
        self.message[..8].copy_from_slice(&self.number.to_le_bytes());
        self.message[56..].copy_from_slice(&self.count.to_le_bytes());
        &self.message
    }

    fn is_answer(&self, bytes: &[u8]) -> Result<bool, String> {
        if bytes.len() < self.message.len() {
            return Ok(false);
        }
        if bytes != self.message {
            return Err("what came back is not what was sent".to_owned());
        }
        Ok(true)
    }
}

/// A web benchmark's plainest request.
pub(super) struct Plaintext;

pub(super) const REQUEST: &[u8] =
    b"GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: servers\r\nAccept: */*\r\n\r\n";
const BODY: &[u8] = b"Hello, World!";

impl Protocol for Plaintext {
    fn new(_number: u64) -> Self {
        Plaintext
    }

    fn request(&mut self) -> &[u8] {
        REQUEST
    }

    fn is_answer(&self, bytes: &[u8]) -> Result<bool, String> {
        match answer_length(bytes)? {
            None => Ok(false),
            Some(length) if length == bytes.len() => Ok(true),
            Some(_) => Err("something follows the answer".to_owned()),
        }
    }
}

/// The length of the answer to [`REQUEST`] that `bytes` begin with; `None` if some of it is missing, an error if it is not one.
pub(super) fn answer_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("this is not an HTTP answer: {error}")),
    };
    if response.code != Some(200) {
        return Err(format!("the answer's status is {:?}", response.code));
    }
    let length = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<usize>().ok())
        .ok_or("the answer has no Content-Length")?;
    if length != BODY.len() {
        return Err("the answer's body has the wrong length".to_owned());
    }
    match bytes[head..].get(..length) {
        None => Ok(None),
        Some(BODY) => Ok(Some(head + length)),
        Some(_) => Err("the answer's body is not the right one".to_owned()),
    }
}
