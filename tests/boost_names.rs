//! Boost.Context's three names: C++ programs linked with our functions instead of Boost's assembly.
//!
//! `boost_names.cpp` needs a C++ compiler only. `boost_headers.cpp` runs Boost's own classes on top of our functions,
//! where Boost is installed; there both programs are also built on Boost's assembly, and have to print the same.

mod native;

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kapok::Engine;
use native::{Compiler, Finished, arguments, run, scratch, skip, source, sources, strict};

const SIGABRT: i32 = 6;

fn has(engine: &str) -> bool {
    engine.parse::<Engine>().is_ok()
}

/// The shim with Boost's names, as object files.
#[track_caller]
fn shim_objects(dir: &Path) -> Vec<PathBuf> {
    let cc = Compiler::c();
    let mut objects = Vec::new();
    for file in sources("csrc", "c").into_iter().chain(sources("csrc/asm", "S")) {
        let object = dir.join(file.file_name().expect("it is a file")).with_extension("o");
        let mut flags = strict(&["-std=c11", "-O2", "-fexceptions", "-DKAPOK_BOOST_NAMES"]);
        // As the library's own build, see build.rs.
        if !has("ucontext") {
            flags.push("-DKAPOK_HAVE_MAKECONTEXT=0");
        }
        if has("asm") {
            flags.push("-DKAPOK_ASM");
        }
        flags.extend(["-c", "-o"]);
        cc.compile(arguments(&flags, &[object.clone(), file]));
        objects.push(object);
    }
    objects
}

/// Builds one of our C++ programs; `with` is what it is linked with.
#[track_caller]
fn build(cxx: &Compiler, standard: &'static str, file: &str, with: Vec<OsString>, program: &Path) {
    let mut flags = strict(&[standard, "-O1"]);
    flags.extend(["-pthread", "-o"]);
    let mut command_line = arguments(&flags, &[program.to_owned(), source("csrc/test").join(file)]);
    command_line.extend(with);
    cxx.compile(command_line);
}

/// Runs it with `KAPOK_SWITCH` set to this, or unset.
#[track_caller]
fn run_on(program: &Path, engine: Option<&str>, arguments: &[&str]) -> Finished {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_remove("KAPOK_SWITCH")
        .envs(engine.map(|name| ("KAPOK_SWITCH", name)));
    run(&mut command)
}

/// Runs it on every engine, which all have to do the same; what it printed.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the test harness shows it when the test fails")]
fn run_on_every_engine(program: &Path, arguments: &[&str]) -> String {
    let output = run_on(program, None, arguments).success();
    println!("{output}");
    assert!(output.ends_with(" passed, 0 failed\n"));
    let engines = Engine::available();
    for engine in engines.iter().map(|engine| engine.name()).chain([""]) {
        assert_eq!(
            run_on(program, Some(engine), arguments).success(),
            output,
            "KAPOK_SWITCH={engine}"
        );
    }
    output
}

/// No engine has this name; that the program cares shows that the functions it runs on are ours.
#[track_caller]
fn bogus_engine_is_refused(program: &Path) {
    let finished = run_on(program, Some("bogus"), &[]);
    assert_eq!(finished.status.signal(), Some(SIGABRT), "{finished:?}");
    let names: Vec<_> = Engine::available().iter().map(|engine| engine.name()).collect();
    let names = names.join(", ");
    let sentence = format!("kapok: KAPOK_SWITCH names no switch engine of this build, which has: {names}\n");
    assert_eq!(finished.stderr, sentence);
}

/// Whether Boost.Context is installed, headers and library. Where not: a visible `SKIP` line, or a failure when
/// `KAPOK_REQUIRE_BOOST=1`.
#[track_caller]
fn has_boost(cxx: &Compiler) -> bool {
    let dir = scratch();
    let probe = dir.path().join("probe.cpp");
    let text = "#include <boost/context/continuation.hpp>\n#include <boost/coroutine2/all.hpp>\n\
                int main() { return boost::context::stack_traits::page_size() == 0; }\n";
    std::fs::write(&probe, text).expect("the directory is ours");
    let mut command_line = arguments(&["-std=c++17", "-o"], &[dir.path().join("probe"), probe]);
    command_line.push("-lboost_context".into());
    let has = run(cxx.command().args(command_line)).status.success();
    if !has {
        skip("Boost.Context is not installed", "KAPOK_REQUIRE_BOOST");
    }
    has
}

