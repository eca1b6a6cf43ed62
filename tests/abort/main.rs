//! A program that cannot unwind: built with `panic = "abort"`, in a package of its own, and run on each engine.

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Far beyond what building takes, on a slow and busy machine too.
const DEADLINE: Duration = Duration::from_secs(600);

/// The output of a command that has to succeed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().expect("it can be started");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text.into_owned()
}

#[test]
fn without_unwinding_cancelling_is_cooperative() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let _watchdog = support::watchdog_after(DEADLINE);
    let dir = tempfile::tempdir().expect("a directory");
    let features: &[&str] = if cfg!(feature = "asm") { &["asm"] } else { &[] };
    let manifest = format!(
        "[package]\nname = \"abort\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [[bin]]\nname = \"abort\"\npath = {:?}\n\n\
         [dependencies]\nkapok = {{ path = {root:?}, features = {features:?} }}\nlibc = \"0.2\"\n\n\
         [profile.dev]\npanic = \"abort\"\n\n[workspace]\n",
        root.join("tests/abort/program.rs"),
    );
    std::fs::write(dir.path().join("Cargo.toml"), manifest).expect("the directory is ours");
    // The versions that were downloaded for the library are good for the program.
    if root.join("Cargo.lock").exists() {
        std::fs::copy(root.join("Cargo.lock"), dir.path().join("Cargo.lock")).expect("the directory is ours");
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("abort");
    run(Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--offline",
            "--target",
            env!("KAPOK_TARGET"),
            "--manifest-path",
        ])
        .arg(dir.path().join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS"));
    // The program is built without what stands in for a kqueue on Linux.
    let has_no_such = cfg!(target_os = "linux") && std::env::var("KAPOK_REACTOR").is_ok_and(|name| name == "kqueue");
    for engine in kapok::Engine::available() {
        let mut program = Command::new(target.join(env!("KAPOK_TARGET")).join("debug/abort"));
        program.env("KAPOK_SWITCH", engine.name()).env("KAPOK_WORKERS", "1");
        if has_no_such {
            program.env_remove("KAPOK_REACTOR");
        }
        let output = run(&mut program);
        assert!(output.ends_with("all 7\n"), "{engine}: {output}");
    }
}
