//! What each system call is made to fail with, and what has to come of it.
//!
//! The errnos are those of the calls' man pages, and what else Linux answers for TCP. Not among them are lies, which would
//! have to hang: an edge-triggered reactor that is told `EAGAIN` where there is data waits for an edge that was there
//! already, a pipe that claims to be full was never rung, a worker that waits is not gone (`EOWNERDEAD`), a connection
//! without a peer (`ENOTCONN`) is not made yet. These come about by themselves all the time, and so are tested wherever bytes
//! are counted.

use std::ffi::c_int;

use crate::injector::Phase::{self, End, Run, Setup};

/// An errno and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errno {
    pub(crate) name: &'static str,
    pub(crate) number: c_int,
}

/// What has to come of a fault. Whatever it is: every byte is right, nobody waits for ever, no descriptor is left.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// Nothing: it is tried again, done in another way, or does not matter.
    Nothing,
    /// An error with this errno of what the program has called; the rest goes on.
    Error,
    /// The same, but with another errno.
    ErrorOf(c_int),
    /// As the one or as the other, as the moment wants it.
    ErrorOrNothing,
    /// `run` fails with this errno, and says all of this.
    NoRuntime(&'static [&'static str]),
    /// The process ends, and says all of this.
    Abort(&'static [&'static str]),
}
use Expected::{Abort, Error, ErrorOf, ErrorOrNothing, NoRuntime, Nothing};

/// Which calls of a phase fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    First,
    Middle,
    Last,
    /// The first, and every second or third from there.
    Second,
    Third,
    /// All.
    Each,
}

impl When {
    const fn of(expected: Expected) -> &'static [When] {
        match expected {
            Nothing => &[When::First, When::Middle, When::Second],
            NoRuntime(_) => &[When::First],
            Abort(_) => &[When::First, When::Middle],
            _ => &[When::First, When::Middle, When::Third, When::Each],
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) reactors: &'static [&'static str],
    pub(crate) phase: Phase,
    pub(crate) call: &'static str,
    pub(crate) errnos: &'static [Errno],
    pub(crate) expected: Expected,
    pub(crate) when: &'static [When],
    /// Whether it is made at all is a matter of the kernel.
    pub(crate) may_be_missing: bool,
}

impl Row {
    /// As `KAPOK_STACK_GUARD` has it: the kind of guards with which the call is made.
    pub(crate) fn guard(&self) -> &'static str {
        if self.call == "mprotect(guard)" { "mprotect" } else { "" }
    }

    const fn when(self, when: &'static [When]) -> Row {
        Row { when, ..self }
    }

    const fn may_be_missing(self) -> Row {
        Row {
            may_be_missing: true,
            ..self
        }
    }
}

macro_rules! rows {
    ($($reactors:ident $phase:ident $call:literal [$($errno:ident)*] => $expected:expr $(; $method:ident($($arg:expr)?))*,)*) => {
        &[$(
            Row {
                reactors: $reactors,
                phase: $phase,
                call: $call,
                errnos: &[$(Errno { name: stringify!($errno), number: libc::$errno }),*],
                expected: $expected,
                when: When::of($expected),
                may_be_missing: false,
            }
            $(.$method($($arg)?))*
        ),*]
    };
}

const ALL: &[&str] = &["epoll", "io_uring", "kqueue", "poll"];
const SYSTEMS: &[&str] = &["epoll", "io_uring", "poll"];
const EPOLL: &[&str] = &["epoll"];
const URING: &[&str] = &["io_uring"];
const POLL: &[&str] = &["poll"];
/// These do by calls what `io_uring` does in the ring.
const CALLS: &[&str] = &["epoll", "kqueue", "poll"];
/// Where bells are descriptors.
const FILES: &[&str] = &["epoll", "poll"];
/// The model of it that stands in for a kernel, see docs/portability.md: a call of its own fails, and it hands the errno on.
const KQUEUE: &[&str] = &["kqueue"];
/// What else the model calls is nobody else's.
pub(crate) const CALLS_OF_THE_MODEL: &[&str] = &["epoll_wait", "fstat", "getsockopt", "read", "write"];

