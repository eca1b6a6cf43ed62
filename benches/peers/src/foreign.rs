//! Peers in other languages: built if their compilers and libraries are here.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the engines are compiled from; the assembly is empty on other machines than its own.
const ENGINES: [&str; 16] = [
    "asm.c",
    "asm_fenv.c",
    "asm/x86_64_sysv.S",
    "asm/x86_64_sysv_fenv.S",
    "asm/aarch64_aapcs64.S",
    "asm/aarch64_aapcs64_fenv.S",
    "boot_makecontext.c",
    "boot_sigaltstack.c",
    "engines.c",
    "layout.c",
    "record.c",
    "setjmp.c",
    "setjmp_fenv.c",
    "ucontext.c",
    "ucontext_fenv.c",
    "../benches/peers/contexts/switch.c",
];

/// What could be built, and why the others could not.
pub(crate) struct Programs(Vec<(&'static str, Result<PathBuf, String>)>);

impl Programs {
    pub(crate) fn build() -> Programs {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = source.join("target").join("foreign");
        let go = |from: &'static str| {
            move |program: &Path| {
                let mut build = Command::new("go");
                build
                    .args(["build", "-o"])
                    .arg(program)
                    .arg(from)
                    .current_dir(source.join("go"));
                build
            }
        };
        let boost = |from: &'static str| {
            move |program: &Path| {
                let mut build = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
                build
                    .args(["-std=c++17", "-O2", "-DNDEBUG", "-o"])
                    .arg(program)
                    .arg(from);
                build
                    .args(["-lboost_fiber", "-lboost_context", "-lpthread"])
                    .current_dir(source.join("cpp"));
                build
            }
        };
        let uv = |program: &Path| {
            let mut build = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
            build
                .args(["-std=gnu11", "-O2", "-o"])
                .arg(program)
                .args(["serve.c", "-luv"])
                .current_dir(source.join("uv"));
            build
        };
        // With Kapok's engines, but not its functions of Boost's names.
        let switch = |program: &Path| {
            let mut build = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
            build
                .args([
                    "-std=gnu11",
                    "-O2",
                    "-U_FORTIFY_SOURCE",
                    "-DKAPOK_ASM",
                    "-DKAPOK_BOOST_NAMES",
                    "-o",
                ])
                .arg(program)
                .arg("-I.")
                .args(ENGINES)
                .args(["-lboost_context", "-lm"])
                .current_dir(source.join("../../csrc"));
            build
        };
        Programs(vec![
            ("switch", compile(&target, "switch", switch)),
            ("go", compile(&target, "go", go("main.go"))),
            ("boost", compile(&target, "boost", boost("main.cc"))),
            ("go-serve", compile(&target, "go-serve", go("./serve"))),
            ("boost-serve", compile(&target, "boost-serve", boost("serve.cc"))),
            ("uv-serve", compile(&target, "uv-serve", uv)),
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
