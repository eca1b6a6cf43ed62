//! Who asked for what: one line a request in the common log format, written by a thread of its own.
//!
//! The thread may wait for its disk or pipe as long as it takes; the server goes on. Lines that pile up beyond a bound are
//! dropped and counted, for a log that stops the service would be the worse loss.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use crate::date;
use crate::reply::Sent;

/// Lines that may wait for the writer.
const WAITING_MAX: usize = 16 * 1024;

/// The server's end of the log.
pub(crate) struct AccessLog {
    lines: SyncSender<String>,
    dropped: AtomicU64,
}

/// Opens what `--access-log` names and starts its writer, which ends after the `AccessLog` has been dropped.
pub(crate) fn open(path: &str) -> Result<Option<(AccessLog, JoinHandle<()>)>, String> {
    let out: Box<dyn Write + Send> = match path {
        "off" => return Ok(None),
        "-" => Box::new(io::stdout()),
        path => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            Box::new(file.map_err(|error| {
                format!("cannot write the access log {path}: {error}; give --access-log another path, `-` or `off`")
            })?)
        }
    };
    let (sender, receiver) = mpsc::sync_channel(WAITING_MAX);
    let writer = thread::Builder::new()
        .name("access log".to_owned())
        .spawn(move || write(&receiver, out));
    let writer = writer.map_err(|error| format!("cannot start the access log's thread: {error}"))?;
    Ok(Some((
        AccessLog {
            lines: sender,
            dropped: AtomicU64::new(0),
        },
        writer,
    )))
}

impl AccessLog {
    /// Notes one answered request.
    #[inline(never)] // for the sake of a server that keeps no log
    pub(crate) fn record(&self, client: IpAddr, head: &[u8], sent: Sent) {
        let (status, bytes) = (sent.status.code(), sent.body_bytes);
        let line = format!(
            "{client} - - [{}] \"{}\" {status} {bytes}\n",
            log_date(&date::now()),
            request_line(head)
        );
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        } else if self.dropped.load(Ordering::Relaxed) > 0 {
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            log::warn!("the access log could not keep up: {dropped} lines were dropped");
        }
    }
}

fn write(lines: &Receiver<String>, out: Box<dyn Write + Send>) {
    let mut out = BufWriter::new(out);
    // Blocks for the first line, takes what else is there, and writes it all at once.
    while let Ok(first) = lines.recv() {
        let mut written = out.write_all(first.as_bytes());
        while let (Ok(()), Ok(line)) = (&written, lines.try_recv()) {
            written = out.write_all(line.as_bytes());
        }
        if let Err(error) = written.and_then(|()| out.flush()) {
            log::error!("the access log ends here, it cannot be written: {error}");
            return;
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as the common log format has it: `06/Nov/1994:08:49:37 +0000`.
fn log_date(http_date: &[u8; 29]) -> String {
    let text = |from: usize, to: usize| String::from_utf8_lossy(&http_date[from..to]);
    format!("{}/{}/{}:{} +0000", text(5, 7), text(8, 11), text(12, 16), text(17, 25))
}

/// The first line of a head, made harmless: what a client sends must not look like a line or a field of the log.
fn request_line(head: &[u8]) -> String {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    if line.is_empty() {
        return "-".to_owned();
    }
    line.escape_ascii().to_string()
}
