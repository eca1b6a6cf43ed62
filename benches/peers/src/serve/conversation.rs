//! What is said on a connection, whoever carries the bytes.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Echo,
    Http,
}

/// As much as the raw servers receive at once, and as long as a request may be.
const PIECE: usize = 4096;

/// One connection: bytes that came in, and what is to be answered to them.
pub(crate) struct Conversation {
    mode: Mode,
    input: Vec<u8>,
    /// So much of `input` is the beginning of a request.
    filled: usize,
    output: Vec<u8>,
}

impl Conversation {
    pub(crate) fn new(mode: Mode) -> Conversation {
        Conversation {
            mode,
            input: vec![0; PIECE],
            filled: 0,
            output: Vec::new(),
        }
    }

    /// Where the next bytes go.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.input[self.filled..]
    }

    /// What is to be sent now that `count` bytes have come; nothing, if a request is not there as a whole.
    pub(crate) fn received(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.mode == Mode::Echo {
            return Ok(&self.input[..count]);
        }
        self.filled += count;
        self.output.clear();
        let used = answer(&self.input[..self.filled], &mut self.output)?;
        if used == 0 && self.filled == self.input.len() {
            return Err(io::Error::other("the request is too long"));
        }
        self.input.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(&self.output)
    }
}

/// Answers all requests that are there as a whole, and says how many bytes they were.
pub(crate) fn answer(input: &[u8], output: &mut Vec<u8>) -> io::Result<usize> {
    let mut used = 0;
    while used < input.len() {
        let mut fields = [const { MaybeUninit::uninit() }; 32];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(&input[used..], &mut fields) {
            Ok(httparse::Status::Complete(length)) => used += length,
            Ok(httparse::Status::Partial) => break,
            Err(error) => return Err(io::Error::other(error)),
        }
        let is_right = request.method == Some("GET") && request.path == Some("/plaintext");
        ANSWERS.with_borrow_mut(|answers| output.extend_from_slice(answers.now(is_right)));
    }
    Ok(used)
}

thread_local!(static ANSWERS: RefCell<Answers> = RefCell::default());

/// The answer and that for other paths, made once a second. Their lines are as long as those of the raw servers and of
/// `examples/httpd`.
#[derive(Default)]
struct Answers {
    second: libc::time_t,
    right: Vec<u8>,
    wrong: Vec<u8>,
}

impl Answers {
    fn now(&mut self, is_right: bool) -> &[u8] {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it writes to the struct.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) };
        if now.tv_sec != self.second {
            self.second = now.tv_sec;
            let since_1970 = Duration::from_secs(now.tv_sec.unsigned_abs());
            let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_1970);
            let fields = format!("Server: serve\r\nDate: {date}\r\nContent-Type: text/plain\r\n");
            self.right = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 13\r\n\r\nHello, World!").into_bytes();
            self.wrong =
                format!("HTTP/1.1 404 Not Found\r\n{fields}Content-Length: 10\r\n\r\nNot found\n").into_bytes();
        }
        if is_right { &self.right } else { &self.wrong }
    }
}