#[test]
fn a_cxx_program_runs_on_every_engine() {
    let Some(cxx) = Compiler::cxx() else { return };
    let dir = scratch();
    let objects = shim_objects(dir.path());
    for standard in ["-std=c++11", "-std=c++17"] {
        let program = dir.path().join("boost_names");
        let mut with = arguments(&[], &objects);
        with.push("-lm".into());
        build(&cxx, standard, "boost_names.cpp", with, &program);
        run_on_every_engine(&program, &[]);
        bogus_engine_is_refused(&program);
    }
}

#[test]
fn a_cxx_program_does_the_same_on_boosts_assembly() {
    let Some(cxx) = Compiler::cxx() else { return };
    if !has_boost(&cxx) {
        return;
    }
    let dir = scratch();
    let (ours, boosts) = (dir.path().join("ours"), dir.path().join("boosts"));
    let mut with = arguments(&[], &shim_objects(dir.path()));
    with.push("-lm".into());
    build(&cxx, "-std=c++11", "boost_names.cpp", with, &ours);
    build(
        &cxx,
        "-std=c++11",
        "boost_names.cpp",
        vec!["-lboost_context".into()],
        &boosts,
    );
    // What Boost leaves undefined is left out of both.
    let expected = run_on(&boosts, Some("bogus"), &["common"]).success();
    assert_eq!(run_on_every_engine(&ours, &["common"]), expected);
}

#[test]
fn boosts_classes_do_the_same_on_our_functions() {
    let Some(cxx) = Compiler::cxx() else { return };
    if !has_boost(&cxx) {
        return;
    }
    let dir = scratch();
    let (ours, boosts) = (dir.path().join("ours"), dir.path().join("boosts"));
    // Ours come first: the linker then finds the three functions defined when it comes to Boost's library, and takes
    // from it only what the stack allocators need.
    let mut with = arguments(&[], &shim_objects(dir.path()));
    with.extend(arguments(&["-lboost_context", "-lm"], &[]));
    build(&cxx, "-std=c++17", "boost_headers.cpp", with, &ours);
    build(
        &cxx,
        "-std=c++17",
        "boost_headers.cpp",
        vec!["-lboost_context".into()],
        &boosts,
    );
    bogus_engine_is_refused(&ours);
    let expected = run_on(&boosts, Some("bogus"), &[]).success();
    assert_eq!(run_on_every_engine(&ours, &[]), expected);
}

/// As the documentation tells a C++ project to do it: the crate as a static library.
#[test]
#[cfg_attr(target_env = "musl", ignore = "the C++ compiler is the host's")]
fn a_cxx_program_links_with_the_crate() {
    let Some(cxx) = Compiler::cxx() else { return };
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boost");
    let mut cargo = Command::new(env!("CARGO"));
    // Nothing to download that this very build did not need; and a plain build, whatever instruments the tests.
    cargo
        .args([
            "rustc",
            "--offline",
            "--lib",
            "--crate-type",
            "staticlib",
            "--features",
            if has("asm") { "boost-names,asm" } else { "boost-names" },
        ])
        .arg("--manifest-path")
        .arg(source("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .args(["--", "--print", "native-static-libs"]);
    for variable in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CFLAGS",
        "KAPOK_LIBKQUEUE",
    ] {
        cargo.env_remove(variable);
    }
    let finished = run(&mut cargo);
    assert!(finished.status.success(), "{}", finished.stderr);
    let libraries = finished
        .stderr
        .lines()
        .find_map(|line| line.split_once("native-static-libs: "))
        .map(|(_, libraries)| libraries.split_whitespace().map(OsString::from))
        .unwrap_or_else(|| panic!("rustc names the libraries to link with:\n{}", finished.stderr));

    let dir = scratch();
    let program = dir.path().join("boost_names");
    let mut with = arguments(&[], &[target.join("debug/libkapok.a")]);
    with.extend(libraries);
    build(&cxx, "-std=c++11", "boost_names.cpp", with, &program);
    run_on_every_engine(&program, &[]);
    bogus_engine_is_refused(&program);
}
