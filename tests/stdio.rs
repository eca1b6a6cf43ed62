//! The standard streams. Each test is a process of its own, which puts something else in the place of a stream.

#![allow(unsafe_code, reason = "std cannot put one descriptor in the place of another")]

#[path = "support/mod.rs"]
mod support;

use std::fs::File;
use std::io::{BufRead, ErrorKind, Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kapok::stdio::{stderr, stdin, stdout};
use kapok::{fiber, no_suspend, spawn, timeout};

use support::{child, panics, run, run_on_one, says, show};

/// Puts `new` in the place of a standard stream, until it is dropped.
struct InPlace {
    number: RawFd,
    old: OwnedFd,
}

impl InPlace {
    fn of(number: RawFd, new: &impl AsRawFd) -> InPlace {
        // SAFETY: no pointers.
        let old = unsafe { libc::dup(number) };
        assert!(old >= 0);
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::dup2(new.as_raw_fd(), number) }, number);
        // SAFETY: it is new.
        let old = unsafe { OwnedFd::from_raw_fd(old) };
        InPlace { number, old }
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        // SAFETY: no pointers.
        unsafe { libc::dup2(self.old.as_raw_fd(), self.number) };
    }
}

fn pipe() -> (File, File) {
    let mut fds = [0; 2];
    // SAFETY: there is room for two.
    assert_eq!(unsafe { libc::pipe(fds.as_mut_ptr()) }, 0);
    // SAFETY: they are new.
    let [out, into] = fds.map(|fd| unsafe { File::from_raw_fd(fd) });
    (out, into)
}

/// A terminal: its own side, and that of the one who sits before it. It does not echo, nor change what is written.
fn terminal() -> (File, File) {
    let (mut ours, mut theirs) = (0, 0);
    let (no_name, no_size) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: all zeroes is a valid termios, which is read back below.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: there is room for both numbers.
    let opened = unsafe { libc::openpty(&raw mut theirs, &raw mut ours, no_name, std::ptr::null_mut(), no_size) };
    assert_eq!(opened, 0);
    // SAFETY: there is room for the settings.
    assert_eq!(unsafe { libc::tcgetattr(ours, &raw mut settings) }, 0);
    settings.c_lflag &= !libc::ECHO;
    settings.c_oflag &= !libc::OPOST;
    // SAFETY: settings as they were read.
    assert_eq!(unsafe { libc::tcsetattr(ours, libc::TCSANOW, &raw const settings) }, 0);
    // SAFETY: they are new.
    let [ours, theirs] = [ours, theirs].map(|fd| unsafe { File::from_raw_fd(fd) });
    (ours, theirs)
}

fn is_nonblocking(fd: RawFd) -> bool {
    // SAFETY: no pointers.
    unsafe { libc::fcntl(fd, libc::F_GETFL) & libc::O_NONBLOCK != 0 }
}

/// Reads lines in one fiber while another one writes them, on one worker: neither holds the other up.
fn a_conversation(input: impl AsRawFd, mut other_end: impl Write + Send + 'static) {
    let _input = InPlace::of(0, &input);
    run_on_one(|| {
        let asked = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&asked);
        let writer = spawn(move || {
            for line in ["first\n", "sec", "ond\n", "third\n"] {
                // The reader waits by now, and has not taken the thread with it.
                (0..3).for_each(|_| fiber::sleep(Duration::from_micros(500)));
                assert!(theirs.load(Ordering::SeqCst));
                other_end.write_all(line.as_bytes()).unwrap();
            }
            other_end
        });
        asked.store(true, Ordering::SeqCst);
        let mut line = String::new();
        assert_eq!(stdin().read_line(&mut line).unwrap(), 6);
        assert_eq!(line, "first\n");
        let mut lines = stdin().lines();
        assert_eq!(lines.next().unwrap().unwrap(), "second");
        assert_eq!(lines.next().unwrap().unwrap(), "third");
        assert!(!is_nonblocking(0), "others have this open file, too");
        // A wait that is cancelled has taken nothing.
        timeout(Duration::from_millis(5), || lines.next()).unwrap_err();
        drop(lines);
        let mut other_end = writer.join().unwrap();
        other_end.write_all(b"later\n").unwrap();
        assert_eq!(stdin().lock().lines().next().unwrap().unwrap(), "later");
    });
}

#[test]
fn reading_a_pipe() {
    child::undisturbed("reading_a_pipe", || {
        let (out, into) = pipe();
        a_conversation(out, into);
    });
}

#[test]
fn reading_a_terminal() {
    child::undisturbed("reading_a_terminal", || {
        let (ours, theirs) = terminal();
        {
            let _input = InPlace::of(0, &ours);
            assert!(stdin().is_terminal());
        }
        a_conversation(ours, theirs);
    });
}

#[test]
fn reading_a_socket() {
    child::undisturbed("reading_a_socket", || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        a_conversation(ours, theirs);
    });
}

#[test]
fn reading_a_file_and_nothing() {
    child::undisturbed("reading_a_file_and_nothing", || {
        let mut file = tempfile::tempfile().unwrap();
        let text = "line\n".repeat(10_000);
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        let _input = InPlace::of(0, &file);
        run(|| {
            assert!(!stdin().is_terminal());
            let mut got = String::new();
            stdin().read_to_string(&mut got).unwrap();
            assert!(got == text);
            assert_eq!(stdin().read(&mut [0]).unwrap(), 0);
            let _nothing = InPlace::of(0, &File::open("/dev/null").unwrap());
            assert_eq!(stdin().lines().count(), 0);
            // SAFETY: it is put back by those who put something else there.
            assert_eq!(unsafe { libc::close(0) }, 0);
            assert_eq!(stdin().read(&mut [0]).unwrap(), 0, "as std says of one that was closed");
        });
    });
}

