//! The servers of all peers, for `cargo bench --bench servers`, which measures them beside Kapok's and the raw ones.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::foreign::Programs;

/// Those in `src/serve`: what they are called, and what comes before its name on the command line. `:http` for no echo.
const HERE: &[(&str, &[&str], &str)] = &[
    ("kapok_plain_epoll", &["KAPOK_REACTOR=epoll"], "kapok"),
    ("kapok_plain_io_uring", &["KAPOK_REACTOR=io_uring"], "kapok"),
    ("monoio", &[], "monoio"),
    ("monoio_epoll", &[], "monoio-epoll"),
    ("tokio", &[], "tokio"),
    ("hyper:http", &[], "hyper"),
    ("may", &[], "may"),
    ("smol", &[], "smol"),
];

/// Those in other languages.
const FOREIGN: &[(&str, &str)] = &[
    ("go", "go-serve"),
    ("boost_fiber", "boost-serve"),
    ("libuv", "uv-serve"),
];

/// The benchmark's own.
const OWN: &str = "raw_epoll,raw_uring,kapok_epoll,kapok_io_uring,kapok_epoll+asm,kapok_io_uring+asm";

/// Runs the benchmark with them. Of its servers, those take part whose names `--peers A,B` in front of `arguments` names; all, if it
/// is not there.
pub(crate) fn measure(arguments: &[String]) -> io::Result<()> {
    let programs = Programs::build();
    let (wanted, arguments) = match arguments {
        [option, names, rest @ ..] if option == "--peers" => (Some(names.split(',').collect::<Vec<_>>()), rest),
        _ => (None, arguments),
    };
    let mut servers: Vec<_> = OWN.split(',').map(str::to_owned).collect();
    let serve = std::env::current_exe()?.with_file_name("serve");
    for (name, environment, peer) in HERE {
        let environment = environment.join(" ");
        servers.push(format!("{name}=env {environment} {} {peer}", serve.display()));
    }
    for (name, program) in FOREIGN {
        // What is missing was named when it could not be built.
        if let Ok(command) = programs.command(program) {
            servers.push(format!("{name}={}", Path::new(command.get_program()).display()));
        }
    }
    let is_wanted = |server: &String| {
        let name = server.split(['=', ':']).next().unwrap_or_default();
        wanted.as_ref().is_none_or(|names| names.contains(&name))
    };
    servers.retain(is_wanted);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut bench = Command::new(cargo);
    bench
        .args([
            "bench",
            "--quiet",
            "--features",
            "asm",
            "--bench",
            "servers",
            "--",
            "--server",
        ])
        .arg(servers.join(","))
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    let status = bench.status()?;
    if !status.success() {
        return Err(io::Error::other(format!("the benchmark failed: {status}")));
    }
    Ok(())
}
