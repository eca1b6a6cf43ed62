//! A program that does a little of everything, checks every byte, and goes on after an error: what fails is noted, and
//! whoever waits for the one that failed is let go.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kapok::fiber::{self, JoinHandle};
use kapok::net::{TcpListener, TcpStream};
use kapok::sync::Baton;
use kapok::{blocking, runtime, spawn};

use crate::injector::{self, Phase};

const STACK: usize = 192 * 1024;
const OTHER_STACKS: [usize; 2] = [64 * 1024, 320 * 1024];

/// Whether something of this length is a slab of fibers' stacks with their guards. No thread's stack has this size.
pub(crate) fn is_mapping_of_stacks(len: u64) -> bool {
    let is = |size: usize| {
        let each = (size + page_size()) as u64;
        len % each == 0 && (len / each).is_power_of_two()
    };
    is(STACK) || OTHER_STACKS.into_iter().any(is)
}

pub(crate) fn page_size() -> usize {
    // SAFETY: it reads a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or_default()
}

/// What has come about, one line each.
static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note(line: String) {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
}

/// Notes an error: where, its errno if it has one, what it says.
fn failed(step: &str, error: &io::Error) {
    let errno = error.raw_os_error().unwrap_or(0);
    note(format!("error: {step}: {errno}: {error}"));
}

fn check(step: &str, is_so: bool, otherwise: impl FnOnce() -> String) {
    if !is_so {
        note(format!("wrong: {step}: {}", otherwise()));
    }
}

/// Runs all of it; what has come about.
pub(crate) fn run() -> Vec<String> {
    injector::begin(Phase::Setup);
    let result = runtime::Builder::new().workers(1).stack_size(STACK).run(|| {
        injector::begin(Phase::Run);
        for (name, step) in STEPS {
            if let Err(error) = step() {
                failed(name, &error);
            }
        }
        injector::begin(Phase::End);
    });
    injector::begin(Phase::Outside);
    if let Err(error) = result {
        note(format!("setup: {error}"));
    }
    std::mem::take(&mut NOTES.lock().unwrap_or_else(PoisonError::into_inner))
}

type Step = (&'static str, fn() -> io::Result<()>);

const STEPS: &[Step] = &[
    ("echo", echo),
    ("bulk", bulk),
    ("time-outs", time_outs),
    ("handles", handles),
    ("stacks", stacks),
    ("blocking", blocking_work),
    ("threads", from_a_thread),
    ("close", close),
];

/// The result of a fiber. One that could not start has a sentence in its place.
fn join<T>(fiber: JoinHandle<T>) -> io::Result<T> {
    fiber.join().map_err(|payload| {
        let text = payload.downcast_ref::<String>().map_or("it panicked", String::as_str);
        io::Error::other(text.to_owned())
    })
}

/// Closes the listener when it goes, so that nobody waits for one that does not come.
struct Closes(Option<Arc<TcpListener>>);

impl Closes {
    /// It has come.
    fn not(&mut self) {
        self.0 = None;
    }
}

impl Drop for Closes {
    fn drop(&mut self) {
        if let Some(listener) = &self.0 {
            listener.close();
        }
    }
}

/// Two ends of a connection: who connected, and what was accepted.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
    let address = listener.local_addr()?;
    let mut closes = Closes(Some(Arc::clone(&listener)));
    let client = spawn(move || {
        let stream = TcpStream::connect(address)?;
        // It is in the listener's queue now.
        closes.not();
        stream.set_nodelay(true)?;
        Ok::<_, io::Error>(stream)
    });
    let accepted = listener.accept();
    let connected = join(client)??;
    Ok((connected, accepted?.0))
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    // Of a length that nothing else has a multiple of, so that a piece that is missing shows.
    let piece: Vec<u8> = (0..997_usize)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 3) ^ seed).to_le_bytes()[0])
        .collect();
    let mut pattern = piece.repeat(len.div_ceil(piece.len()));
    pattern.truncate(len);
    pattern
}

/// Several clients at once, who get back what they send, in plain and in vectored calls; then each closes its half.
fn echo() -> io::Result<()> {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
    let address = listener.local_addr()?;
    // Alone it keeps the listener: when it is gone, or could not start, nobody waits for its answers.
    let closes = Arc::downgrade(&listener);
    let server = spawn(move || serve(&listener));
    let clients: Vec<_> = (0..4)
        .map(|seed| {
            spawn(move || {
                if let Err(error) = echo_client(address, seed) {
                    failed("echo, a client", &error);
                }
            })
        })
        .collect();
    for client in clients {
        if let Err(error) = join(client) {
            failed("echo, a client", &error);
        }
    }
    if let Some(listener) = closes.upgrade() {
        listener.close();
    }
    join(server)
}

