//! What is answered, in RESP2, or in RESP3 for a client that has asked for it.

use std::io::Write;

/// Answers that have not been written yet.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    pub(crate) bytes: Vec<u8>,
    pub(crate) resp3: bool,
}

impl Replies {
    pub(crate) fn ok(&mut self) {
        self.simple("OK");
    }

    /// A short text without line ends.
    pub(crate) fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error: its first word is its kind.
    pub(crate) fn error(&mut self, text: &str) {
        // A client's bytes in it must not look like another answer.
        let text = text.replace(['\r', '\n'], " ");
        self.line(b'-', text.as_bytes());
    }

    pub(crate) fn integer(&mut self, value: i64) {
        self.number(b':', value);
    }

    pub(crate) fn count(&mut self, value: usize) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    pub(crate) fn bulk(&mut self, text: &[u8]) {
        self.number(b'$', i64::try_from(text.len()).unwrap_or(i64::MAX));
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn null(&mut self) {
        self.bytes
            .extend_from_slice(if self.resp3 { b"_\r\n".as_slice() } else { b"$-1\r\n" });
    }

    pub(crate) fn bulk_or_null(&mut self, text: Option<&[u8]>) {
        match text {
            Some(text) => self.bulk(text),
            None => self.null(),
        }
    }

    /// The beginning of an array: so many answers follow.
    pub(crate) fn array(&mut self, length: usize) {
        self.number(b'*', i64::try_from(length).unwrap_or(i64::MAX));
    }

    /// The beginning of a map: so many pairs of answers follow.
    pub(crate) fn map(&mut self, pairs: usize) {
        if self.resp3 {
            self.number(b'%', i64::try_from(pairs).unwrap_or(i64::MAX));
        } else {
            self.array(2 * pairs);
        }
    }

    /// A text for people, of several lines.
    pub(crate) fn text(&mut self, text: &str) {
        if self.resp3 {
            self.number(b'=', i64::try_from(text.len() + 4).unwrap_or(i64::MAX));
            self.bytes.extend_from_slice(b"txt:");
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text.as_bytes());
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn number(&mut self, kind: u8, value: i64) {
        self.bytes.push(kind);
        if (0..=9).contains(&value) {
            self.bytes.push(b'0' + value.to_le_bytes()[0]);
        } else {
            write!(self.bytes, "{value}").expect("memory takes it");
        }
        self.bytes.extend_from_slice(b"\r\n");
    }
}