/// How often a bell is rung depends on who sleeps at the moment, so there is no middle.
const BELL: &[When] = &[When::First, When::Second];
const ONCE: &[When] = &[When::First];

const EPOLL_ENDS: &[&str] = &["kapok: the reactor epoll cannot go on: epoll_wait: "];
const EPOLL_IS_CLOSED: &[&str] = &[
    "kapok: the reactor epoll cannot go on: epoll_wait: ",
    "has closed a descriptor",
];
const POLL_ENDS: &[&str] = &["kapok: the reactor poll cannot go on: poll: "];
const KQUEUE_ENDS: &[&str] = &["kapok: the reactor kqueue cannot go on: kevent: "];
const KQUEUE_IS_CLOSED: &[&str] = &[
    "kapok: the reactor kqueue cannot go on: kevent: ",
    "has closed a descriptor",
];
const URING_ENDS: &[&str] = &["kapok: the reactor io_uring cannot go on: io_uring_enter: "];
const URING_IS_CLOSED: &[&str] = &[
    "kapok: the reactor io_uring cannot go on: io_uring_enter: ",
    "has closed a descriptor",
];
const BELL_ENDS: &[&str] = &["kapok: the bell cannot be rung: "];
const BELL_IS_CLOSED: &[&str] = &["kapok: the bell cannot be rung: ", "has closed a descriptor"];
const NO_STACK: &[&str] = &["the root fiber cannot start: cannot map a stack"];

