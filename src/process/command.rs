//! How a process is to be started.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process;

use super::{Child, CommandArgs, CommandEnvs, ExitStatus, Output, Stdio};

/// How a process is to be started. As [`std::process::Command`].
///
/// What belongs to Unix is in [`CommandExt`], as in std.
pub struct Command {
    inner: process::Command,
    /// Which of the three the user has said something about.
    stdin: bool,
    stdout: bool,
    stderr: bool,
    kill_on_drop: bool,
}

impl Command {
    /// One that starts `program`, which is looked for in `PATH`, with what this process has. As
    /// [`std::process::Command::new`].
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        process::Command::new(program).into()
    }

    /// One more argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.inner.arg(arg);
        self
    }

    /// More arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.inner.args(args);
        self
    }

    /// Sets a variable of the environment.
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.env(key, val);
        self
    }

    /// Sets variables of the environment.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.envs(vars);
        self
    }

    /// Starts it without that variable.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.inner.env_remove(key);
        self
    }

    /// Starts it without this process's environment.
    pub fn env_clear(&mut self) -> &mut Command {
        self.inner.env_clear();
        self
    }

    /// Starts it in that directory.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.inner.current_dir(dir);
        self
    }

    /// What its standard input is: that of this process, unless something is said; nothing with [`output`](Command::output).
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.stdin = true;
        self.inner.stdin(cfg);
        self
    }

    /// What its standard output is: that of this process, unless something is said; a pipe with [`output`](Command::output).
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.stdout = true;
        self.inner.stdout(cfg);
        self
    }

    /// What its standard error is: that of this process, unless something is said; a pipe with [`output`](Command::output).
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.stderr = true;
        self.inner.stderr(cfg);
        self
    }

    /// Whether the process is killed when its [`Child`] is dropped before it was waited for, also because a fiber is
    /// cancelled. It is then reaped in the background. Not, unless this says so. (std has none; the name is tokio's.)
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// Those of `posix_spawn(3)`, or of `fork(2)` and `execve(2)`: `NotFound` where there is no such program.
    pub fn spawn(&mut self) -> io::Result<Child> {
        Ok(Child::new(self.inner.spawn()?, self.kill_on_drop))
    }

    /// Starts it, waits until it has ended, and collects what it writes.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn), and those of reading.
    pub fn output(&mut self) -> io::Result<Output> {
        if !self.stdin {
            self.inner.stdin(Stdio::null());
        }
        if !self.stdout {
            self.inner.stdout(Stdio::piped());
        }
        if !self.stderr {
            self.inner.stderr(Stdio::piped());
        }
        let child = self.spawn();
        // What nobody has said anything about is inherited by those that are started otherwise.
        if !self.stdin {
            self.inner.stdin(Stdio::inherit());
        }
        if !self.stdout {
            self.inner.stdout(Stdio::inherit());
        }
        if !self.stderr {
            self.inner.stderr(Stdio::inherit());
        }
        child?.wait_with_output()
    }

    /// Starts it, and waits until it has ended.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn).
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// The program that it starts.
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        self.inner.get_program()
    }

    /// The arguments.
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.inner.get_args()
    }

    /// What is changed in the environment.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.inner.get_envs()
    }

    /// The directory that it is started in.
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.inner.get_current_dir()
    }
}

impl From<process::Command> for Command {
    /// What was said about the three standard streams counts for [`spawn`](Command::spawn) and [`status`](Command::status);
    /// [`output`](Command::output) cannot know of it, and sets them as if nothing had been.
    fn from(inner: process::Command) -> Command {
        Command {
            inner,
            stdin: false,
            stdout: false,
            stderr: false,
            kill_on_drop: false,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Sealed {}
    impl Sealed for super::Command {}
}

/// What a [`Command`] can do on Unix. As [`std::os::unix::process::CommandExt`].
pub trait CommandExt: sealed::Sealed {
    /// The user that the process is.
    fn uid(&mut self, id: u32) -> &mut Command;

    /// The group that the process is of.
    fn gid(&mut self, id: u32) -> &mut Command;

    /// Calls `f` in the child, before it becomes the program.
    ///
    /// # Safety
    /// As [`std::os::unix::process::CommandExt::pre_exec`]: the child has a copy of one thread of this process, so `f` may do
    /// next to nothing; it must not use anything of Kapok's.
    #[expect(unsafe_code, reason = "std's signature")]
    unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static;

    /// Becomes the program, which ends all fibers and threads of this process as they are; returns only where that fails.
    fn exec(&mut self) -> io::Error;

    /// What the program is told that its name is.
    fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command;

    /// The process group that it is in; 0 is one of its own.
    fn process_group(&mut self, pgroup: i32) -> &mut Command;
}

impl CommandExt for Command {
    fn uid(&mut self, id: u32) -> &mut Command {
        self.inner.uid(id);
        self
    }

    fn gid(&mut self, id: u32) -> &mut Command {
        self.inner.gid(id);
        self
    }

    #[expect(unsafe_code, reason = "std's signature")]
    unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller's promise.
        unsafe { self.inner.pre_exec(f) };
        self
    }

    fn exec(&mut self) -> io::Error {
        self.inner.exec()
    }

    fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.inner.arg0(arg);
        self
    }

    fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.inner.process_group(pgroup);
        self
    }
}
