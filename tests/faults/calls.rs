//! Which system calls there are, and how those of the runtime are told from those of the allocator, of libc's threads, and
//! of this test.

use std::ffi::{c_int, c_long};

use crate::injector::Phase;
use crate::scenario::{is_mapping_of_stacks, page_size};

/// A kind of system call that the runtime makes.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    numbers: &'static [c_long],
    is: fn(&Made<'_>) -> bool,
    /// Whether it is made before it is said to have failed with this errno: the kernel, too, has then done it, or begun to.
    pub(crate) made: fn(c_int) -> bool,
}

/// A call that was made: by whom, when, and its arguments.
struct Made<'a> {
    phase: Phase,
    by_worker: bool,
    args: &'a [u64; 6],
}

impl Made<'_> {
    fn has(&self, argument: usize, value: c_int) -> bool {
        u64::try_from(value) == Ok(self.args[argument] & 0xffff_ffff)
    }

    fn flags(&self, argument: usize, flags: c_int) -> bool {
        u64::try_from(flags).is_ok_and(|flags| self.args[argument] & flags == flags)
    }
}

const MADV_GUARD_INSTALL: c_int = 102;

fn is_probe(call: &Made<'_>) -> bool {
    call.phase == Phase::Setup && [2, 3].contains(&(call.args[1] / page_size() as u64))
}

const fn call(name: &'static str, numbers: &'static [c_long]) -> Call {
    call_if(name, numbers, |_| true)
}

