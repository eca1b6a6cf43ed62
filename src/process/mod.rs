//! Child processes with the names and signatures of [`std::process`]: a call that would block a thread there suspends the fiber
//! here. To move code over, change its `use` lines.
//!
//! ```
//! use kapok::process::{Command, Stdio};
//! use std::io::{Read, Write};
//!
//! kapok::run(|| -> std::io::Result<()> {
//!     let output = Command::new("echo").arg("hello").output()?;
//!     assert_eq!(output.stdout, b"hello\n");
//!
//!     let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//!     cat.stdin.take().unwrap().write_all(b"through a pipe")?;
//!     let mut text = String::new();
//!     cat.stdout.take().unwrap().read_to_string(&mut text)?;
//!     assert_eq!(text, "through a pipe");
//!     assert!(cat.wait()?.success());
//!     Ok(())
//! })??;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # How it is done
//! - Starting a process happens in place, on the caller's thread, and takes as long as `posix_spawn(3)`: a millisecond or so.
//!   On another thread the kernel would take that thread for the parent, and its end for the parent's (`PR_SET_PDEATHSIG`).
//! - The pipes are read and written through the reactor.
//! - Waiting for the end takes no thread: on Linux 5.3 and newer by `pidfd_open(2)`, elsewhere by `SIGCHLD`
//!   ([`kapok::signal`](crate::signal)), and where no handler can be had on a thread of [`blocking`](crate::blocking()).
//! - On a plain thread all of it is as in std.
//!
//! # When it is cancelled
//! A wait that is [cancelled](crate::cancel) leaves the process alone, and so does dropping a [`Child`], as in std.
//! [`Command::kill_on_drop`] says that it shall not outlive its `Child`: then `timeout(d, || command.output())` ends the process,
//! too.
//!
//! ```
//! use kapok::process::Command;
//! use std::time::{Duration, Instant};
//!
//! kapok::run(|| {
//!     let start = Instant::now();
//!     let outcome = kapok::timeout(Duration::from_millis(20), || {
//!         Command::new("sleep").arg("1000").kill_on_drop(true).status()
//!     });
//!     assert!(outcome.is_err() && start.elapsed() < Duration::from_secs(500));
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod child;
mod command;
mod pipes;
mod wait;

pub use std::os::unix::process::{ExitStatusExt, parent_id};
pub use std::process::{CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination, abort, exit, id};

pub use child::Child;
pub use command::{Command, CommandExt};
pub use pipes::{ChildStderr, ChildStdin, ChildStdout};
