//! What a request costs a server: `cargo bench --bench servers`.
//!
//! The examples `httpd` and `echo`, on each reactor, beside plain C loops over epoll and `io_uring` that do the
//! same (`raw_epoll.c`, `raw_uring.c`), under a load generator of our own. Within each round the servers take turns, so that a
//! machine whose speed drifts treats them alike; compare figures of one run only.
//!
//! The generator runs in a process of its own, on a processor of its own: this program, started once more. What it asks
//! for and checks is in `generator`; who takes part is in `servers.rs`, under which loads in `loads.rs`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[cfg(target_os = "linux")]
mod builds;
#[cfg(target_os = "linux")]
mod count;
#[cfg(target_os = "linux")]
mod generator;
#[cfg(target_os = "linux")]
mod loads;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod servers;
#[cfg(target_os = "linux")]
mod spread;
#[cfg(target_os = "linux")]
mod table;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let options = options::from_command_line();
    let done = match &options.generate {
        Some(load) => generator::run(load, &options.generator),
        None => measure::all(&options),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            println!("servers: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this benchmark needs Linux: it pins processes and reads their processor time from /proc");
}
