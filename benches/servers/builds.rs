//! The programs that are measured, built from their sources.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directories in which they lie.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) raw: PathBuf,
    pub(crate) examples: PathBuf,
}

/// Compiles the C programs by `$CC` (`cc`, if there is none) and the examples by cargo, in the profile of benchmarks.
pub(crate) fn all() -> io::Result<Programs> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's directory for such files lies in the target directory");
    let raw = target.join("tmp").join("servers");
    std::fs::create_dir_all(&raw)?;
    for program in [crate::servers::RAW_EPOLL, crate::servers::RAW_URING] {
        compile(program, &raw)?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args([
            "build",
            "--quiet",
            "--profile",
            "bench",
            "--example",
            "httpd",
            "--example",
            "echo",
            "--target-dir",
        ])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if cfg!(feature = "asm") {
        build.args(["--features", "asm"]);
    }
    succeed(&mut build)?;
    Ok(Programs {
        raw,
        examples: target.join("release").join("examples"),
    })
}

fn compile(program: &str, directory: &Path) -> io::Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/servers/{program}.c"));
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut compile = Command::new(compiler);
    compile
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o"])
        .arg(directory.join(program))
        .arg(source);
    succeed(&mut compile)
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let status = command
        .status()
        .map_err(|error| io::Error::other(format!("{:?}: {error}", command.get_program())))?;
    if !status.success() {
        return Err(io::Error::other(format!("{command:?}: {status}")));
    }
    Ok(())
}
