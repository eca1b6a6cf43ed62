//! Where it was measured.

use std::fs;
use std::process::Command;

/// Names and values, to be printed and to go into the JSON.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = vec![
        (
            "cpu",
            format!("{} x {}", cores, model.map_or("unknown", |(_, model)| model)),
        ),
        ("kernel", first_line_of("uname", &["-srm"])),
        ("rustc", first_line_of("rustc", &["--version"])),
        ("go", first_line_of("go", &["version"])),
        ("c++", first_line_of("c++", &["--version"])),
        ("boost", boost()),
        ("load average before", load_average()),
    ];
    let peers = [
        "corosensei",
        "crossbeam-channel",
        "generator",
        "local-sync",
        "may",
        "monoio",
        "smol",
        "tokio",
    ];
    all.extend(peers.map(|name| (name, version_of(name))));
    all
}

/// Of the last 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn first_line_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_else(|| "not here".to_owned())
}

fn boost() -> String {
    let header = fs::read_to_string("/usr/include/boost/version.hpp").unwrap_or_default();
    let version = header
        .lines()
        .find_map(|line| line.strip_prefix("#define BOOST_LIB_VERSION "));
    version.unwrap_or("not here").trim_matches('"').to_owned()
}

/// What this program was built with.
fn version_of(name: &str) -> String {
    let mut lines = include_str!("../Cargo.lock").lines();
    lines.find(|line| *line == format!("name = \"{name}\""));
    let version = lines.next().and_then(|line| line.strip_prefix("version = "));
    version.unwrap_or("unknown").trim_matches('"').to_owned()
}
