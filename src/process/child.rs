//! A process that was started.

use std::fmt;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::process;

use super::pipes::{ChildStderr, ChildStdin, ChildStdout};
use super::{ExitStatus, Output, wait};
use crate::blocking;
use crate::fiber;
use crate::perform::is_in_fiber;

/// A process that was started. As [`std::process::Child`].
///
/// Dropping it leaves the process alone, and a zombie when it ends, unless [`kill_on_drop`](super::Command::kill_on_drop) was
/// said.
pub struct Child {
    /// Writes what the process reads, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Reads what the process writes, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Reads what the process complains of, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    process: Process,
}

/// The process without its pipes, which users take out of the [`Child`].
struct Process {
    /// `None` only while it is being dropped.
    inner: Option<process::Child>,
    kill_on_drop: bool,
}

impl Process {
    fn inner(&mut self) -> &mut process::Child {
        self.inner.as_mut().expect("there until it is dropped")
    }

    fn id(&self) -> u32 {
        self.inner.as_ref().expect("there until it is dropped").id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take().filter(|_| self.kill_on_drop) else {
            return;
        };
        // It fails for one that was reaped, and has ended.
        if matches!(inner.try_wait(), Ok(None)) && inner.kill().is_ok() {
            // It dies soon, but who knows what the kernel has to finish first.
            blocking::in_background(Box::new(move || {
                if let Err(error) = inner.wait() {
                    log::debug!("a child that was killed cannot be reaped: {error}");
                }
            }));
        }
    }
}

impl Child {
    pub(super) fn new(mut inner: process::Child, kill_on_drop: bool) -> Child {
        Child {
            stdin: inner.stdin.take().map(ChildStdin::from),
            stdout: inner.stdout.take().map(ChildStdout::from),
            stderr: inner.stderr.take().map(ChildStderr::from),
            process: Process {
                inner: Some(inner),
                kill_on_drop,
            },
        }
    }

    /// Kills it (`SIGKILL`), without waiting for its end. One that has been waited for stays as it is.
    ///
    /// # Errors
    /// Those of `kill(2)`.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.inner().kill()
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it has ended, after closing its standard input, if that is a pipe that nobody has taken.
    ///
    /// # Errors
    /// Those of `waitpid(2)`.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        wait::wait(self.process.inner())
    }

    /// How it has ended; `None` if it has not. Never waits.
    ///
    /// # Errors
    /// Those of `waitpid(2)`.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.inner().try_wait()
    }

    /// Waits until it has ended, and collects what it writes into the pipes that nobody has taken.
    ///
    /// # Errors
    /// Those of reading and of `waitpid(2)`.
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        match (self.stdout.take(), self.stderr.take()) {
            (None, None) => {}
            (Some(mut out), None) => drop(out.read_to_end(&mut stdout)?),
            (None, Some(mut err)) => drop(err.read_to_end(&mut stderr)?),
            // Whichever is not read may fill up, and stop the process.
            (Some(mut out), Some(mut err)) => {
                let read_err = || err.read_to_end(&mut stderr);
                let (out, err) = if is_in_fiber() {
                    fiber::scope(|scope| {
                        let err = scope.spawn(read_err);
                        (out.read_to_end(&mut stdout), err.join())
                    })
                } else {
                    std::thread::scope(|scope| {
                        let err = scope.spawn(read_err);
                        (out.read_to_end(&mut stdout), err.join())
                    })
                };
                out?;
                err.unwrap_or_else(|panic| resume_unwind(panic))?;
            }
        }
        let status = self.wait()?;
        Ok(Output { status, stdout, stderr })
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish_non_exhaustive()
    }
}
