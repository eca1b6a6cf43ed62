//! A test that runs in a process of its own: one that is to die, needs other limits, or must not be disturbed.
//!
//! The test program starts itself again with the name of one test and a variable that says so.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use super::{DEADLINE, says, watchdog, watchdog_after};

const MARK: &str = "KAPOK_TEST_CHILD";

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Ended {
    status: ExitStatus,
    output: String,
}

/// In the child: runs `body`, and gives `None`. In the parent: runs the child, and gives its end. `test` is the path of the
/// calling test.
#[track_caller]
pub(crate) fn alone(test: &str, configure: impl FnOnce(&mut Command), body: impl FnOnce()) -> Option<Ended> {
    if is_child(test) {
        let _watchdog = watchdog();
        // Some of them die, and leave nothing that is worth keeping.
        rlimit::setrlimit(rlimit::Resource::CORE, 0, 0).expect("no core files");
        body();
        return None;
    }
    // The child's own comes first, and says more.
    let _watchdog = watchdog_after(2 * DEADLINE);
    let this = std::env::current_exe().expect("the path of this test program");
    let mut command = Command::new(this);
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, test)
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_MIN_STACK")
        .stdin(Stdio::null());
    configure(&mut command);
    let output = command.output().expect("a test program can be started");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let ended = Ended {
        status: output.status,
        output: text.into_owned(),
    };
    says(&ended.output, &["running 1 test"]);
    Some(ended)
}

/// As [`alone`], for a child that has to succeed, in the environment of its parent.
#[track_caller]
pub(crate) fn undisturbed(test: &str, body: impl FnOnce()) {
    if let Some(ended) = alone(test, |_| (), body) {
        ended.success();
    }
}

/// The path of a test, for a file that is compiled in several modules.
pub(crate) fn path(module: &str, test: &str) -> String {
    let (_test_program, module) = module.split_once("::").expect("a module within the program");
    format!("{module}::{test}")
}

/// Whether this process was started for this test.
pub(crate) fn is_child(test: &str) -> bool {
    std::env::var_os(MARK).is_some_and(|name| name == test)
}

impl Ended {
    /// The output of a child that has to have succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert!(self.status.success(), "{}\n{}", self.status, self.output);
        self.output
    }

    /// The code that a child has to have exited with.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("{}\n{}", self.status, self.output))
    }

    /// The output of a child that has to have been ended by one of these signals.
    #[track_caller]
    pub(crate) fn killed_by(self, signals: &[i32]) -> String {
        let signal = self.status.signal();
        assert!(
            signal.is_some_and(|signal| signals.contains(&signal)),
            "{}\n{}",
            self.status,
            self.output
        );
        self.output
    }
}