/// Serves until the listener is closed. What concerns one connection ends that one.
fn serve(listener: &TcpListener) {
    let mut connections = Vec::new();
    let mut in_a_row = 0;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                in_a_row = 0;
                connections.push(spawn(move || {
                    if let Err(error) = echo_connection(&stream) {
                        failed("echo, a connection", &error);
                    }
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => break,
            Err(error) => {
                failed("echo, accept", &error);
                in_a_row += 1;
                if in_a_row == 10 {
                    break;
                }
                fiber::yield_now();
            }
        }
    }
    for connection in connections {
        if let Err(error) = join(connection) {
            failed("echo, a connection", &error);
        }
    }
}

fn echo_connection(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut tail) = ([0; 1000], [0; 6000]);
    for plain in [true, false].into_iter().cycle() {
        let count = if plain {
            stream.read(&mut head)?
        } else {
            stream.read_vectored(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)])?
        };
        if count == 0 {
            break;
        }
        let (first, second) = (count.min(head.len()), count.saturating_sub(head.len()));
        stream.write_all(&head[..first])?;
        stream.write_all(&tail[..second])?;
    }
    Ok(())
}

fn echo_client(address: std::net::SocketAddr, seed: usize) -> io::Result<()> {
    const CHUNK: usize = 8 * 1024;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let sent = pattern(4 * CHUNK, seed);
    let mut received = Vec::new();
    for (i, chunk) in sent.chunks(CHUNK).enumerate() {
        if i % 2 == 0 {
            stream.write_all(chunk)?;
        } else {
            let (a, b) = chunk.split_at(CHUNK / 3);
            let count = stream.write_vectored(&[IoSlice::new(a), IoSlice::new(b)])?;
            stream.write_all(&chunk[count..])?;
        }
        let mut answer = [0; CHUNK];
        stream.read_exact(&mut answer)?;
        received.extend(answer);
    }
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut received)?;
    check("echo", received == sent, || {
        format!("{} bytes came back of {}, or others", received.len(), sent.len())
    });
    Ok(())
}

/// More than the kernel's buffers hold, so that sending has to wait.
fn bulk() -> io::Result<()> {
    const SIZE: usize = 8 << 20;
    let (mut sender, mut receiver) = pair()?;
    let sending = spawn(move || {
        sender.write_all(&pattern(SIZE, 0))?;
        sender.shutdown(Shutdown::Write)
    });
    fiber::sleep(Duration::from_millis(2));
    let mut received = vec![0; SIZE + 1];
    let mut len = 0;
    let result = loop {
        match receiver.read(&mut received[len..]) {
            Ok(0) => break Ok(()),
            Ok(count) => len += count,
            Err(error) => break Err(error),
        }
    };
    // Who still sends finds out.
    drop(receiver);
    let sent = join(sending).and_then(|sent| sent);
    if result.is_ok() && sent.is_ok() {
        check("bulk", received[..len] == pattern(SIZE, 0), || {
            format!("{len} bytes came")
        });
    }
    sent.and(result)
}

/// What takes too long ends in time, and not before.
fn time_outs() -> io::Result<()> {
    let (stream, _peer) = pair()?;
    let limit = Duration::from_millis(2);
    stream.set_read_timeout(Some(limit))?;
    let begin = Instant::now();
    match (&stream).read(&mut [0; 8]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            check("time-outs", begin.elapsed() >= limit, || {
                "a read ended early".to_owned()
            });
        }
        Err(error) => return Err(error),
        Ok(count) => check("time-outs", false, || format!("{count} bytes came from nobody")),
    }
    let begin = Instant::now();
    fiber::sleep(limit);
    check("time-outs", begin.elapsed() >= limit, || {
        "a sleep ended early".to_owned()
    });
    Ok(())
}