#[test]
fn on_plain_threads() {
    child::undisturbed("on_plain_threads", || {
        let _watchdog = support::watchdog();
        let ((out, mut into), (mut printed, print)) = (pipe(), pipe());
        let (_input, output) = (InPlace::of(0, &out), InPlace::of(1, &print));
        into.write_all(b"one\ntwo\n").unwrap();
        drop(into);
        let lines: Vec<_> = stdin().lines().map(Result::unwrap).collect();
        write!(stdout(), "{}", lines.join(",")).unwrap();
        stdout().flush().unwrap();
        drop((output, print));
        let mut text = String::new();
        printed.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one,two");
    });
}

/// Writes more than there is room for, in several fibers, while another one reads, on one worker.
fn a_lot(output: impl AsRawFd, mut other_end: File, ends: bool) {
    let output = InPlace::of(1, &output);
    let text = "x".repeat(99);
    let mut got = Vec::new();
    run_on_one(|| {
        let writers: Vec<_> = (0..4)
            .map(|i: u8| {
                let text = text.clone();
                spawn(move || {
                    for n in 0..1000 {
                        if n % 2 == 0 {
                            writeln!(stdout(), "{i}{text}").unwrap();
                        } else {
                            // Several calls, which belong together; and the lock may be had twice.
                            let mut lock = stdout().lock();
                            write!(lock, "{i}").unwrap();
                            fiber::yield_now();
                            stdout().write_all(text.as_bytes()).unwrap();
                            writeln!(lock).unwrap();
                        }
                    }
                    stdout().flush().unwrap();
                })
            })
            .collect();
        let reader = spawn(move || {
            let mut buf = vec![0; 4000 * 101];
            // It takes a thread; the writers must not.
            kapok::blocking(|| other_end.read_exact(&mut buf).unwrap());
            (buf, other_end)
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let (buf, other_end) = reader.join().unwrap();
        got = buf;
        assert!(!is_nonblocking(1));
        drop(other_end);
        if ends {
            assert_eq!(
                writeln!(stdout(), "nobody reads").unwrap_err().kind(),
                ErrorKind::BrokenPipe
            );
        }
    });
    drop(output);
    for line in got.split_inclusive(|&byte| byte == b'\n') {
        assert!(
            line.len() == 101 && line[1..100] == *text.as_bytes(),
            "{}",
            String::from_utf8_lossy(line)
        );
    }
}

#[test]
fn writing_to_a_pipe() {
    child::undisturbed("writing_to_a_pipe", || {
        let (out, into) = pipe();
        a_lot(into, out, true);
    });
}

#[test]
fn writing_to_a_terminal() {
    child::undisturbed("writing_to_a_terminal", || {
        let (ours, theirs) = terminal();
        a_lot(ours, theirs, false);
    });
}

#[test]
fn writing_to_a_file_and_errors() {
    child::undisturbed("writing_to_a_file_and_errors", || {
        let mut file = tempfile::tempfile().unwrap();
        let (output, errors) = (InPlace::of(1, &file), InPlace::of(2, &file));
        run(|| {
            write!(stdout(), "not yet, ").unwrap();
            write!(stderr(), "at once, ").unwrap();
            stdout().flush().unwrap();
            let mut lock = stderr().lock();
            write!(lock, "twice ").unwrap();
            stderr().write_all(b"held").unwrap();
        });
        drop((output, errors));
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "at once, not yet, twice held");
    });
}

#[test]
fn one_that_waits_for_the_lock_can_be_cancelled() {
    child::undisturbed("one_that_waits_for_the_lock_can_be_cancelled", || {
        run_on_one(|| {
            let lock = stdout().lock();
            let waiting = spawn(|| stdout().lock().flush().unwrap());
            fiber::yield_now();
            waiting.cancel();
            waiting.join().unwrap_err();
            drop(lock);
            drop(stdout().lock());
            let (out, mut into) = pipe();
            let _input = InPlace::of(0, &out);
            let reader = spawn(|| stdin().read_line(&mut String::new()).unwrap());
            fiber::sleep(Duration::from_millis(1));
            timeout(Duration::from_millis(5), || stdin().lock().fill_buf().map(<[u8]>::len))
                .unwrap_err()
                .to_string();
            into.write_all(b"x\n").unwrap();
            assert_eq!(reader.join().unwrap(), 2);
            says(&panics(|| no_suspend(|| stdin().read(&mut [0]))), &["no_suspend"]);
        });
    });
}

#[test]
fn what_is_in_the_buffer_is_written_at_exit() {
    let ended = child::alone(
        "what_is_in_the_buffer_is_written_at_exit",
        |_| (),
        || {
            run(|| {
                write!(stdout(), "the end of an incomplete line").unwrap();
                show("nothing was flushed");
                std::process::exit(0);
            });
        },
    );
    if let Some(ended) = ended {
        says(&ended.success(), &["the end of an incomplete line"]);
    }
}
