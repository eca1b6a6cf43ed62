//! Lines of limited length, made harmless.

use std::io::{self, BufRead};

/// A line that a guest has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Text(String),
    /// It was longer than allowed; all of it has been read.
    TooLong,
}

/// The next line of at most `max` bytes without its end; `None` at the end of the input.
pub(crate) fn read(input: &mut impl BufRead, max: usize) -> io::Result<Option<Line>> {
    let (mut line, mut too_long) = (Vec::new(), false);
    loop {
        let there = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            there => there?,
        };
        if there.is_empty() && line.is_empty() && !too_long {
            return Ok(None);
        }
        let end = memchr::memchr(b'\n', there);
        let part = &there[..end.unwrap_or(there.len())];
        too_long |= line.len() + part.len() > max;
        if !too_long {
            line.extend_from_slice(part);
        }
        let (is_last, used) = (
            there.is_empty() || end.is_some(),
            part.len() + usize::from(end.is_some()),
        );
        input.consume(used);
        if is_last {
            return Ok(Some(if too_long {
                Line::TooLong
            } else {
                Line::Text(harmless(&line))
            }));
        }
    }
}

/// As text, without what would move a reader's cursor or change colours.
fn harmless(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.trim().to_owned()
}
