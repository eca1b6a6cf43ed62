//! Where a request head ends, and whether it may still become one.

use crate::reply::{Refusal, Status};

/// Longest request head: request line, fields, and the blank line after them.
const HEAD_MAX: usize = 16 * 1024;
/// Longest request line.
const LINE_MAX: usize = 8 * 1024;

/// The search for the end of a head, which goes on where it stopped when more of the head arrives.
#[derive(Default)]
pub(crate) struct HeadScan {
    searched: usize,
    line_start: usize,
}

impl HeadScan {
    /// The head's length, if all of it is in `bytes`.
    pub(crate) fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let refuse = |status, reason| Err(Refusal { status, reason });
        // What does not start like a method is not HTTP, and may never send the line end that would tell.
        if !matches!(bytes, [b'a'..=b'z' | b'A'..=b'Z' | b'\r', ..]) {
            return refuse(Status::BadRequest, "this is not an HTTP request");
        }
        if self.searched == 0 && is_one_head(bytes) {
            return Ok(Some(bytes.len()));
        }
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.searched..]) {
            let line = &bytes[self.line_start..self.searched + at];
            // Whether a bare LF ends a line is a matter of taste, and two servers of different taste can be played off
            // against each other. So it is refused.
            let Some(line) = line.strip_suffix(b"\r") else {
                return refuse(Status::BadRequest, "a line of the request head is not ended by CRLF");
            };
            if self.line_start == 0 && line.len() > LINE_MAX {
                return refuse(Status::UriTooLong, "the request line is too long");
            }
            self.searched += at + 1;
            self.line_start = self.searched;
            if self.searched > HEAD_MAX {
                break;
            }
            if line.is_empty() {
                return Ok(Some(self.searched));
            }
        }
        self.searched = bytes.len();
        if self.line_start == 0 && bytes.len() > LINE_MAX {
            return refuse(Status::UriTooLong, "the request line is too long");
        }
        if bytes.len() > HEAD_MAX {
            return refuse(Status::HeadTooLarge, "the request head is too large");
        }
        Ok(None)
    }
}

/// Whether this is one head, all of it and nothing else, that leaves nothing to ask: as nearly all are that do not come together
/// with the next. Says no where it takes a closer look. A fraction of the work of going from line to line.
fn is_one_head(bytes: &[u8]) -> bool {
    let Some(lines) = bytes.strip_suffix(b"\r\n") else {
        return false;
    };
    // A line that is not ended by CRLF, or one that begins with CR, which the blank line at the end must be the first to do.
    // All pairs are looked at in any case: that needs no branch, and is many at a time.
    let pairs = lines.iter().zip(&bytes[1..lines.len()]);
    let odd = pairs.fold(false, |odd, (&before, &byte)| {
        odd | ((byte == b'\n') & (before != b'\r')) | ((before == b'\n') & (byte == b'\r'))
    });
    !odd && lines.ends_with(b"\r\n") && !lines.starts_with(b"\r\n") && bytes.len() <= LINE_MAX
}
