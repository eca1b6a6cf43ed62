//! Does again what the append-only file says, before the first client comes.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use kapok::fs::File;

use crate::request::{Limits, Parser};
use crate::session::Session;
use crate::store::DAWN;
use crate::{Server, commands};

/// How much is read at a time.
const ROOM: usize = 256 * 1024;

/// What was allowed once is not refused now.
const NO_LIMITS: Limits = Limits {
    argument: usize::MAX >> 2,
    request: usize::MAX >> 2,
};

/// Gives the length of what is whole: a request at the end that is not was never answered, and does not count. `path` is for
/// people.
pub(crate) fn replay(server: &Server, mut file: &File, path: &Path) -> io::Result<u64> {
    let mut session = Session::new(server, None);
    // What has expired meanwhile was removed by a request of its own, or will be.
    session.now = DAWN;
    let mut parser = Parser::new(NO_LIMITS);
    let (mut input, mut end, mut whole) = (vec![0; ROOM], 0, 0_u64);
    loop {
        let count = file.read(&mut input[end..])?;
        if count == 0 {
            if end > 0 {
                log::warn!(
                    "{}: {end} bytes at the end are no whole request, and are cut off",
                    path.display()
                );
            }
            return Ok(whole);
        }
        end += count;
        let mut used = 0;
        while input[used..end].first().is_some_and(|&byte| byte == b'*') {
            let length = parser.parse(&input[used..end]);
            let Some(length) = length.map_err(|error| broken(path, whole, &error.to_string()))? else {
                break;
            };
            commands::run(&mut session, parser.arguments(&input[used..end]));
            parser.finish();
            if session.replies.bytes.first() == Some(&b'-') {
                return Err(broken(path, whole, &String::from_utf8_lossy(&session.replies.bytes)));
            }
            session.replies.bytes.clear();
            used += length;
            whole += length as u64;
        }
        if input[used..end].first().is_some_and(|&byte| byte != b'*') {
            return Err(broken(path, whole, "expected a request"));
        }
        input.copy_within(used..end, 0);
        end -= used;
        if end == input.len() {
            input.resize(2 * end, 0);
        }
    }
}

fn broken(path: &Path, at: u64, what: &str) -> io::Error {
    let text = format!("{}: bad file format at byte {at}: {}", path.display(), what.trim_end());
    io::Error::new(ErrorKind::InvalidData, text)
}