const fn call_if(name: &'static str, numbers: &'static [c_long], is: fn(&Made<'_>) -> bool) -> Call {
    Call {
        name,
        numbers,
        is,
        made: |_| false,
    }
}

/// Older machines have some calls under older numbers, too.
#[cfg(target_arch = "x86_64")]
mod numbers {
    use std::ffi::c_long;

    pub(super) const ACCESS: &[c_long] = &[libc::SYS_access, libc::SYS_faccessat];
    pub(super) const EPOLL_WAIT: &[c_long] = &[libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
    pub(super) const PIPE: &[c_long] = &[libc::SYS_pipe, libc::SYS_pipe2];
    pub(super) const POLL: &[c_long] = &[libc::SYS_poll, libc::SYS_ppoll];
}
#[cfg(not(target_arch = "x86_64"))]
mod numbers {
    use std::ffi::c_long;

    pub(super) const ACCESS: &[c_long] = &[libc::SYS_faccessat];
    pub(super) const EPOLL_WAIT: &[c_long] = &[libc::SYS_epoll_pwait];
    pub(super) const PIPE: &[c_long] = &[libc::SYS_pipe2];
    pub(super) const POLL: &[c_long] = &[libc::SYS_ppoll];
}

const REGISTER_PROBE: c_int = 8;
const REGISTER_IOWQ_MAX_WORKERS: c_int = 19;
const REGISTER_SEND_MSG_RING: c_int = 31;

/// The calls of the runtime. The first that fits is the one.
pub(crate) const CALLS: &[Call] = &[
    // The reactors and their bells.
    call("epoll_create1", &[libc::SYS_epoll_create1]),
    call_if("epoll_ctl(ADD)", &[libc::SYS_epoll_ctl], |call| {
        call.has(1, libc::EPOLL_CTL_ADD)
    }),
    call_if("epoll_ctl(DEL)", &[libc::SYS_epoll_ctl], |call| {
        call.has(1, libc::EPOLL_CTL_DEL)
    }),
    call("epoll_wait", numbers::EPOLL_WAIT),
    call("epoll_pwait2", &[libc::SYS_epoll_pwait2]),
    call_if("poll", numbers::POLL, |call| call.by_worker),
    call("poll(thread)", numbers::POLL),
    call("io_uring_setup", &[libc::SYS_io_uring_setup]),
    call_if("io_uring_register(probe)", &[libc::SYS_io_uring_register], |call| {
        call.has(1, REGISTER_PROBE)
    }),
    call_if("io_uring_register(limit)", &[libc::SYS_io_uring_register], |call| {
        call.has(1, REGISTER_IOWQ_MAX_WORKERS)
    }),
    call_if("io_uring_register(message)", &[libc::SYS_io_uring_register], |call| {
        call.has(1, REGISTER_SEND_MSG_RING)
    }),
    call("io_uring_enter", &[libc::SYS_io_uring_enter]),
    call("eventfd2", &[libc::SYS_eventfd2]),
    call("pipe", numbers::PIPE),
    call("write", &[libc::SYS_write]),
    // The allocator reads a file, too, to learn how many processors there are.
    call_if("read", &[libc::SYS_read], |call| matches!(call.args[2], 8 | 256)),
    call("fstat", &[libc::SYS_fstat, libc::SYS_newfstatat]),
    // Memory.
    call_if("mmap(stack)", &[libc::SYS_mmap], |call| {
        is_mapping_of_stacks(call.args[1])
    }),
    // Whether guards may be made by advice is tried with two pages, and with three whether many may at once.
    call_if("mmap(probe)", &[libc::SYS_mmap], is_probe),
    call_if("madvise(probe)", &[libc::SYS_madvise], |call| {
        call.has(2, MADV_GUARD_INSTALL) && is_probe(call)
    }),
    call_if("access(probe)", numbers::ACCESS, |call| call.phase == Phase::Setup),
    call_if("munmap(probe)", &[libc::SYS_munmap], is_probe),
    call_if("mmap(ring)", &[libc::SYS_mmap], |call| call.flags(3, libc::MAP_SHARED)),
    call_if("mmap(fork page)", &[libc::SYS_mmap], |call| {
        call.phase == Phase::Setup && call.args[1] == page_size() as u64
    }),
    // The standard library gives each thread's signal stack a guard, too.
    call_if("mprotect(guard)", &[libc::SYS_mprotect], |call| {
        call.by_worker && call.has(2, libc::PROT_NONE)
    }),
    call("process_madvise", &[libc::SYS_process_madvise]),
    call_if("madvise(guard)", &[libc::SYS_madvise], |call| {
        call.has(2, MADV_GUARD_INSTALL)
    }),
    call_if("madvise(huge pages)", &[libc::SYS_madvise], |call| {
        call.has(2, libc::MADV_NOHUGEPAGE) && !is_probe(call)
    }),
    call_if("madvise(fork page)", &[libc::SYS_madvise], |call| {
        call.has(2, libc::MADV_WIPEONFORK)
    }),
    call_if("munmap(ring)", &[libc::SYS_munmap], |call| {
        call.by_worker && call.phase != Phase::Run
    }),
    // The report of an overflow, without which the process dies all the same.
    call("rt_sigaction", &[libc::SYS_rt_sigaction]),
    call_if("sigaltstack", &[libc::SYS_sigaltstack], |call| {
        call.by_worker && call.phase != Phase::Run
    }),
    // Sockets.
    call("socket", &[libc::SYS_socket]),
    call("bind", &[libc::SYS_bind]),
    call("listen", &[libc::SYS_listen]),
    call("accept4", &[libc::SYS_accept4]),
    Call {
        // Interrupted, it goes on in the background.
        made: |errno| errno == libc::EINTR,
        ..call("connect", &[libc::SYS_connect])
    },
    call("getsockopt", &[libc::SYS_getsockopt]),
    call("setsockopt", &[libc::SYS_setsockopt]),
    call("getsockname", &[libc::SYS_getsockname]),
    call("getpeername", &[libc::SYS_getpeername]),
    call("recv", &[libc::SYS_recvfrom]),
    call("recvmsg", &[libc::SYS_recvmsg]),
    call("send", &[libc::SYS_sendto]),
    call("sendmsg", &[libc::SYS_sendmsg]),
    call("shutdown", &[libc::SYS_shutdown]),
    call_if("fcntl(F_DUPFD)", &[libc::SYS_fcntl], |call| {
        call.has(1, libc::F_DUPFD_CLOEXEC)
    }),
    call_if("fcntl(F_GETFL)", &[libc::SYS_fcntl], |call| call.has(1, libc::F_GETFL)),
    call_if("fcntl(F_SETFL)", &[libc::SYS_fcntl], |call| call.has(1, libc::F_SETFL)),
    call_if("fcntl(F_SETFD)", &[libc::SYS_fcntl], |call| call.has(1, libc::F_SETFD)),
    Call {
        // Whatever Linux says, it has closed it.
        made: |_| true,
        ..call("close", &[libc::SYS_close])
    },
    // Threads for blocking work.
    call("clone", &[libc::SYS_clone3, libc::SYS_clone]),
];

/// What a program on any runtime does: the allocator, libc's threads, the sleep of this test's blocking work.
const NOT_THE_RUNTIMES: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_openat,
    libc::SYS_prctl,
    libc::SYS_read,
    libc::SYS_rseq,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];

/// What a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// This one of `CALLS`.
    Ours(usize),
    NotOurs,
    Unknown,
}

pub(crate) fn which(data: &libc::seccomp_data, phase: Phase, by_worker: bool) -> Which {
    let number = c_long::from(data.nr);
    let made = Made {
        phase,
        by_worker,
        args: &data.args,
    };
    let fits = |call: &Call| call.numbers.contains(&number) && (call.is)(&made);
    match CALLS.iter().position(fits) {
        Some(call) => Which::Ours(call),
        None if NOT_THE_RUNTIMES.contains(&number) => Which::NotOurs,
        // The standard library looks whether what it closes is open.
        None if number == libc::SYS_fcntl && made.has(1, libc::F_GETFD) => Which::NotOurs,
        None => Which::Unknown,
    }
}

pub(crate) fn by_name(name: &str) -> Option<usize> {
    CALLS.iter().position(|call| call.name == name)
}
