//! What a client asks: requests in RESP, arrays of bulk strings, or inline, a line of words.

use std::fmt;
use std::ops::Range;

/// How large a request may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of one argument.
    pub(crate) argument: usize,
    /// Bytes of a whole request.
    pub(crate) request: usize,
}

/// Arguments that a request may have, as Redis has it.
const ARGUMENTS_MAX: usize = 1024 * 1024;
/// Arguments, and bytes of each, for who has not given the password, as Redis has it: enough to give it.
const STRANGERS_ARGUMENTS_MAX: usize = 10;
const STRANGERS_ARGUMENT_MAX: usize = 16 * 1024;
/// Bytes of a line: a length, or an inline request.
const LINE_MAX: usize = 64 * 1024;

/// Why a client cannot be understood any more: where its next request starts is unknowable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    ArgumentCount,
    ArgumentLength,
    StrangersArgumentCount,
    StrangersArgumentLength,
    ArgumentTooLong { length: usize, limit: usize },
    RequestTooLong { limit: usize },
    LineTooLong,
    NoDollar(u8),
    NoLineEnd,
    UnbalancedQuotes,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::ArgumentCount => f.write_str("invalid multibulk length"),
            Broken::ArgumentLength => f.write_str("invalid bulk length"),
            Broken::StrangersArgumentCount => f.write_str("unauthenticated multibulk length"),
            Broken::StrangersArgumentLength => f.write_str("unauthenticated bulk length"),
            Broken::ArgumentTooLong { length, limit } => {
                write!(f, "invalid bulk length: {length} bytes, {limit} are allowed")
            }
            Broken::RequestTooLong { limit } => write!(f, "too big request, {limit} bytes are allowed"),
            Broken::LineTooLong => f.write_str("too big inline request"),
            Broken::NoDollar(byte) => write!(f, "expected '$', got '{}'", byte.escape_ascii()),
            Broken::NoLineEnd => f.write_str("expected CRLF after an argument"),
            Broken::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

/// Reads one request after the other. Where one is incomplete, it goes on from there when more has come.
#[derive(Debug)]
pub(crate) struct Parser {
    limits: Limits,
    /// Whether the client has given the password, if one is required; others may not make the server hold much.
    pub(crate) is_known: bool,
    /// Up to here the request has been looked at.
    at: usize,
    /// How many arguments have yet to come; `None` before that is known.
    missing: Option<usize>,
    /// The length of the argument that is being read.
    length: Option<usize>,
    arguments: Vec<Range<usize>>,
    /// The words of an inline request without their quotes; else they are in the input.
    words: Option<Vec<u8>>,
}

/// What a request consists of: the command's name and its arguments.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    bytes: &'a [u8],
    places: &'a [Range<usize>],
}

impl Parser {
    pub(crate) fn new(limits: Limits) -> Parser {
        Parser {
            limits,
            is_known: true,
            at: 0,
            missing: None,
            length: None,
            arguments: Vec::new(),
            words: None,
        }
    }

    /// Looks at the bytes that are there of a request, always from its first one on. Gives its length if it is complete; then
    /// [`arguments`](Parser::arguments) has it, and after [`finish`](Parser::finish) the next one begins.
    pub(crate) fn parse(&mut self, input: &[u8]) -> Result<Option<usize>, Broken> {
        let missing = match (self.missing, input.first()) {
            (Some(missing), _) => missing,
            (None, None) => return Ok(None),
            (None, Some(b'*')) => {
                let Some(line) = self.line(input)? else { return Ok(None) };
                // Fewer than one is an empty request.
                match number(&line[1..]) {
                    Some(count) if count > ARGUMENTS_MAX as i64 => return Err(Broken::ArgumentCount),
                    Some(count) if count > STRANGERS_ARGUMENTS_MAX as i64 && !self.is_known => {
                        return Err(Broken::StrangersArgumentCount);
                    }
                    Some(count) => usize::try_from(count).unwrap_or(0),
                    None => return Err(Broken::ArgumentCount),
                }
            }
            (None, Some(_)) => return self.inline(input),
        };
        self.missing = Some(missing);
        while self.missing > Some(0) {
            if !self.argument(input)? {
                return Ok(None);
            }
            self.missing = self.missing.map(|missing| missing - 1);
        }
        Ok(Some(self.at))
    }

    /// The request that is complete.
    pub(crate) fn arguments<'a>(&'a self, input: &'a [u8]) -> Arguments<'a> {
        Arguments {
            bytes: self.words.as_deref().unwrap_or(input),
            places: &self.arguments,
        }
    }

    /// How many bytes a request needs at least, as far as that is known.
    pub(crate) fn expects(&self) -> usize {
        self.at + self.length.map_or(0, |length| length + 2)
    }

