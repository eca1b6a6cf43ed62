//! What a request head means: strict about everything that decides where the next request starts.

use std::mem::MaybeUninit;

use httparse::Header;

use crate::reply::{Refusal, Status};

/// Header fields a request may have.
const MAX_FIELDS: usize = 64;

/// And those that most have.
const FEW: usize = 16;

/// Room for the header fields of one request: for a few in place, where room for all would take another page of the stack.
pub(crate) struct Slots<'h> {
    few: [MaybeUninit<Header<'h>>; FEW],
    many: Vec<MaybeUninit<Header<'h>>>,
}

impl Slots<'_> {
    pub(crate) fn new() -> Self {
        Self {
            few: [const { MaybeUninit::uninit() }; FEW],
            many: Vec::new(),
        }
    }
}

/// The methods that make a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    /// A method of the standards that means nothing to a server of files.
    OtherStandard,
    Unknown,
}

/// How much follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Length(u64),
    Chunked,
}

/// A request head whose framing is beyond doubt.
pub(crate) struct Request<'h> {
    pub(crate) method: Method,
    pub(crate) target: &'h str,
    pub(crate) minor_version: u8,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) body: Body,
    fields: &'h [Header<'h>],
}

impl<'h> Request<'h> {
    /// Understands a whole head, or says what is wrong with it. After a refusal the connection has to be closed.
    pub(crate) fn parse(head: &'h [u8], slots: &'h mut Slots<'h>) -> Result<Self, Refusal> {
        let mut parsed = httparse::Request::new(&mut []);
        let mut result = parsed.parse_with_uninit_headers(head, &mut slots.few);
        if result == Err(httparse::Error::TooManyHeaders) {
            slots.many.resize_with(MAX_FIELDS, MaybeUninit::uninit);
            parsed = httparse::Request::new(&mut []);
            result = parsed.parse_with_uninit_headers(head, &mut slots.many);
        }
        match result {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(bad("the request head is malformed")),
            Err(error) => return Err(explain(error, head)),
        }
        let (Some(method), Some(target), Some(minor_version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(bad("the request line is malformed"));
        };
        let fields: &'h [Header<'h>] = parsed.headers;
        let mut request = Self {
            method: understand_method(method),
            target,
            minor_version,
            keep_alive: minor_version >= 1,
            expects_continue: false,
            body: Body::None,
            fields,
        };
        request.understand_fields()?;
        Ok(request)
    }

    /// The values of all fields of this name, in order.
    pub(crate) fn values(&self, name: &'static str) -> impl Iterator<Item = &'h [u8]> + use<'h> {
        self.fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// The value of a field that makes sense only once.
    pub(crate) fn value(&self, name: &'static str) -> Option<&'h str> {
        let mut values = self.values(name);
        let value = std::str::from_utf8(values.next()?).ok()?.trim();
        values.next().is_none().then_some(value)
    }

    /// Whether this is a GET without conditions or ranges: one that is answered with all there is.
    pub(crate) fn wants_all_of_it(&self) -> bool {
        let says_more = |name: &str| {
            name.eq_ignore_ascii_case("Range") || name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("If-"))
        };
        self.method == Method::Get && !self.fields.iter().any(|field| says_more(field.name))
    }

    /// The path as it was sent, without the query.
    pub(crate) fn path(&self) -> &'h str {
        let query = memchr::memchr(b'?', self.target.as_bytes());
        query.map_or(self.target, |at| &self.target[..at])
    }

    /// Why this method is not served, if it is not.
    pub(crate) fn method_refusal(&self) -> Option<Refusal> {
        match self.method {
            Method::Get | Method::Head => None,
            Method::OtherStandard => Some(Refusal {
                status: Status::MethodNotAllowed,
                reason: "only GET and HEAD are served here",
            }),
            Method::Unknown => Some(Refusal {
                status: Status::NotImplemented,
                reason: "the method is unknown",
            }),
        }
    }

    fn understand_fields(&mut self) -> Result<(), Refusal> {
        let mut hosts = 0;
        let mut close = false;
        for field in self.fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("Host") {
                hosts += 1;
                check_host(field.value)?;
            } else if is("Connection") {
                close |= has_token(field.value, "close");
                self.keep_alive |= has_token(field.value, "keep-alive");
            } else if is("Content-Length") {
                self.understand_length(field.value)?;
            } else if is("Transfer-Encoding") {
                self.understand_encoding(field.value)?;
            } else if is("Expect") && self.minor_version >= 1 {
                if !field.value.trim_ascii().eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal {
                        status: Status::ExpectationFailed,
                        reason: "only 100-continue can be expected",
                    });
                }
                self.expects_continue = true;
            }
        }
        self.keep_alive &= !close;
        if hosts > 1 || (hosts == 0 && self.minor_version >= 1) {
            return Err(bad("exactly one Host field is needed"));
        }
        Ok(())
    }

    fn understand_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.body != Body::None {
            return Err(bad("the body's length is given twice"));
        }
        let digits = std::str::from_utf8(value.trim_ascii()).unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad("Content-Length is not a number"));
        }
        // A number of nothing but digits fails to parse only when it is too large for any limit.
        self.body = Body::Length(digits.parse().unwrap_or(u64::MAX));
        Ok(())
    }

    fn understand_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.body != Body::None {
            return Err(bad("the body's length is given twice"));
        }
        if self.minor_version == 0 {
            return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        if !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal {
                status: Status::NotImplemented,
                reason: "the only known Transfer-Encoding is chunked",
            });
        }
        self.body = Body::Chunked;
        Ok(())
    }
}

fn understand_method(method: &str) -> Method {
    match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "CONNECT" | "DELETE" | "OPTIONS" | "PATCH" | "POST" | "PUT" | "TRACE" => Method::OtherStandard,
        _ => Method::Unknown,
    }
}

/// Which bytes may be in a Host field: looked up, since every request has one.
static IN_HOST: [bool; 256] = {
    let marks = b"-._~%!$&'()*+;=:[]";
    let mut fine = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        fine[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < marks.len() {
        fine[marks[i] as usize] = true;
        i += 1;
    }
    fine
};

fn check_host(value: &[u8]) -> Result<(), Refusal> {
    if value.trim_ascii().iter().all(|&byte| IN_HOST[usize::from(byte)]) {
        Ok(())
    } else {
        Err(bad("the Host field is malformed"))
    }
}

/// Whether a comma-separated list has this token.
fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|&byte| byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn explain(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal {
            status: Status::HeadTooLarge,
            reason: "the request has too many header fields",
        },
        httparse::Error::Version if names_a_version(head) => Refusal {
            status: Status::VersionNotSupported,
            reason: "only HTTP/1.0 and HTTP/1.1 are spoken here",
        },
        httparse::Error::HeaderName | httparse::Error::HeaderValue => bad("a header field is malformed"),
        _ => bad("the request line is malformed"),
    }
}

/// Whether the request line is three words, the last like `HTTP/2.0`: then it is the number alone that is wrong.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let (version, more) = (words.next().unwrap_or_default(), words.next());
    let number = version.strip_prefix(b"HTTP/").unwrap_or_default();
    more.is_none() && matches!(number, [b'0'..=b'9'] | [b'0'..=b'9', b'.', b'0'..=b'9'])
}

fn bad(reason: &'static str) -> Refusal {
    Refusal {
        status: Status::BadRequest,
        reason,
    }
}
