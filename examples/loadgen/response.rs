//! Where an answer ends: all of HTTP/1.1 that a client has to know of it.

/// Longest head, and longest line of a chunked body.
const HEAD_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;

/// Reads one answer after the other, in pieces as they come.
#[derive(Debug)]
pub(crate) struct Responses {
    /// All answers are to HEAD.
    is_head: bool,
    part: Part,
    status: u16,
    closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    /// So many bytes are left of the body.
    Body(u64),
    ChunkSize,
    /// So many bytes are left of it, with the line end.
    Chunk(u64),
    Trailer,
    /// The end of the connection is the end of the body.
    UntilEnd,
}

/// An answer that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// It was the last one of its connection.
    pub(crate) closes: bool,
}

/// What has come is no HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

impl Responses {
    pub(crate) fn new(is_head: bool) -> Responses {
        Responses {
            is_head,
            part: Part::Head,
            status: 0,
            closes: false,
        }
    }

    /// Goes on with these bytes. How many of them were used, and the answer that has ended with them, if one has; what was not
    /// used has to be there again the next time, with more.
    pub(crate) fn parse(&mut self, input: &[u8]) -> Result<(usize, Option<Answer>), Invalid> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let before = self.part;
            match before {
                Part::Head => {
                    let Some(length) = self.head(rest)? else {
                        return Ok((used, None));
                    };
                    used += length;
                }
                Part::Body(left) | Part::Chunk(left) => {
                    let here = left.min(rest.len() as u64);
                    used += usize::try_from(here).expect("as long as a slice at most");
                    self.part = match (before, left - here) {
                        (Part::Chunk(_), 0) => Part::ChunkSize,
                        (Part::Chunk(_), left) => Part::Chunk(left),
                        (_, left) => Part::Body(left),
                    };
                    if left > here {
                        return Ok((used, None));
                    }
                }
                Part::ChunkSize | Part::Trailer => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        return if rest.len() < HEAD_MAX {
                            Ok((used, None))
                        } else {
                            Err(Invalid)
                        };
                    };
                    used += end + 1;
                    let line = rest[..end].trim_ascii_end();
                    self.part = match before {
                        Part::Trailer if line.is_empty() => Part::Body(0),
                        Part::Trailer => Part::Trailer,
                        _ => match chunk_size(line).ok_or(Invalid)? {
                            0 => Part::Trailer,
                            size => Part::Chunk(size.checked_add(2).ok_or(Invalid)?),
                        },
                    };
                }
                Part::UntilEnd => return Ok((input.len(), None)),
            }
            if self.part == Part::Body(0) {
                return Ok((used, Some(self.finish())));
            }
        }
    }

    /// The connection has ended; the answer that has ended with it, if one has.
    pub(crate) fn end(&mut self) -> Option<Answer> {
        (self.part == Part::UntilEnd).then(|| self.finish())
    }

    fn finish(&mut self) -> Answer {
        self.part = Part::Head;
        Answer {
            status: self.status,
            closes: self.closes,
        }
    }

    /// Reads a head if it is complete, and gives its length.
    fn head(&mut self, input: &[u8]) -> Result<Option<usize>, Invalid> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(input) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if input.len() < HEAD_MAX => return Ok(None),
            _ => return Err(Invalid),
        };
        self.status = response.code.unwrap_or(0);
        self.closes = response.version == Some(0);
        let (mut sized, mut chunked) = (None, false);
        for header in &*response.headers {
            let names = |word: &str| {
                let mut words = header.value.split(|byte| *byte == b',');
                words.any(|own| own.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
            };
            if header.name.eq_ignore_ascii_case("content-length") {
                let text = std::str::from_utf8(header.value).map_err(|_| Invalid)?;
                sized = Some(text.trim().parse().map_err(|_| Invalid)?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked |= names("chunked");
            } else if header.name.eq_ignore_ascii_case("connection") {
                self.closes = (self.closes || names("close")) && !names("keep-alive");
            }
        }
        self.part = match (self.status, chunked, sized) {
            // The answer proper is still to come.
            (100..=199, ..) => Part::Head,
            (204 | 304, ..) => Part::Body(0),
            _ if self.is_head => Part::Body(0),
            (_, true, _) => Part::ChunkSize,
            (_, false, Some(size)) => Part::Body(size),
            (_, false, None) => {
                self.closes = true;
                Part::UntilEnd
            }
        };
        Ok(Some(length))
    }
}

/// The number at the beginning of a line; extensions may follow.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if digits.first().is_none_or(|byte| !byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