    pub(crate) fn finish(&mut self) {
        self.at = 0;
        self.missing = None;
        self.length = None;
        self.words = None;
        self.arguments.clear();
        // One large request is no reason to keep that much.
        self.arguments.shrink_to(64);
    }

    /// Reads the next argument; false if it is incomplete.
    fn argument(&mut self, input: &[u8]) -> Result<bool, Broken> {
        let length = match self.length {
            Some(length) => length,
            None => {
                if let Some(&byte) = input.get(self.at).filter(|byte| **byte != b'$') {
                    return Err(Broken::NoDollar(byte));
                }
                let Some(line) = self.line(input)? else {
                    return Ok(false);
                };
                let length = number(&line[1..]).and_then(|length| usize::try_from(length).ok());
                let length = length.ok_or(Broken::ArgumentLength)?;
                let limit = self.limits.argument;
                if length > limit {
                    return Err(Broken::ArgumentTooLong { length, limit });
                }
                if length > STRANGERS_ARGUMENT_MAX && !self.is_known {
                    return Err(Broken::StrangersArgumentLength);
                }
                let limit = self.limits.request;
                if self.at + length > limit {
                    return Err(Broken::RequestTooLong { limit });
                }
                *self.length.insert(length)
            }
        };
        let end = self.at + length;
        let Some(line_end) = input.get(end..end + 2) else {
            return Ok(false);
        };
        if line_end != b"\r\n" {
            return Err(Broken::NoLineEnd);
        }
        self.arguments.push(self.at..end);
        self.at = end + 2;
        self.length = None;
        Ok(true)
    }

    /// A line without its end, if it has one.
    fn line<'a>(&mut self, input: &'a [u8]) -> Result<Option<&'a [u8]>, Broken> {
        let rest = input.get(self.at..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'\n', &rest[..rest.len().min(LINE_MAX)]) else {
            return if rest.len() < LINE_MAX {
                Ok(None)
            } else {
                Err(Broken::LineTooLong)
            };
        };
        self.at += length + 1;
        let line = &rest[..length];
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    fn inline(&mut self, input: &[u8]) -> Result<Option<usize>, Broken> {
        let Some(line) = self.line(input)? else { return Ok(None) };
        let mut words = Vec::with_capacity(line.len());
        let mut rest = line;
        loop {
            rest = rest.trim_ascii_start();
            if rest.is_empty() {
                break;
            }
            let start = words.len();
            rest = word(rest, &mut words)?;
            self.arguments.push(start..words.len());
        }
        self.words = Some(words);
        Ok(Some(self.at))
    }
}

/// Appends the first word without its quotes, and gives what follows.
fn word<'a>(text: &'a [u8], into: &mut Vec<u8>) -> Result<&'a [u8], Broken> {
    let quote = text[0];
    if quote != b'"' && quote != b'\'' {
        let length = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        into.extend_from_slice(&text[..length]);
        return Ok(&text[length..]);
    }
    let mut rest = &text[1..];
    loop {
        (rest, _) = match rest {
            [byte, rest @ ..] if *byte == quote => {
                // What follows has to be another word.
                let ends = rest.first().is_none_or(u8::is_ascii_whitespace);
                return if ends { Ok(rest) } else { Err(Broken::UnbalancedQuotes) };
            }
            [b'\\', b'x', high, low, rest @ ..] if quote == b'"' && hex(*high).is_some() && hex(*low).is_some() => {
                let byte = hex(*high).zip(hex(*low)).map_or(0, |(high, low)| high * 16 + low);
                (rest, into.push(byte))
            }
            [b'\\', byte, rest @ ..] if quote == b'"' => (rest, into.push(escaped(*byte))),
            [b'\\', b'\'', rest @ ..] => (rest, into.push(b'\'')),
            [byte, rest @ ..] => (rest, into.push(*byte)),
            [] => return Err(Broken::UnbalancedQuotes),
        };
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn escaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

/// A decimal number, with nothing before or after it.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    // What `parse` would take as well: a plus, and zeros in front.
    if digits.first() == Some(&b'+') || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl<'a> Arguments<'a> {
    /// With the command's name.
    pub(crate) fn len(self) -> usize {
        self.places.len()
    }

    /// An argument that is there; the command's name is number 0.
    pub(crate) fn at(self, index: usize) -> &'a [u8] {
        &self.bytes[self.places[index].clone()]
    }

    pub(crate) fn get(self, index: usize) -> Option<&'a [u8]> {
        self.places.get(index).map(|place| &self.bytes[place.clone()])
    }

    /// Those from a number on.
    pub(crate) fn from(self, index: usize) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.places[index..].iter().map(move |place| &self.bytes[place.clone()])
    }
}
