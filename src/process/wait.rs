//! Waiting for the end of a process without a thread.
//!
//! ```text
//!     has it ended? -- yes --> that is the answer
//!       | no
//!     on a plain thread? -- yes --> waitpid(2)
//!       | no
//!     pidfd_open(2)? -- yes --> wait until it is readable
//!       | no
//!     a handler for SIGCHLD? -- yes --> ask again after each
//!       | no
//!     waitpid(2) on a thread of the blocking pool
//! ```

use std::io;
use std::process::{Child, ExitStatus};

use crate::blocking;
use crate::perform::is_in_fiber;
use crate::signal::{SIGCHLD, Signals};

pub(super) fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    // While a fiber is unwound that is cancelled, its thread is not kept waiting.
    if !is_in_fiber() && !crate::is_cancelled() {
        return child.wait();
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    match crate::sys::pidfd_open(child.id()) {
        Ok(pidfd) => {
            let pidfd = crate::net::Async::new_shared(pidfd);
            loop {
                pidfd.readable()?;
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
            }
        }
        Err(error) => log::debug!("pidfd_open: {error}"),
    }
    wait_by_signal(child)
}

fn wait_by_signal(child: &mut Child) -> io::Result<ExitStatus> {
    let signals = match Signals::new([SIGCHLD]) {
        Ok(signals) => signals,
        Err(error) => {
            log::debug!("no handler for SIGCHLD: {error}");
            return blocking(|| child.wait());
        }
    };
    loop {
        // After the handler is there, so that no end is missed.
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        signals.recv()?;
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_signal_is_enough() {
        // A child that has been spawned has called exec, so it has no copy any more of what is closed then.
        let spawn = |command: &mut Command| {
            let _forking = crate::sys::forks::forking();
            command.spawn().unwrap()
        };
        crate::run(|| {
            let children: Vec<_> = (0..10)
                .map(|i| {
                    let mut child = spawn(Command::new("sh").args(["-c", &format!("exit {i}")]));
                    crate::spawn(move || wait_by_signal(&mut child).unwrap().code())
                })
                .collect();
            for (i, child) in (0..).zip(children) {
                assert_eq!(child.join().unwrap(), Some(i));
            }
            let mut child = spawn(Command::new("sleep").arg("1000"));
            crate::timeout(Duration::from_millis(10), || wait_by_signal(&mut child)).unwrap_err();
            child.kill().unwrap();
            assert!(!wait_by_signal(&mut child).unwrap().success());
        })
        .unwrap();
    }
}
