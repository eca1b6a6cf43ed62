//! Setting a ring up: in the best mode that this kernel has, and proven to work; or an error that says what to do.

use std::io;

use io_uring::{IoUring, Probe, opcode};

use crate::sys;

/// Submissions that can be queued between two system calls. A worker makes at most 128 switches between two turns, and each
/// queues hardly more than one.
pub(super) const SUBMISSIONS: u32 = 256;

/// Completions that one turn can bring. More wait in the kernel, which is slower.
pub(super) const COMPLETIONS: u32 = 4096;

/// Threads that the kernel may start for a ring, where an operation can neither be done at once nor polled for. None on
/// sockets is of that kind; nearly all on files are, and as many may wait for the disk as in the pool of `blocking`: with 64
/// fibers that write and sync, 64 threads do 1.5 times as much as 4, since the disk syncs for many at once. Opening a FIFO
/// keeps one until somebody opens the other end. Without a limit, a surprise would be thousands of threads.
const MAX_KERNEL_THREADS: u32 = 64;

/// When the kernel does the rest of an operation whose descriptor has become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// At any moment, by an interrupt (before Linux 5.19).
    Interrupting,
    /// At the next system call of any kind (5.19).
    Cooperative,
    /// When we wait for completions, all at once (6.1).
    Deferred,
}

/// A ring, in the best mode there is up to `best`.
///
/// # Errors
/// What the kernel says, with the cause and the remedy where they are known.
pub(super) fn open(best: Mode, submissions: u32, completions: u32) -> io::Result<(IoUring, Mode)> {
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    let modes = [Mode::Deferred, Mode::Cooperative, Mode::Interrupting];
    for mode in modes.into_iter().filter(|&mode| mode <= best) {
        match open_in(mode, submissions, completions) {
            Ok(mut ring) => {
                check_features(&ring)?;
                check_by_use(&mut ring).map_err(|error| explain("io_uring_enter", &error))?;
                limit_threads(&ring);
                return Ok((ring, mode));
            }
            // A flag that this kernel does not know.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = error,
            Err(error) => return Err(explain("io_uring_setup", &error)),
        }
    }
    Err(explain("io_uring_setup", &refused))
}

fn open_in(mode: Mode, submissions: u32, completions: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_clamp().setup_cqsize(completions);
    if mode >= Mode::Cooperative {
        // The flag in the ring says when there is something to be fetched: without it we would have to ask each time.
        builder.setup_submit_all().setup_taskrun_flag();
    }
    let builder = match mode {
        Mode::Interrupting => &mut builder,
        Mode::Cooperative => builder.setup_coop_taskrun(),
        Mode::Deferred => builder.setup_single_issuer().setup_defer_taskrun(),
    };
    builder.build(submissions)
}

/// What the contract needs of the kernel.
fn check_features(ring: &IoUring) -> io::Result<()> {
    let params = ring.params();
    let has = [
        (params.is_feature_nodrop(), "lossless completions"),
        (params.is_feature_fast_poll(), "waiting without a thread"),
        (params.is_feature_ext_arg(), "waiting with a time-out"),
        (params.is_feature_resource_tagging(), "polling for more than one event"), // which also came with 5.13
    ];
    if let Some((_, what)) = has.iter().find(|(there, _)| !there) {
        return Err(too_old(what));
    }
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| explain("io_uring_register", &error))?;
    let needed = [
        opcode::Accept::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Connect::CODE,
        opcode::PollAdd::CODE,
        opcode::Read::CODE,
        opcode::Recv::CODE,
        opcode::RecvMsg::CODE,
        opcode::Send::CODE,
        opcode::SendMsg::CODE,
        opcode::Write::CODE,
    ];
    if needed.iter().any(|&code| !probe.is_supported(code)) {
        return Err(too_old("all operations"));
    }
    Ok(())
}

/// Does nothing, through the ring. A sandbox may let a ring be made and then refuse its use.
fn check_by_use(ring: &mut IoUring) -> io::Result<()> {
    const MARK: u64 = 0x6b61_706f_6b00;
    let nothing = opcode::Nop::new().build().user_data(MARK);
    // SAFETY: it has no buffers.
    unsafe { ring.submission().push(&nothing) }.expect("a new queue is empty");
    sys::retry(|| ring.submit_and_wait(1))?;
    match ring.completion().next() {
        Some(completion) if completion.user_data() == MARK && completion.result() == 0 => Ok(()),
        other => Err(io::Error::other(format!("doing nothing ended in {other:?}"))),
    }
}

fn limit_threads(ring: &IoUring) {
    let mut limits = [MAX_KERNEL_THREADS; 2];
    if let Err(error) = ring.submitter().register_iowq_max_workers(&mut limits) {
        log::debug!("io_uring: the kernel's threads cannot be limited (before Linux 5.15): {error}");
    }
}

fn too_old(what: &str) -> io::Error {
    let text = format!("this kernel's io_uring lacks {what}; Linux 5.13 or newer has it");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// Adds to the kernel's error what it usually means.
fn explain(call: &str, error: &io::Error) -> io::Error {
    let advice = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => match disabled() {
            Some(level) => format!(
                "the sysctl kernel.io_uring_disabled is {level}: set it to 0 (2 forbids all use; 1 all but for the \
                 group of kernel.io_uring_group and CAP_SYS_ADMIN)"
            ),
            None => "a seccomp filter forbids it, as those of containers do: allow io_uring_setup, io_uring_enter and \
                     io_uring_register in its profile (docker run --security-opt seccomp=...)"
                .to_owned(),
        },
        Some(libc::ENOSYS) => "this kernel was built without io_uring or is older than 5.1, or a seccomp filter hides \
                               it: allow io_uring_setup, io_uring_enter and io_uring_register"
            .to_owned(),
        Some(libc::ENOMEM) => "too little memory may be locked: raise RLIMIT_MEMLOCK (ulimit -l), which Linux before \
                               5.12 counts rings against"
            .to_owned(),
        Some(libc::EINVAL) => "this kernel is too old: Linux 5.13 or newer is needed".to_owned(),
        _ => return sys::explain(call, error),
    };
    io::Error::new(error.kind(), format!("{call}: {error}; {advice}"))
}

/// What the sysctl says where it forbids something.
fn disabled() -> Option<String> {
    let level = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    Some(level.trim().to_owned()).filter(|level| level != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_that_this_kernel_knows_works() {
        for mode in [Mode::Deferred, Mode::Cooperative, Mode::Interrupting] {
            match open_in(mode, 8, 16) {
                Ok(mut ring) => check_by_use(&mut ring).unwrap(),
                Err(error) => assert!(error.raw_os_error().is_some(), "{mode:?}: {error}"),
            }
        }
    }

    #[test]
    fn errors_name_the_remedy() {
        let text = |errno| explain("io_uring_setup", &io::Error::from_raw_os_error(errno)).to_string();
        assert!(text(libc::ENOSYS).contains("seccomp"));
        assert!(text(libc::EPERM).contains("seccomp") || text(libc::EPERM).contains("io_uring_disabled"));
        assert!(text(libc::ENOMEM).contains("RLIMIT_MEMLOCK"));
        assert!(text(libc::EINVAL).contains("5.13"));
        assert!(text(libc::EMFILE).contains("ulimit -n"));
    }
}
