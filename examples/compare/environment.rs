//! Where figures come from, without which they mean nothing.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Names and values, to be printed with figures.
pub(crate) fn environment() -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("when", when()),
        ("system", first_line("uname", &["-srm"])),
        ("processor", processor()),
        (
            "processors",
            std::thread::available_parallelism().map_or_else(|_| "unknown".into(), |n| n.to_string()),
        ),
        ("target", format!("{} {}", std::env::consts::ARCH, std::env::consts::OS)),
        ("C library", first_line("getconf", &["GNU_LIBC_VERSION"])),
        ("kapok", env!("CARGO_PKG_VERSION").into()),
        (
            "compiled",
            if cfg!(debug_assertions) {
                "without optimisation: the figures tell nothing"
            } else {
                "optimised"
            }
            .into(),
        ),
        (
            "load before",
            std::fs::read_to_string("/proc/loadavg")
                .unwrap_or_default()
                .trim()
                .into(),
        ),
    ];
    all.retain(|(_, value)| !value.is_empty());
    all
}

/// Seconds of Unix time, and what a person makes of them where there is `date`.
fn when() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    format!("{} ({now})", first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]))
}

fn processor() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    named.map_or_else(|| first_line("uname", &["-p"]), |(_, name)| name.trim().into())
}

/// What a command says, or nothing where there is no such command.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    let output = output.filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .into()
}
