//! Child processes that have a processor to themselves.

#![expect(
    unsafe_code,
    reason = "between fork and exec: affinity and scheduling policy, for which std has nothing"
)]

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// What comes late is taken for lost. A generator may take two minutes as it was told, and has a patience of its own.
const PATIENCE: Duration = Duration::from_secs(200);

/// Where processes run and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// The processors of servers and generator, if there are two.
    processors: Option<(usize, usize)>,
    fifo: bool,
}

/// Which part a process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Generator,
}

impl Places {
    /// The first two processors that this process may use; the real-time policy if it is wanted and allowed.
    pub(crate) fn find(fifo_wanted: bool) -> Places {
        let mut usable = (0..usize::try_from(libc::CPU_SETSIZE).expect("a small number")).filter(|&cpu| may_use(cpu));
        let processors = usable.next().zip(usable.next());
        Places {
            processors,
            fifo: fifo_wanted && processors.is_some() && set_fifo(true).and_then(|()| set_fifo(false)).is_ok(),
        }
    }

    /// Whether server and generator have a processor each.
    pub(crate) fn are_two(self) -> bool {
        self.processors.is_some()
    }

    pub(crate) fn describe(self) -> String {
        let processors = match self.processors {
            Some((server, generator)) => format!("server on processor {server}, generator on {generator}"),
            None => "NOTE: there is only one processor, so server and generator share it".to_owned(),
        };
        let policy = if self.fifo {
            "SCHED_FIFO"
        } else {
            "NOTE: not under SCHED_FIFO"
        };
        format!("{processors}; {policy}")
    }

    /// Has `command` start in its place, and end with this process.
    fn settle(self, command: &mut Command, role: Role) {
        let processor = self.processors.map(|(server, generator)| match role {
            Role::Server => server,
            Role::Generator => generator,
        });
        let settle = move || {
            // SAFETY: a plain system call.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            processor.map_or(Ok(()), pin)?;
            if self.fifo { set_fifo(true) } else { Ok(()) }
        };
        // SAFETY: between fork and exec it makes system calls only, and allocates nothing.
        unsafe { command.pre_exec(settle) };
    }
}

fn may_use(cpu: usize) -> bool {
    // SAFETY: all zero bits are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: it writes to a set of that size.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    // SAFETY: `cpu` is below CPU_SETSIZE.
    result == 0 && unsafe { libc::CPU_ISSET(cpu, &set) }
}

fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: all zero bits are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: it reads a set of that size.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) })
}

fn set_fifo(on: bool) -> io::Result<()> {
    let (policy, priority) = if on {
        (libc::SCHED_FIFO, 10)
    } else {
        (libc::SCHED_OTHER, 0)
    };
    // SAFETY: all zero bits are a valid sched_param on every libc.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    // SAFETY: it reads the struct.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const param) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A child that does not outlive this value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Its first line, then what it printed after that.
    lines: mpsc::Receiver<io::Result<String>>,
}

impl Running {
    pub(crate) fn start(mut command: Command, places: Places, role: Role) -> io::Result<Running> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        places.settle(&mut command, role);
        let mut child = command
            .spawn()
            .map_err(|error| io::Error::other(format!("{:?}: {error}", command.get_program())))?;
        let stdout = child.stdout.take().expect("it is piped");
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || read(stdout, &send));
        Ok(Running { child, lines })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self) -> io::Result<()> {
        let id = libc::pid_t::try_from(self.child.id()).expect("it is one");
        // SAFETY: a plain system call; the child has not been waited for, so that the number is still its own.
        check(unsafe { libc::kill(id, libc::SIGTERM) })?;
        self.child.wait()?;
        Ok(())
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let text = format!("it has said nothing for {PATIENCE:?}");
                Err(io::Error::new(ErrorKind::TimedOut, text))
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = self.child.wait()?;
                Err(io::Error::other(format!("it ended early: {status}")))
            }
        }
    }

    /// The address in the line by which a server says that it is ready.
    pub(crate) fn address(&mut self) -> io::Result<SocketAddr> {
        let line = self.line()?;
        line.split([' ', '/'])
            .find_map(|word| word.parse().ok())
            .ok_or_else(|| io::Error::other(format!("it told no address, but \"{line}\"")))
    }
}

fn read(stdout: ChildStdout, lines: &mpsc::Sender<io::Result<String>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = String::new();
        match stdout.read_line(&mut line) {
            Ok(0) => return,
            Ok(_) if lines.send(Ok(line.trim_end().to_owned())).is_err() => return,
            Ok(_) => {}
            Err(error) => {
                let _nobody_listens = lines.send(Err(error));
                return;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It can only fail for a child that is gone.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
