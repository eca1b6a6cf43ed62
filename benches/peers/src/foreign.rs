//! Peers in other languages: built if their compilers and libraries are here.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What could be built, and why the others could not.
pub(crate) struct Programs(Vec<(&'static str, Result<PathBuf, String>)>);

impl Programs {
    pub(crate) fn build() -> Programs {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = source.join("target").join("foreign");
        let go = |program: &Path| {
            let mut build = Command::new("go");
            build
                .args(["build", "-o"])
                .arg(program)
                .arg("main.go")
                .current_dir(source.join("go"));
            build
        };
        let boost = |program: &Path| {
            let mut build = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
            build
                .args(["-std=c++17", "-O2", "-DNDEBUG", "-o"])
                .arg(program)
                .arg("main.cc");
            build
                .args(["-lboost_fiber", "-lboost_context", "-lpthread"])
                .current_dir(source.join("cpp"));
            build
        };
        Programs(vec![
            ("go", compile(&target, "go", go)),
            ("boost", compile(&target, "boost", boost)),
        ])
    }

    pub(crate) fn command(&self, name: &str) -> io::Result<Command> {
        let found = self.0.iter().find(|(other, _)| *other == name);
        match &found.expect("it was to be built").1 {
            Ok(program) => Ok(Command::new(program)),
            Err(why) => Err(io::Error::other(why.clone())),
        }
    }
}

fn compile(target: &Path, name: &str, build: impl Fn(&Path) -> Command) -> Result<PathBuf, String> {
    let program = target.join(name);
    std::fs::create_dir_all(target).map_err(|error| error.to_string())?;
    let result = match build(&program).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => return Ok(program),
        Ok(_) => format!("{name} does not compile here: is its library missing?"),
        Err(error) => format!("{name} has no compiler here: {error}"),
    };
    println!("SKIP {result}");
    Err(result)
}
