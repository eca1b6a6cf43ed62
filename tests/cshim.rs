//! The C shim by itself: its own tests, built without Cargo's help as anybody could, and its header.

mod native;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use native::{Compiler, arguments, run, scratch, show, source, sources, strict};

/// Builds `cc FLAGS csrc/*.c csrc/test/*.c` and runs it.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the test harness shows it when the test fails")]
fn run_shim_tests(flags: &[&'static str], libraries: &[&str]) -> String {
    let dir = scratch();
    let program = dir.path().join("test_fctx");
    let mut flags = strict(flags);
    flags.extend([
        "-std=c11",
        "-Wstrict-prototypes",
        "-Wmissing-prototypes",
        "-pthread",
        "-o",
    ]);
    let mut files = vec![program.clone()];
    files.extend(sources("csrc", "c"));
    files.extend(sources("csrc/asm", "S"));
    files.extend(sources("csrc/test", "c"));
    let mut command_line = arguments(&flags, &files);
    command_line.extend(arguments(libraries, &[]));
    Compiler::c().compile(command_line);

    let output = run(&mut Command::new(program)).success();
    println!("{output}");
    for line in output.lines().filter(|line| line.contains("# SKIP")) {
        show(&format!("SKIP {line}"));
    }
    let mut engines = vec!["setjmp"];
    // Where the library has none, this one may have it all the same, see build.rs.
    if "ucontext".parse::<kapok::Engine>().is_ok() && !flags.contains(&WITHOUT_MAKECONTEXT) {
        engines.push("ucontext");
    }
    if flags.contains(&WITH_ASM) && cfg!(kapok_asm) {
        engines.push("asm");
    }
    for engine in engines {
        assert!(
            output.contains(&format!(" - {engine}: the_first_jump_enters\n")),
            "engine {engine} was not tested"
        );
    }
    output
}

/// As on a system whose C library has not got it.
const WITHOUT_MAKECONTEXT: &str = "-DKAPOK_HAVE_MAKECONTEXT=0";

/// As with the feature `asm`, whether this build has it or not.
const WITH_ASM: &str = "-DKAPOK_ASM";

#[test]
fn the_shim_passes_its_tests_where_there_is_no_makecontext() {
    run_shim_tests(&["-O2", WITHOUT_MAKECONTEXT, WITH_ASM], &[]);
    run_shim_tests(&["-O0", WITHOUT_MAKECONTEXT], &[]);
}

#[test]
fn the_shim_passes_its_tests_unoptimised() {
    run_shim_tests(&["-O0", WITH_ASM], &[]);
}

#[test]
fn the_shim_passes_its_tests_optimised() {
    run_shim_tests(&["-O2", WITH_ASM], &[]);
}

#[test]
fn the_shim_passes_its_tests_without_assembler() {
    run_shim_tests(&["-O2"], &[]);
}

/// Distributions turn the checked `longjmp` on by default; it takes another stack for a corrupt one.
#[test]
fn the_shim_passes_its_tests_fortified() {
    run_shim_tests(
        &[
            "-O2",
            "-U_FORTIFY_SOURCE",
            "-D_FORTIFY_SOURCE=2",
            "-fstack-protector-all",
            WITH_ASM,
        ],
        &[],
    );
}

/// With tables for an unwinder, too, which not every compiler makes for C by itself.
#[test]
fn the_shim_passes_its_tests_with_boost_names() {
    let output = run_shim_tests(&["-O2", "-fexceptions", "-DKAPOK_BOOST_NAMES", WITH_ASM], &["-lm"]);
    assert!(!output.contains("no tables for an unwinder"), "it was asked for them");
}

/// The header before anything else in a file, twice, and in two files of one program that uses it.
#[track_caller]
fn check_header(compiler: &Compiler, extension: &str, standard: &'static str, shim_objects: &[PathBuf]) {
    let dir = scratch();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name).with_extension(extension);
        fs::write(&path, text).expect("the directory is ours");
        path
    };
    let include = "#include \"kapok_fctx.h\"\n";
    let one = write("one", &format!("{include}{include}{ONE}"));
    let two = write("two", &format!("{include}{TWO}"));
    let program = dir.path().join("program");
    let header_dir = format!("-I{}", source("csrc").display());
    let mut flags = strict(&[standard, "-pthread"]);
    flags.extend([&header_dir, "-o"]);
    let mut files = vec![program.clone(), one, two];
    files.extend_from_slice(shim_objects);
    compiler.compile(arguments(&flags, &files));
    assert_eq!(run(&mut Command::new(program)).success(), "", "{standard}");
}

/// C and C++ at once.
const ONE: &str = r"
int test_in_two(const struct kapok_engine *engine);

int main(void)
{
    size_t i;
    for (i = 0; i < kapok_engine_count; i++)
        if (!test_in_two(kapok_engines[i]))
            return 1;
    return kapok_fctx_abi_version != KAPOK_FCTX_ABI_VERSION;
}
";

const TWO: &str = r"
int test_in_two(const struct kapok_engine *engine);

static const struct kapok_engine *current;

static void jump_back(kapok_transfer_t t)
{
    (void)current->jump(t.fctx, t.data);
}

static char stack[16 * 1024];

int test_in_two(const struct kapok_engine *engine)
{
    kapok_fcontext_t made;
    current = engine;
    made = engine->make(stack + sizeof stack, sizeof stack, jump_back);
    return kapok_engine_find(engine->name) == engine && engine->jump(made, stack).data == stack;
}
";

/// The shim as object files, for programs in either language.
#[track_caller]
fn shim_objects(dir: &std::path::Path) -> Vec<PathBuf> {
    let cc = Compiler::c();
    let mut objects = Vec::new();
    for file in sources("csrc", "c").into_iter().chain(sources("csrc/asm", "S")) {
        let object = dir.join(file.file_name().expect("it is a file")).with_extension("o");
        cc.compile(arguments(
            &["-std=c11", "-O1", "-fexceptions", WITH_ASM, "-c", "-o"],
            &[object.clone(), file],
        ));
        objects.push(object);
    }
    objects
}

#[test]
fn the_header_is_c() {
    let dir = scratch();
    let objects = shim_objects(dir.path());
    for standard in ["-std=c11", "-std=c17"] {
        check_header(&Compiler::c(), "c", standard, &objects);
    }
}

#[test]
fn the_header_is_cxx() {
    let Some(cxx) = Compiler::cxx() else { return };
    let dir = scratch();
    let objects = shim_objects(dir.path());
    for standard in ["-std=c++11", "-std=c++17", "-std=c++20"] {
        check_header(&cxx, "cpp", standard, &objects);
    }
}
