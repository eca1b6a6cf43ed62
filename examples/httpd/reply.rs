//! How answers look: status lines, heads, and the short texts that go with errors.

use std::fmt::Display;
use std::io::Write;

use crate::date;

/// The statuses that this server uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Status {
    #[default]
    Ok,
    PartialContent,
    MovedPermanently,
    NotModified,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    PreconditionFailed,
    ContentTooLarge,
    UriTooLong,
    RangeNotSatisfiable,
    ExpectationFailed,
    HeadTooLarge,
    InternalError,
    NotImplemented,
    Unavailable,
    VersionNotSupported,
}

impl Status {
    /// Code and reason phrase, as they stand in the status line.
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::PartialContent => "206 Partial Content",
            Self::MovedPermanently => "301 Moved Permanently",
            Self::NotModified => "304 Not Modified",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::PreconditionFailed => "412 Precondition Failed",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::UriTooLong => "414 URI Too Long",
            Self::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Self::ExpectationFailed => "417 Expectation Failed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::InternalError => "500 Internal Server Error",
            Self::NotImplemented => "501 Not Implemented",
            Self::Unavailable => "503 Service Unavailable",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }

    pub(crate) fn code(self) -> &'static str {
        &self.line()[..3]
    }
}

/// A request that does not get what it asked for, and why, in words for the person behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) reason: &'static str,
}

/// What an answer says about the connection after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// HTTP/1.1 stays open unless it says otherwise.
    KeepAlive,
    /// HTTP/1.0 closes unless it says otherwise.
    KeepAliveSaid,
    Close,
}

/// What a request determines about the form of its answer, whatever the answer is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) persistence: Persistence,
    pub(crate) head_only: bool,
}

/// What has been sent, for the access log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) status: Status,
    pub(crate) body_bytes: u64,
}

/// A response head in the making.
pub(crate) struct Head<'o>(&'o mut Vec<u8>);

impl<'o> Head<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>, status: Status, persistence: Persistence) -> Self {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.line().as_bytes());
        out.extend_from_slice(b"\r\nServer: kapok\r\nDate: ");
        out.extend_from_slice(&date::now());
        out.extend_from_slice(match persistence {
            Persistence::KeepAlive => b"\r\n".as_slice(),
            Persistence::KeepAliveSaid => b"\r\nConnection: keep-alive\r\n",
            Persistence::Close => b"\r\nConnection: close\r\n",
        });
        Self(out)
    }

    pub(crate) fn field(self, name: &str, value: impl Display) -> Self {
        write!(self.0, "{name}: {value}\r\n").expect("a Vec takes all that is written to it");
        self
    }

    pub(crate) fn end(self) {
        self.0.extend_from_slice(b"\r\n");
    }
}

/// The answer of the public web benchmarks, and the shortest path through this server.
pub(crate) fn plaintext(out: &mut Vec<u8>, manner: Manner) -> Sent {
    const TEXT: &[u8] = b"Hello, World!";
    Head::new(out, Status::Ok, manner.persistence);
    out.extend_from_slice(b"Content-Type: text/plain\r\nContent-Length: 13\r\n\r\n");
    body(out, manner, Status::Ok, TEXT)
}

pub(crate) fn html(out: &mut Vec<u8>, manner: Manner, html: &str) -> Sent {
    let head = Head::new(out, Status::Ok, manner.persistence).field("Content-Type", "text/html; charset=utf-8");
    head.field("Content-Length", html.len()).end();
    body(out, manner, Status::Ok, html.as_bytes())
}

pub(crate) fn redirect(out: &mut Vec<u8>, manner: Manner, location: &str) -> Sent {
    let status = Status::MovedPermanently;
    let head = Head::new(out, status, manner.persistence).field("Location", location);
    text(
        head,
        status,
        "this is a directory, and its address ends with a slash",
        manner,
    )
}

pub(crate) fn refuse(out: &mut Vec<u8>, manner: Manner, refusal: Refusal) -> Sent {
    let mut head = Head::new(out, refusal.status, manner.persistence);
    if refusal.status == Status::MethodNotAllowed {
        head = head.field("Allow", "GET, HEAD");
    }
    text(head, refusal.status, refusal.reason, manner)
}

/// Ends a head with a short text that says what the status means here.
pub(crate) fn text(head: Head<'_>, status: Status, reason: &str, manner: Manner) -> Sent {
    let text = format!("{}: {reason}\n", status.line());
    let Head(out) = head
        .field("Content-Type", "text/plain; charset=utf-8")
        .field("Content-Length", text.len());
    Head(out).end();
    body(out, manner, status, text.as_bytes())
}

fn body(out: &mut Vec<u8>, manner: Manner, status: Status, body: &[u8]) -> Sent {
    if manner.head_only {
        return Sent { status, body_bytes: 0 };
    }
    out.extend_from_slice(body);
    Sent {
        status,
        body_bytes: body.len() as u64,
    }
}
