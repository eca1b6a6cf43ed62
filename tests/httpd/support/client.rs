//! A client that sends exactly what it is told to, and reads answers one by one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// One connection to the server.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// No time-outs are set: with one, a read is interrupted by any signal, be it for another thread's setrlimit (musl), or by
    /// what stops the process for a moment. The watchdog ends a test that waits for too long.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connect to the server");
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            received: Vec::new(),
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("send");
    }

    /// Says that nothing more will be sent.
    #[track_caller]
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("shut down");
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.get_with(target, "")
    }

    /// A GET with more header lines, each ended by CRLF.
    #[track_caller]
    pub(crate) fn get_with(&mut self, target: &str, fields: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
        self.answer()
    }

    #[track_caller]
    pub(crate) fn head(&mut self, target: &str, fields: &str) -> Answer {
        self.send(format!("HEAD {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
        self.answer_without_body()
    }

    /// Reads one answer.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.answer_without_body();
        if answer.status >= 200 && answer.status != 304 {
            let length = answer
                .field("Content-Length")
                .expect("a Content-Length")
                .parse()
                .expect("a number");
            while self.received.len() < length {
                assert!(self.receive() > 0, "the connection ended within a body");
            }
            answer.body = self.received.drain(..length).collect();
        }
        answer
    }

    /// Reads an answer's head, which is all there is of an answer to HEAD.
    #[track_caller]
    pub(crate) fn answer_without_body(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.receive() > 0,
                "the connection ended before a whole answer: {:?}",
                text(&self.received)
            );
        };
        Answer::parse(&text(&self.received.drain(..end).collect::<Vec<_>>()))
    }

    /// Checks that the server has nothing more to say and closes.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        while self.receive() > 0 {}
        assert!(
            self.received.is_empty(),
            "this came before the end: {:?}",
            text(&self.received)
        );
    }

    /// Everything until the server closes.
    #[track_caller]
    pub(crate) fn rest(mut self) -> Vec<u8> {
        while self.receive() > 0 {}
        self.received
    }

    /// Reads once; 0 is the end, also if the server ended it with a reset.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> usize {
        let mut room = vec![0; 64 * 1024];
        match self.stream.read(&mut room) {
            Ok(count) => {
                self.received.extend_from_slice(&room[..count]);
                count
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("cannot read from the server: {error}"),
        }
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn parse(head: &str) -> Self {
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .expect("HTTP/1.1")
            .get(..3)
            .expect("a code")
            .parse();
        let split = |line: &str| {
            line.split_once(": ")
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        Self {
            status: status.expect("a number"),
            fields: lines.map(|line| split(line).expect("a header field")).collect(),
            body: Vec::new(),
        }
    }

    /// The value of a field that may be there once at most.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {:?}", self.fields);
        value
    }

    pub(crate) fn text(&self) -> String {
        text(&self.body)
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {:?}", self.fields, self.text());
        self
    }

    #[track_caller]
    pub(crate) fn expect_body(self, body: impl AsRef<[u8]>) -> Self {
        assert_eq!(self.text(), text(body.as_ref()));
        self
    }

    #[track_caller]
    pub(crate) fn expect_field(self, name: &str, value: &str) -> Self {
        assert_eq!(self.field(name), Some(value), "{name} in {:?}", self.fields);
        self
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
