//! Compiling and running C and C++ programs: what the tests of the C shim share.
//!
//! The compilers are `CC` and `CXX`, else `cc` and `c++`. A program gets a deadline, and its output goes to files, so
//! that one which hangs, or writes more than a pipe holds, fails its test instead of stopping the run.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Far beyond what compiling or running any of the programs takes, on a slow and busy machine too.
const DEADLINE: Duration = Duration::from_secs(600);

/// What a program that ended did.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Standard output, of a program that has to have succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert!(
            self.status.success(),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self.stdout
    }
}

/// Runs to the end, without standard input.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Finished {
    let dir = scratch();
    let (stdout, stderr) = (dir.path().join("stdout"), dir.path().join("stderr"));
    let create = |path: &Path| File::create(path).expect("the directory is ours");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(create(&stdout))
        .stderr(create(&stderr))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if started.elapsed() > DEADLINE {
            // It may have ended in this moment.
            drop(child.kill());
            drop(child.wait());
            panic!("{command:?} did not end in {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("it was created above")).into_owned();
    Finished {
        status,
        stdout: read(&stdout),
        stderr: read(&stderr),
    }
}

/// A directory of the test's own, which goes away with it.
#[track_caller]
pub(crate) fn scratch() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("Cargo made that directory")
}

/// A compiler that exists.
#[derive(Debug)]
pub(crate) struct Compiler {
    /// The program, and arguments where the variable has any, as in `CC="ccache gcc"`.
    words: Vec<String>,
}

impl Compiler {
    /// The C compiler. The crate cannot be built without one, so it is no reason to skip.
    #[track_caller]
    pub(crate) fn c() -> Self {
        Self::find("CC", "cc").expect("the C compiler that the crate itself needs")
    }

    /// The C++ compiler. Where there is none: a visible `SKIP` line, or a failure when `KAPOK_REQUIRE_CXX=1`.
    #[track_caller]
    pub(crate) fn cxx() -> Option<Self> {
        let found = Self::find("CXX", "c++");
        if found.is_none() {
            skip("there is no C++ compiler", "KAPOK_REQUIRE_CXX");
        }
        found
    }

    #[track_caller]
    fn find(variable: &str, default: &str) -> Option<Self> {
        let value = std::env::var(variable).unwrap_or_default();
        let mut words: Vec<String> = value.split_whitespace().map(String::from).collect();
        if words.is_empty() {
            words.push(default.to_owned());
        }
        let compiler = Self { words };
        let answer = compiler
            .command()
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        answer.is_ok_and(|status| status.success()).then_some(compiler)
    }

    /// The compiler, for arguments to be added.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }

    /// Compiles; anything the compiler says is shown with the test's output, an error fails the test.
    #[track_caller]
    #[expect(clippy::print_stdout, reason = "the test harness shows it when the test fails")]
    pub(crate) fn compile(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) {
        let mut command = self.command();
        command.args(arguments);
        let finished = run(&mut command);
        println!("{command:?}\n{}", finished.stderr);
        assert!(
            finished.status.success(),
            "{command:?}\n{}{}",
            finished.stdout,
            finished.stderr
        );
    }
}

/// Tells, past the harness that swallows the output of tests that pass, that something was not tested here; panics
/// where the variable says that it had to be.
#[track_caller]
pub(crate) fn skip(why: &str, required_by: &str) {
    assert!(
        std::env::var_os(required_by).is_none_or(|value| value != "1"),
        "{why}, and {required_by}=1"
    );
    show(&format!("SKIP {why}"));
}

/// Writes a line that is seen even when the test passes.
pub(crate) fn show(line: &str) {
    // Nothing can be done about a closed standard error.
    drop(io::stderr().lock().write_all(format!("{line}\n").as_bytes()));
}

/// A path in the package.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files of a directory of the package with this extension, in order.
#[track_caller]
pub(crate) fn sources(dir: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(source(dir)).unwrap_or_else(|error| panic!("{dir}: {error}"));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the directory is readable").path())
        .collect();
    files.retain(|path| path.extension() == Some(OsStr::new(extension)));
    files.sort();
    assert!(!files.is_empty(), "{dir} has .{extension} files");
    files
}

/// An argument list from pieces of several kinds.
pub(crate) fn arguments(fixed: &[&str], paths: &[PathBuf]) -> Vec<OsString> {
    fixed
        .iter()
        .map(OsString::from)
        .chain(paths.iter().map(OsString::from))
        .collect()
}

/// What our own code has to compile with without a warning. A new compiler's new warning must not break a user's tests.
pub(crate) fn strict(flags: &[&'static str]) -> Vec<&'static str> {
    let strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion"];
    let error = std::env::var_os("CI").map(|_| "-Werror");
    flags.iter().copied().chain(strict).chain(error).collect()
}
