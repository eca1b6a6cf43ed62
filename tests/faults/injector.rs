//! Answers the system calls of a thread, and of the threads that it starts, in the place of the kernel.
//!
//! A seccomp filter hands every call over to a second thread of the process, the supervisor, which lets it pass, refuses it
//! with an errno, or makes it first and says then that it failed. The supervisor was there before the filter, so its own
//! calls are its own. It shares memory and descriptors with those that it answers, and therefore must not allocate, nor take
//! any lock that one of them may hold while it waits for its answer.

use std::ffi::{c_int, c_long};
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread;

use crate::calls::{self, CALLS, Call, Which};

/// A part of the life of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing of it has begun, or all is over: no call is counted.
    Outside,
    /// From the call of `run` to the first fiber's first statement.
    Setup,
    /// From there to the first fiber's last statement.
    Run,
    /// From there to the return of `run`.
    End,
}

impl Phase {
    pub(crate) const COUNTED: [Phase; 3] = [Phase::Setup, Phase::Run, Phase::End];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Outside => "outside",
            Phase::Setup => "setup",
            Phase::Run => "run",
            Phase::End => "end",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Phase> {
        Phase::COUNTED.into_iter().find(|phase| phase.name() == name)
    }
}

/// The number of a system call that no kernel has: only the supervisor knows it.
const BEGIN: c_long = 0x6b61_706f;

/// Says that a phase begins. The first thread to say so is the worker's.
pub(crate) fn begin(phase: Phase) {
    // SAFETY: a call without pointers, which the supervisor answers.
    unsafe { libc::syscall(BEGIN, phase as c_long) };
}

/// What is to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) phase: Phase,
    /// An index into `CALLS`.
    pub(crate) call: usize,
    pub(crate) errno: c_int,
    /// The first call of the phase that fails, from 1 on.
    pub(crate) first: u32,
    /// Each further one that does; 0: none.
    pub(crate) step: u32,
}

impl Fault {
    fn hits(&self, phase: Phase, call: usize, count: u32) -> bool {
        let Some(past) = count.checked_sub(self.first) else {
            return false;
        };
        let in_step = past == 0 || (self.step != 0 && past % self.step == 0);
        (phase, call) == (self.phase, self.call) && in_step
    }
}

/// Calls of a kind, for each counted phase.
type Counts<const N: usize> = [[AtomicU32; N]; Phase::COUNTED.len()];

const UNNAMED: usize = 1024;

/// What the supervisor has seen. Nothing in it allocates.
#[derive(Debug)]
pub(crate) struct Seen {
    named: Counts<{ CALLS.len() }>,
    /// What has no name in `CALLS`, by its number; the last for all numbers beyond.
    unnamed: Counts<{ UNNAMED + 1 }>,
    injected: AtomicU32,
}

pub(crate) static SEEN: Seen = Seen {
    named: [const { [const { AtomicU32::new(0) }; CALLS.len()] }; Phase::COUNTED.len()],
    unnamed: [const { [const { AtomicU32::new(0) }; UNNAMED + 1] }; Phase::COUNTED.len()],
    injected: AtomicU32::new(0),
};

impl Seen {
    /// How often the fault was injected.
    pub(crate) fn injected(&self) -> u32 {
        self.injected.load(Ordering::Relaxed)
    }

    /// Each call that was made: the phase, its name or number, how often.
    pub(crate) fn calls(&self) -> Vec<(Phase, String, u32)> {
        let mut calls = Vec::new();
        for (i, phase) in Phase::COUNTED.into_iter().enumerate() {
            let named = self.named[i].iter().zip(CALLS);
            let named = named.map(|(count, call)| (call.name.to_owned(), count));
            let unnamed = self.unnamed[i].iter().enumerate();
            let unnamed = unnamed.map(|(number, count)| (format!("number {number}"), count));
            for (name, count) in named.chain(unnamed) {
                match count.load(Ordering::Relaxed) {
                    0 => {}
                    count => calls.push((phase, name, count)),
                }
            }
        }
        calls
    }
}

/// From here on the calls of this thread, and of those that it starts, go through a supervisor.
///
/// # Errors
/// Where the kernel has no seccomp notifications (before Linux 5.5), or something forbids them.
pub(crate) fn install(fault: Option<Fault>) -> io::Result<()> {
    static LISTENER: AtomicI32 = AtomicI32::new(-1);
    thread::spawn(move || {
        let listener = loop {
            match LISTENER.load(Ordering::Acquire) {
                -1 => thread::yield_now(),
                listener => break listener,
            }
        };
        supervise(listener, fault);
    });
    // SAFETY: a call without pointers. It is what lets a process without privileges have a filter.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let hand_over_all = libc::sock_filter {
        code: u16::try_from(libc::BPF_RET | libc::BPF_K).expect("a small number"),
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_USER_NOTIF,
    };
    let mut program = [hand_over_all];
    let program = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program is valid until the call returns.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    if listener == -1 {
        return Err(io::Error::last_os_error());
    }
    LISTENER.store(c_int::try_from(listener).expect("a descriptor"), Ordering::Release);
    Ok(())
}

/// Answers calls for as long as the process lives.
fn supervise(listener: c_int, fault: Option<Fault>) {
    let mut phase = Phase::Outside;
    let mut worker = 0;
    loop {
        // SAFETY: all zeroes is valid, and what the kernel asks for.
        let mut call = unsafe { std::mem::zeroed::<libc::seccomp_notif>() };
        // SAFETY: `call` is what this writes to.
        if unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) } == -1 {
            continue; // interrupted, or who made the call is gone
        }
        // SAFETY: all zeroes is valid.
        let mut answer = unsafe { std::mem::zeroed::<libc::seccomp_notif_resp>() };
        answer.id = call.id;
        if c_long::from(call.data.nr) == BEGIN {
            if phase == Phase::Outside {
                worker = call.pid;
            }
            let begins = |phase: &Phase| *phase as u64 == call.data.args[0];
            phase = Phase::COUNTED.into_iter().find(begins).unwrap_or(Phase::Outside);
        } else {
            answer_to(&call.data, phase, call.pid == worker, fault, &mut answer);
        }
        // It fails where who made the call was killed meanwhile.
        // SAFETY: `answer` is what this reads.
        unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    }
}

fn answer_to(
    data: &libc::seccomp_data,
    phase: Phase,
    by_worker: bool,
    fault: Option<Fault>,
    answer: &mut libc::seccomp_notif_resp,
) {
    answer.flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).expect("a bit");
    let Some(row) = Phase::COUNTED.into_iter().position(|counted| counted == phase) else {
        return;
    };
    let call = match calls::which(data, phase, by_worker) {
        Which::Ours(call) => call,
        Which::NotOurs => return,
        Which::Unknown => {
            let number = usize::try_from(data.nr).unwrap_or(UNNAMED).min(UNNAMED);
            SEEN.unnamed[row][number].fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    let count = 1 + SEEN.named[row][call].fetch_add(1, Ordering::Relaxed);
    let Some(fault) = fault.filter(|fault| fault.hits(phase, call, count)) else {
        return;
    };
    SEEN.injected.fetch_add(1, Ordering::Relaxed);
    let Call { made, .. } = &CALLS[call];
    if made(fault.errno) {
        let [a, b, c, d, e, f] = data.args;
        // SAFETY: in the same process as who makes the call, and instead of it: whatever it means by it.
        unsafe { libc::syscall(c_long::from(data.nr), a, b, c, d, e, f) };
    }
    answer.flags = 0;
    answer.error = -fault.errno;
}