/// Second handles, conversions, options.
fn handles() -> io::Result<()> {
    let (stream, mut peer) = pair()?;
    let second = stream.try_clone()?;
    let reading = spawn(move || {
        let mut bytes = [0; 5];
        (&second).read_exact(&mut bytes).map(|()| bytes)
    });
    fiber::yield_now();
    let asked = (|| {
        check("handles", stream.peer_addr()? == peer.local_addr()?, || {
            "addresses differ".to_owned()
        });
        stream.set_nodelay(true)?;
        check("handles", stream.nodelay()?, || "TCP_NODELAY is not set".to_owned());
        match stream.take_error()? {
            None => Ok(()),
            Some(error) => Err(error),
        }
    })();
    let written = peer.write_all(b"hello");
    // If nothing was written, this ends the reading.
    drop(peer);
    let read = join(reading)?;
    asked?;
    written?;
    check("handles", read? == *b"hello", || "other bytes".to_owned());
    // A descriptor that leaves, and comes back.
    let plain = std::net::TcpStream::from(stream);
    let stream = TcpStream::from(plain);
    let rest = (&stream).read(&mut [0; 8])?;
    check("handles", rest == 0, || format!("{rest} bytes after the end"));
    Ok(())
}

/// Fibers of several stack sizes.
fn stacks() -> io::Result<()> {
    for round in 0..2 {
        let mut fibers = Vec::new();
        for stack_size in OTHER_STACKS.into_iter().chain([STACK]).cycle().take(6) {
            fibers.push(fiber::Builder::new().stack_size(stack_size).spawn(move || {
                fiber::yield_now();
                pattern(1000, round).len()
            })?);
        }
        for fiber in fibers {
            match join(fiber) {
                Ok(len) => check("stacks", len == 1000, || format!("{len} bytes")),
                Err(error) => failed("stacks", &error),
            }
        }
    }
    Ok(())
}

/// Work on other threads, whose ends and posts ring the bell of a worker that has nothing else to do.
fn blocking_work() -> io::Result<()> {
    let jobs: Vec<_> = (0..3)
        .map(|i| {
            spawn(move || {
                blocking(|| {
                    thread::sleep(Duration::from_millis(1));
                    i * i
                })
            })
        })
        .collect();
    for (i, job) in jobs.into_iter().enumerate() {
        let square = join(job)?;
        check("blocking", square == i * i, || format!("{i} squared is {square}"));
    }
    for _ in 0..3 {
        let (there, back) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
        let work = {
            let (there, back) = (Arc::clone(&there), Arc::clone(&back));
            spawn(move || {
                blocking(|| {
                    thread::sleep(Duration::from_millis(1));
                    there.post();
                    back.wait_timeout(Duration::from_secs(1));
                });
            })
        };
        // A fiber that cannot start has posted nothing.
        let posted = there.wait_timeout(Duration::from_secs(10));
        back.post();
        join(work)?;
        check("blocking", posted, || "a post was lost".to_owned());
    }
    Ok(())
}

/// Posts when it is dropped: also with the closure of a fiber, or of a thread, that cannot start.
struct Posts(Arc<Baton>);

impl Drop for Posts {
    fn drop(&mut self) {
        self.0.post();
    }
}

/// Sockets in the hands of a thread, which waits by itself.
fn from_a_thread() -> io::Result<()> {
    let (stream, mut peer) = pair()?;
    let waited = Arc::new(Baton::new());
    let done_waiting = Posts(Arc::clone(&waited));
    let reading = spawn(move || {
        blocking(move || {
            stream.set_read_timeout(Some(Duration::from_millis(1)))?;
            let nothing = (&stream).read(&mut [0; 8]);
            drop(done_waiting);
            match nothing {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(count) => check("threads", false, || format!("{count} bytes came from nobody")),
            }
            stream.set_read_timeout(None)?;
            let mut bytes = [0; 5];
            (&stream).read_exact(&mut bytes).map(|()| bytes)
        })
    });
    waited.wait();
    let written = peer.write_all(b"hello");
    drop(peer);
    let read = join(reading)?;
    written?;
    check("threads", read? == *b"hello", || "other bytes".to_owned());
    Ok(())
}

/// A listener that is closed while somebody waits for a connection.
fn close() -> io::Result<()> {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
    let closes = Closes(Some(Arc::clone(&listener)));
    let closer = spawn(move || {
        fiber::sleep(Duration::from_millis(1));
        drop(closes);
    });
    let ended = listener.accept();
    join(closer)?;
    match ended {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("a connection came from nobody")),
    }
}