pub(crate) const ROWS: &[Row] = rows! {
    // ---- setting up: epoll ----
    EPOLL Setup "epoll_create1" [EMFILE] => NoRuntime(&["epoll_create1", "ulimit -n"]),
    EPOLL Setup "epoll_create1" [ENFILE] => NoRuntime(&["epoll_create1", "fs.file-max"]),
    EPOLL Setup "epoll_create1" [EINVAL ENOMEM] => NoRuntime(&["epoll_create1"]),
    EPOLL Setup "epoll_ctl(ADD)" [ENOSPC] => NoRuntime(&["epoll_ctl", "fs.epoll.max_user_watches"]),
    EPOLL Setup "epoll_ctl(ADD)" [EBADF EEXIST EINVAL ELOOP ENOMEM EPERM] => NoRuntime(&["epoll_ctl"]),
    EPOLL Setup "eventfd2" [EMFILE] => NoRuntime(&["eventfd", "ulimit -n"]),
    EPOLL Setup "eventfd2" [ENFILE] => NoRuntime(&["eventfd", "fs.file-max"]),
    EPOLL Setup "eventfd2" [EINVAL ENODEV ENOMEM] => NoRuntime(&["eventfd"]),

    // ---- setting up: io_uring ----
    URING Setup "io_uring_setup" [EMFILE] => NoRuntime(&["io_uring_setup", "ulimit -n"]),
    URING Setup "io_uring_setup" [ENFILE] => NoRuntime(&["io_uring_setup", "fs.file-max"]),
    URING Setup "io_uring_setup" [ENOMEM] => NoRuntime(&["io_uring_setup", "RLIMIT_MEMLOCK"]),
    URING Setup "io_uring_setup" [EACCES EPERM ENOSYS] => NoRuntime(&["io_uring_setup", "allow"]),
    URING Setup "io_uring_setup" [EFAULT] => NoRuntime(&["io_uring_setup"]),
    // A kernel that does not know a flag is asked without it.
    URING Setup "io_uring_setup" [EINVAL] => Nothing; when(ONCE),
    URING Setup "io_uring_setup" [EINVAL] => NoRuntime(&["io_uring_setup", "5.13"]); when(&[When::Each]),
    URING Setup "mmap(ring)" [EAGAIN ENOMEM] => NoRuntime(&["io_uring"]); when(&[When::First, When::Last]),
    URING Setup "io_uring_register(probe)" [EPERM EACCES ENOSYS] => NoRuntime(&["io_uring_register", "allow"]),
    URING Setup "io_uring_register(probe)" [EBADF EBADFD EBUSY EFAULT EINVAL ENOMEM ENXIO EOPNOTSUPP]
        => NoRuntime(&["io_uring_register"]),
    URING Setup "io_uring_register(limit)" [EBADF EBADFD EBUSY EFAULT EINVAL ENOMEM ENXIO EOPNOTSUPP EPERM] => Nothing,
    // Without messages there is an eventfd.
    URING Setup "io_uring_register(message)" [EACCES EBADFD EINVAL ENOMEM ENOSYS EOVERFLOW EPERM] => Nothing,
    URING Setup "fcntl(F_DUPFD)" [EMFILE] => NoRuntime(&["F_DUPFD_CLOEXEC", "ulimit -n"]); may_be_missing(),
    URING Setup "eventfd2" [EMFILE] => NoRuntime(&["eventfd", "ulimit -n"]); may_be_missing(),
    URING Setup "io_uring_enter" [EINTR] => Nothing,
    URING Setup "io_uring_enter" [EPERM ENOSYS] => NoRuntime(&["io_uring_enter", "allow"]),
    URING Setup "io_uring_enter" [EAGAIN EBADF EBADFD EBADR EBUSY EEXIST EFAULT EINVAL ENXIO EOPNOTSUPP EOWNERDEAD]
        => NoRuntime(&["io_uring_enter"]),
    URING Setup "mmap(fork page)" [EAGAIN ENOMEM] => NoRuntime(&["mmap"]),
    URING Setup "madvise(fork page)" [EINVAL] => NoRuntime(&["MADV_WIPEONFORK", "4.14"]),
    URING Setup "madvise(fork page)" [EAGAIN ENOMEM EPERM] => NoRuntime(&["MADV_WIPEONFORK"]),

    // ---- setting up: poll ----
    POLL Setup "pipe" [EMFILE] => NoRuntime(&["pipe", "ulimit -n"]),
    POLL Setup "pipe" [ENFILE] => NoRuntime(&["pipe", "fs.file-max"]),
    POLL Setup "pipe" [EFAULT] => NoRuntime(&["pipe"]),
    POLL Setup "fcntl(F_GETFL)" [EBADF] => NoRuntime(&["fcntl of a pipe"]); when(&[When::First, When::Last]),
    POLL Setup "fcntl(F_SETFL)" [EBADF EINVAL EPERM] => NoRuntime(&["fcntl of a pipe"]); when(&[When::First, When::Last]),
    POLL Setup "fcntl(F_SETFD)" [EBADF EINVAL] => NoRuntime(&["fcntl of a pipe"]); when(&[When::First, When::Last]),

    // ---- setting up: kqueue ----
    KQUEUE Setup "epoll_create1" [EMFILE] => NoRuntime(&["kqueue", "ulimit -n"]); when(&[When::First, When::Last]),
    KQUEUE Setup "epoll_create1" [ENFILE] => NoRuntime(&["kqueue", "fs.file-max"]),
    KQUEUE Setup "epoll_create1" [ENOMEM] => NoRuntime(&["kqueue"]),
    KQUEUE Setup "eventfd2" [EMFILE] => NoRuntime(&["kqueue", "ulimit -n"]),
    // It adds the bell. EINVAL is a kernel that has no such filter, and gets a pipe.
    KQUEUE Setup "write" [EINVAL] => Nothing,
    KQUEUE Setup "write" [EACCES ENOMEM] => NoRuntime(&["kevent"]),

    // ---- setting up: the report of an overflow ----
    ALL Setup "rt_sigaction" [EFAULT EINVAL] => Nothing,
    ALL Setup "sigaltstack" [EINVAL ENOMEM EPERM] => Nothing,
    ALL End "sigaltstack" [EINVAL ENOMEM EPERM] => Nothing,

    // ---- setting up: the first stacks, one of which is for signals, and does not have to be ----
    // There are the other guards.
    ALL Setup "mmap(probe)" [EAGAIN EINVAL ENOMEM EPERM] => Nothing; when(ONCE),
    ALL Setup "madvise(probe)" [EAGAIN EINVAL ENOMEM EPERM] => Nothing; when(ONCE),
    ALL Setup "access(probe)" [EACCES ENOENT ENOSYS EPERM] => Nothing; when(ONCE),
    ALL Setup "munmap(probe)" [EINVAL ENOMEM] => Nothing; when(ONCE),
    ALL Setup "madvise(huge pages)" [EINVAL ENOMEM] => Nothing,
    // Where there is no room for many stacks, there may be for one.
    ALL Setup "mmap(stack)" [ENOMEM] => Nothing; when(ONCE),
    ALL Setup "mmap(stack)" [ENOMEM] => NoRuntime(&["root fiber", "map a stack", "vm.max_map_count"]); when(&[When::Each]),
    ALL Setup "mmap(stack)" [EAGAIN] => NoRuntime(&["root fiber", "map a stack", "RLIMIT_MEMLOCK"]); when(&[When::Each]),
    ALL Setup "mmap(stack)" [EINVAL EPERM EOVERFLOW] => NoRuntime(NO_STACK); when(&[When::Each]),
    ALL Setup "mprotect(guard)" [ENOMEM] => NoRuntime(&["root fiber", "map a stack", "vm.max_map_count", "two for each"]);
        when(&[When::Each]),
    ALL Setup "mprotect(guard)" [EACCES EINVAL] => NoRuntime(NO_STACK); when(&[When::Each]),
    ALL Setup "mprotect(guard)" [EACCES ENOMEM] => Nothing; when(ONCE),
    ALL Setup "madvise(guard)" [ENOMEM] => NoRuntime(&["root fiber", "map a stack"]); when(&[When::Each]); may_be_missing(),
    ALL Setup "madvise(guard)" [EFAULT EPERM] => NoRuntime(NO_STACK); when(&[When::Each]); may_be_missing(),
    ALL Setup "madvise(guard)" [ENOMEM] => Nothing; when(ONCE); may_be_missing(),
    // What is locked gets the other guard.
    ALL Setup "madvise(guard)" [EINVAL] => Nothing; may_be_missing(),
    // One call for each instead.
    ALL Setup "process_madvise" [EBADF EFAULT EINTR EINVAL ENOMEM ENOSYS EPERM ESRCH] => Nothing; may_be_missing(),

    // ---- waiting ----
    EPOLL Run "epoll_wait" [EINTR] => Nothing,
    EPOLL Run "epoll_wait" [EBADF] => Abort(EPOLL_IS_CLOSED),
    EPOLL Run "epoll_wait" [EFAULT EINVAL] => Abort(EPOLL_ENDS),
    EPOLL Run "epoll_pwait2" [EINTR ENOSYS EPERM] => Nothing,
    EPOLL Run "epoll_pwait2" [EBADF] => Abort(EPOLL_IS_CLOSED); when(ONCE),
    EPOLL Run "epoll_pwait2" [EFAULT EINVAL] => Abort(EPOLL_ENDS); when(ONCE),
    EPOLL Run "epoll_ctl(ADD)" [EBADF EINVAL ELOOP ENOMEM ENOSPC EPERM] => Error,
    // It is taken out and put in again.
    EPOLL Run "epoll_ctl(ADD)" [EEXIST] => Nothing,
    EPOLL Run "epoll_ctl(DEL)" [EBADF EINVAL ENOENT ENOMEM EPERM] => Nothing,
    POLL Run "poll" [EAGAIN EINTR ENOMEM] => Nothing,
    POLL Run "poll" [EINVAL] => Abort(&["kapok: the reactor poll cannot go on: poll: ", "RLIMIT_NOFILE"]),
    POLL Run "poll" [EFAULT] => Abort(POLL_ENDS),
    ALL Run "poll(thread)" [EAGAIN EINTR ENOMEM] => Nothing; when(BELL),
    ALL Run "poll(thread)" [EFAULT EINVAL] => Error; when(ONCE),
    URING Run "io_uring_enter" [EAGAIN EBUSY EINTR] => Nothing,
    URING Run "io_uring_enter" [EBADF] => Abort(URING_IS_CLOSED),
    URING Run "io_uring_enter" [EBADFD EBADR EEXIST EFAULT EINVAL ENXIO EOPNOTSUPP EOWNERDEAD EPERM] => Abort(URING_ENDS),

    KQUEUE Run "poll" [EINTR] => Nothing,
    KQUEUE Run "poll" [EBADF] => Abort(KQUEUE_IS_CLOSED),
    KQUEUE Run "poll" [EACCES EFAULT EINVAL ENOMEM] => Abort(KQUEUE_ENDS),
    // It may be a filter for which nobody waits.
    KQUEUE Run "epoll_ctl(ADD)" [EACCES EBADF EINVAL ENOMEM EPERM] => ErrorOrNothing,
    KQUEUE Run "epoll_ctl(ADD)" [ENOMEM] => Error; when(&[When::Each]),
    KQUEUE Run "epoll_ctl(DEL)" [EBADF ENOENT] => Nothing,

    // ---- bells ----
    KQUEUE Run "write" [EBADF] => Abort(BELL_IS_CLOSED); when(ONCE),
    KQUEUE Run "write" [EINVAL ENOENT] => Abort(BELL_ENDS); when(ONCE),
    FILES Run "write" [EINTR] => Nothing; when(BELL),
    EPOLL Run "write" [EAGAIN] => Nothing; when(BELL),
    FILES Run "write" [EBADF] => Abort(BELL_IS_CLOSED); when(ONCE),
    FILES Run "write" [EFAULT EINVAL EIO EPIPE] => Abort(BELL_ENDS); when(ONCE),
    URING Run "write" [EAGAIN EINTR] => Nothing; when(BELL); may_be_missing(),
    URING Run "write" [EBADF] => Abort(BELL_IS_CLOSED); when(ONCE); may_be_missing(),
    URING Run "io_uring_register(message)" [EAGAIN EINTR ENOMEM EOVERFLOW] => Nothing; when(BELL); may_be_missing(),
    URING Run "io_uring_register(message)" [EBADF] => Abort(BELL_IS_CLOSED); when(ONCE); may_be_missing(),
    URING Run "io_uring_register(message)" [EBADFD EFAULT EINVAL EPERM] => Abort(BELL_ENDS); when(ONCE); may_be_missing(),
    POLL Run "read" [EAGAIN EINTR] => Nothing; when(BELL),
    POLL Run "read" [EBADF] => Abort(&["kapok: the reactor poll cannot go on: the bell ", "has closed a descriptor"]); when(ONCE),
    POLL Run "read" [EFAULT EINVAL EIO EISDIR] => Abort(&["kapok: the reactor poll cannot go on: the bell "]); when(ONCE),

    // ---- stacks ----
    ALL Run "mmap(stack)" [EAGAIN EINVAL EPERM] => Error,
    ALL Run "mmap(stack)" [ENOMEM] => Nothing; when(ONCE),
    ALL Run "mmap(stack)" [ENOMEM] => Error; when(&[When::Each]),
    ALL Run "madvise(huge pages)" [EINVAL ENOMEM] => Nothing,
    ALL Run "mprotect(guard)" [EACCES EINVAL] => Error,
    ALL Run "mprotect(guard)" [ENOMEM] => Error; when(&[When::Each]),
    ALL Run "madvise(guard)" [EFAULT EPERM] => Error; may_be_missing(),
    ALL Run "madvise(guard)" [ENOMEM] => Error; when(&[When::Each]); may_be_missing(),
    ALL Run "madvise(guard)" [EINVAL] => Nothing; may_be_missing(),
    ALL Run "process_madvise" [EBADF EFAULT EINTR EINVAL ENOMEM ENOSYS EPERM ESRCH] => Nothing; may_be_missing(),
    URING End "munmap(ring)" [EINVAL ENOMEM] => Nothing,

    // ---- sockets ----
    ALL Run "socket" [EACCES EAFNOSUPPORT EINVAL EMFILE ENFILE ENOBUFS ENOMEM EPROTONOSUPPORT] => Error,
    ALL Run "bind" [EACCES EADDRINUSE EADDRNOTAVAIL EBADF EFAULT EINVAL ENOMEM ENOTSOCK] => Error,
    ALL Run "listen" [EADDRINUSE EBADF ENOTSOCK EOPNOTSUPP] => Error,
    ALL Run "accept4" [EINTR] => Nothing,
    ALL Run "accept4" [ECONNABORTED EMFILE ENFILE ENOBUFS ENOMEM EPERM EPROTO] => Error,
    CALLS Run "accept4" [
        EBADF EFAULT EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENONET ENOPROTOOPT ENOTSOCK EOPNOTSUPP ETIMEDOUT
    ] => Error,
    // What a listener that was closed says is that it was closed.
    ALL Run "accept4" [EINVAL] => ErrorOrNothing,
    // It goes on in the background.
    CALLS Run "connect" [EINTR] => Nothing,
    CALLS Run "connect" [
        EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EBADF ECONNREFUSED EFAULT EHOSTUNREACH EISCONN ENETUNREACH ENOBUFS
        ENOTSOCK EPERM EPROTOTYPE ETIMEDOUT
    ] => Error,
    // It has not begun, and waiting would not help.
    CALLS Run "connect" [EAGAIN] => ErrorOf(libc::ENOBUFS),
    SYSTEMS Run "getsockopt" [EBADF EFAULT EINVAL ENOMEM ENOPROTOOPT ENOTSOCK] => Error,
    ALL Run "setsockopt" [EBADF EDOM EFAULT EINVAL EISCONN ENOMEM ENOPROTOOPT ENOTSOCK] => Error,
    ALL Run "getsockname" [EBADF EFAULT EINVAL ENOBUFS ENOTSOCK] => Error,
    ALL Run "getpeername" [EBADF EFAULT EINVAL ENOBUFS ENOTSOCK] => Error,
    ALL Run "recv" [EINTR] => Nothing,
    POLL Run "recv" [EAGAIN] => Nothing,
    ALL Run "recv" [
        EBADF ECONNREFUSED ECONNRESET EFAULT EHOSTUNREACH EINVAL ENOBUFS ENOMEM ENOTCONN ENOTSOCK ETIMEDOUT
    ] => Error,
    ALL Run "recvmsg" [EINTR] => Nothing,
    POLL Run "recvmsg" [EAGAIN] => Nothing,
    ALL Run "recvmsg" [EBADF ECONNRESET EFAULT EINVAL EMSGSIZE ENOBUFS ENOMEM ENOTCONN ENOTSOCK ETIMEDOUT] => Error,
    ALL Run "send" [EINTR] => Nothing,
    POLL Run "send" [EAGAIN] => Nothing,
    ALL Run "send" [
        EACCES EALREADY EBADF ECONNRESET EDESTADDRREQ EFAULT EINVAL EISCONN EMSGSIZE ENOBUFS ENOMEM ENOTCONN ENOTSOCK
        EOPNOTSUPP EPIPE ETIMEDOUT
    ] => Error,
    CALLS Run "sendmsg" [EINTR] => Nothing,
    POLL Run "sendmsg" [EAGAIN] => Nothing,
    CALLS Run "sendmsg" [
        EACCES EALREADY EBADF ECONNRESET EFAULT EINVAL EMSGSIZE ENOBUFS ENOMEM ENOTCONN ENOTSOCK EOPNOTSUPP EPIPE
    ] => Error,
    ALL Run "shutdown" [EBADF EINVAL ENOTCONN ENOTSOCK] => Error,
    ALL Run "fcntl(F_DUPFD)" [EBADF EINVAL EMFILE] => Error,
    // A conversion cannot fail. It warns.
    ALL Run "fcntl(F_GETFL)" [EBADF] => Nothing,
    ALL Run "fcntl(F_SETFL)" [EBADF EINVAL EPERM] => Nothing,
    // The files that tell of the control group.
    ALL Setup "close" [EBADF EDQUOT EINTR EIO ENOSPC] => Nothing,
    ALL Run "close" [EBADF EDQUOT EINTR EIO ENOSPC] => Nothing,
    ALL End "close" [EBADF EDQUOT EINTR EIO ENOSPC] => Nothing,

    // ---- threads ----
    // The work is done where it was asked for.
    ALL Run "clone" [EAGAIN EINVAL ENOMEM ENOSPC EPERM EUSERS] => Nothing; when(&[When::First, When::Each]),
};

/// The errno of this name, if the table has it.
pub(crate) fn errno_by_name(name: &str) -> Option<Errno> {
    let mut errnos = ROWS.iter().flat_map(|row| row.errnos);
    errnos.find(|errno| errno.name == name).copied()
}
