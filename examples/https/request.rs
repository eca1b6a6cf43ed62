//! One request: its head, and the body if its length is told.

use std::io::{self, Read};

/// Longest head.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) keep_alive: bool,
    pub(crate) body: Vec<u8>,
}

/// What has come instead of one.
#[derive(Debug)]
pub(crate) enum Bad {
    /// The end of the connection, before its first byte.
    End,
    /// Something that is answered with this status, after which the connection is closed.
    Refused(u16),
    Broken(io::Error),
}

/// Reads the next request; `input` keeps what comes after it.
pub(crate) fn read(stream: &mut impl Read, input: &mut Vec<u8>, max_body: usize) -> Result<Request, Bad> {
    loop {
        if let Some((length, head)) = head(input)? {
            if length > HEAD_MAX {
                return Err(Bad::Refused(431));
            }
            if head.body > max_body {
                return Err(Bad::Refused(413));
            }
            let end = length + head.body;
            while input.len() < end {
                more(stream, input)?;
            }
            let body = input[length..end].to_vec();
            input.drain(..end);
            return Ok(Request { body, ..head.request });
        }
        if input.len() > HEAD_MAX {
            return Err(Bad::Refused(431));
        }
        more(stream, input)?;
    }
}

fn more(stream: &mut impl Read, input: &mut Vec<u8>) -> Result<(), Bad> {
    let mut room = [0; 4096];
    loop {
        match stream.read(&mut room) {
            Ok(0) if input.is_empty() => return Err(Bad::End),
            Ok(0) => return Err(Bad::Broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                input.extend_from_slice(&room[..count]);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Bad::Broken(error)),
        }
    }
}

struct Head {
    request: Request,
    /// The length of the body.
    body: usize,
}

/// The head that these bytes begin with, and its length, if it is complete.
fn head(input: &[u8]) -> Result<Option<(usize, Head)>, Bad> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Bad::Refused(431)),
        Err(_) => return Err(Bad::Refused(400)),
    };
    let mut keep_alive = parsed.version == Some(1);
    let mut body = None;
    for header in &*parsed.headers {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("connection") {
            let mut words = value.split(',').map(str::trim);
            keep_alive &= !words.any(|word| word.eq_ignore_ascii_case("close"));
        } else if header.name.eq_ignore_ascii_case("content-length") {
            // Two lengths are an attempt to smuggle something in.
            let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            if !is_number || body.is_some() {
                return Err(Bad::Refused(400));
            }
            body = Some(value.parse().map_err(|_| Bad::Refused(413))?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Bad::Refused(501));
        }
    }
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        keep_alive,
        body: Vec::new(),
    };
    let body = body.unwrap_or(0);
    Ok(Some((length, Head { request, body })))
}
