//! A sample of the fibers overflows its stack, each in a child process, which has its neighbours, too: `--overflow COUNT`.
//!
//! ```text
//!   parent, many fibers      child, some of them
//!   -------------------      ----------------------
//!   fork ------------------> one of them is doomed: it calls itself until its stack is full
//!   is told of the fault <-- stops at the guard
//!   compares the stack below the guard with its own
//!   lets it go on ---------> the report; the same fault again, and the end
//!   reads what it said
//! ```
//!
//! The parent does nothing meanwhile, so the stack of the neighbour is to be the same, byte for byte, in both.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use kapok::fiber;

use crate::fork::Stacks;

/// What became of those that were chosen.
#[derive(Default)]
pub(crate) struct Deaths {
    /// They said whose stack it was, and died of the fault.
    pub(crate) reported: usize,
    /// The stack below the guard was as before.
    pub(crate) neighbours_whole: usize,
    /// Below the guard there was no stack: it was the lowest of a mapping.
    pub(crate) lowest: usize,
}

/// Has this many children made, `number` of which calls `doom`, which has the fiber whose stack is at `place` overflow it, and does not
/// return.
pub(crate) fn sample(
    count: usize,
    stacks: &Stacks,
    place: impl Fn(usize) -> usize,
    doom: impl Fn(usize),
) -> io::Result<Deaths> {
    forbid_core_files()?;
    let mut deaths = Deaths::default();
    for number in 0..count {
        // The child has a whole budget of switches before it looks at the kernel's events, which are the parent's, too.
        fiber::sleep(std::time::Duration::from_micros(1));
        stacks.with(place(number), || one(number, &doom, &mut deaths))?;
        super::progress("overflowed", number + 1, count);
    }
    Ok(deaths)
}

fn one(number: usize, doom: impl Fn(usize), deaths: &mut Deaths) -> io::Result<()> {
    let (said, saying) = pipe()?;
    // SAFETY: one thread runs fibers, and the child has that one alone. What it calls is ours, and takes no lock.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(said);
            become_traced(&saying);
            doom(number);
            exit(NOT_DOOMED);
        }
        child => {
            drop(saying);
            watch(child, said, deaths)
        }
    }
}

/// Says who it is, and calls itself until the process dies.
#[inline(never)]
pub(crate) fn overflow() {
    say(&format!("doomed {:?}\n", fiber::current().id()));
    if recurse(0) > 0 {
        exit(NOT_DEAD);
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 16]);
    if depth == u64::MAX {
        return 0;
    }
    // Used after the call, so that it is no loop.
    recurse(depth + 1) + std::hint::black_box(&frame)[15]
}

/// What a child exits with that has not died.
const NOT_TRACED: i32 = 3;
const NOT_DOOMED: i32 = 4;
const NOT_DEAD: i32 = 5;

fn exit(code: i32) -> ! {
    // SAFETY: ends the child.
    unsafe { libc::_exit(code) }
}

fn say(text: &str) {
    // SAFETY: the text is as long. The parent sees what is missing.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

fn become_traced(saying: &OwnedFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: two descriptors of this process.
    let result = unsafe { libc::dup2(saying.as_raw_fd(), libc::STDERR_FILENO) };
    // SAFETY: it concerns this process, and its parent, which waits for it.
    if result == -1 || unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } != 0 {
        exit(NOT_TRACED);
    }
}

/// Sees a child to its end.
fn watch(child: libc::pid_t, said: OwnedFd, deaths: &mut Deaths) -> io::Result<()> {
    let mut whole = None;
    let status = loop {
        let mut status = 0;
        // SAFETY: our child, and a place for its status.
        if unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
            return Err(io::Error::last_os_error());
        }
        if !libc::WIFSTOPPED(status) {
            break status;
        }
        let signal = libc::WSTOPSIG(status);
        if signal == libc::SIGSEGV {
            let below = below_the_guard(child)?;
            let same = below.map(|same| same && whole.flatten().unwrap_or(true));
            whole = Some(same);
        }
        // SAFETY: it has stopped, and gets the signal that it has stopped for.
        unsafe { libc::ptrace(libc::PTRACE_CONT, child, 0, signal) };
    };
    let mut text = String::new();
    File::from(said).read_to_string(&mut text)?;
    let id = text
        .strip_prefix("doomed FiberId(")
        .and_then(|rest| Some(rest.split_once(')')?.0));
    let report = id.map(|id| format!("\nkapok: fiber (id {id}), spawned at "));
    let is_reported =
        report.is_some_and(|report| text.contains(&report) && text.contains(" has overflowed its stack of "));
    if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV && is_reported {
        deaths.reported += 1;
    } else {
        return Err(io::Error::other(format!(
            "a child has ended with status {status:#x}, and said {text:?}"
        )));
    }
    match whole {
        Some(Some(true)) => deaths.neighbours_whole += 1,
        Some(None) => deaths.lowest += 1,
        other => return Err(io::Error::other(format!("a neighbour is not what it was: {other:?}"))),
    }
    Ok(())
}

/// Whether the top of the stack below the guard that the child has touched is as in this process; `None` if there is none.
fn below_the_guard(child: libc::pid_t) -> io::Result<Option<bool>> {
    const BYTES: usize = 8192;
    // SAFETY: all zeroes are a valid one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: it has stopped, and there is a place for the answer.
    if unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, child, 0, &raw mut info) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: of this signal.
    let touched = unsafe { info.si_addr() }.addr();
    // SAFETY: it reads a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(io::Error::other)?;
    let guard = touched & !(page - 1);
    // SAFETY: it reads a number.
    let own = unsafe { libc::getpid() };
    let theirs = memory_of(child, guard - BYTES, BYTES);
    let ours = memory_of(own, guard - BYTES, BYTES);
    match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => Ok(Some(theirs == ours)),
        // Nothing is mapped there, or another guard.
        (Err(theirs), Err(ours)) if theirs.raw_os_error() == ours.raw_os_error() => Ok(None),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn memory_of(process: libc::pid_t, address: usize, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: len,
    };
    let remote = libc::iovec {
        iov_base: ptr::without_provenance_mut(address),
        iov_len: len,
    };
    // SAFETY: there is room for the answer, and the kernel checks the other address.
    let count = unsafe { libc::process_vm_readv(process, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(count) {
        Ok(count) if count == len => Ok(bytes),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Those that die leave nothing that is worth keeping, and each would be as large as this process.
fn forbid_core_files() -> io::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid limit.
    match unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The end to read from, and the one to write to.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: a place for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    let read = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let write = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((read, write))
}
