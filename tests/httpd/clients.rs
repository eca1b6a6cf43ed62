//! Clients that others wrote. One that is not installed is skipped visibly, unless `KAPOK_REQUIRE_CLIENTS=1` forbids that.

use std::fs;
use std::process::{Command, Output};

use crate::support::{Httpd, Site, blob, emulator};

/// A command for a client program, if it is installed.
fn client(program: &str, version: &str) -> Option<Command> {
    if emulator::is_installed(program, version) {
        return Some(Command::new(program));
    }
    let required = std::env::var("KAPOK_REQUIRE_CLIENTS").is_ok_and(|value| value == "1");
    assert!(
        !required,
        "{program} is not installed, and KAPOK_REQUIRE_CLIENTS=1 asks for it"
    );
    // Straight to the descriptor: what goes through `println!` is not shown for a test that passes.
    let line = format!("SKIP: {program} is not installed\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    None
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("run the client");
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(
        status.success(),
        "{command:?} ends with {status}: {text}{}",
        String::from_utf8_lossy(&stderr)
    );
    text
}

#[test]
fn curl_downloads_resumes_and_revalidates() {
    let Some(_) = client("curl", "--version") else { return };
    let site = Site::new().with_blob("blob", 1 << 20);
    let server = Httpd::serving(&site.root(), &[]);
    let url = format!("http://{}/blob", server.address);
    let copy = site.root().join("../copy");
    let etags = site.root().join("../etags");
    let curl = || {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--fail", "--max-time", "60", "--output"])
            .arg(&copy);
        command
    };
    run(curl().arg("--etag-save").arg(&etags).arg(&url));
    assert!(fs::read(&copy).unwrap() == blob(1 << 20), "the copy differs");

    fs::write(&copy, &blob(1 << 20)[..300_000]).unwrap();
    run(curl().args(["--continue-at", "-"]).arg(&url));
    assert!(fs::read(&copy).unwrap() == blob(1 << 20), "the resumed copy differs");

    let code = run(curl()
        .args(["--write-out", "%{http_code}", "--etag-compare"])
        .arg(&etags)
        .arg(&url));
    assert_eq!(code, "304");
    let upload = format!("@{}", site.root().join("hello.txt").display());
    let mut post = Command::new("curl");
    post.args([
        "--silent",
        "--max-time",
        "60",
        "--write-out",
        "%{http_code}",
        "--output",
        "/dev/null",
    ]);
    let code = run(post.args(["--data-binary", &upload, &url]));
    assert_eq!(code, "405");
    server.stop();
}

#[test]
fn wrk_sees_no_error() {
    let Some(mut wrk) = client("wrk", "--version") else {
        return;
    };
    let site = Site::new();
    let server = Httpd::serving(&site.root(), &[]);
    for path in ["plaintext", "hello.txt"] {
        let report = run(wrk
            .args(["-t2", "-c64", "-d1s"])
            .arg(format!("http://{}/{path}", server.address)));
        assert!(report.contains("Requests/sec"), "{report}");
        assert!(
            !report.contains("Socket errors") && !report.contains("Non-2xx"),
            "{report}"
        );
        wrk = Command::new("wrk");
    }
    server.stop();
}

#[test]
fn ab_sees_no_error() {
    let Some(_) = client("ab", "-V") else { return };
    let server = Httpd::start(&[]);
    for keep_alive in [true, false] {
        let mut ab = Command::new("ab");
        ab.args(["-q", "-t", "1", "-n", "5000", "-c", "16"])
            .args(keep_alive.then_some("-k"));
        let report = run(ab.arg(format!("http://{}/plaintext", server.address)));
        let number = |label: &str| -> u64 {
            let line = report
                .lines()
                .find(|line| line.starts_with(label))
                .unwrap_or_else(|| panic!("{label}: {report}"));
            line.split_whitespace().last().unwrap().parse().unwrap()
        };
        let complete = number("Complete requests:");
        assert!(complete > 0 && number("Failed requests:") == 0, "{report}");
        assert!(!report.contains("Non-2xx"), "{report}");
        if keep_alive {
            assert_eq!(number("Keep-Alive requests:"), complete, "{report}");
        }
    }
    server.stop();
}
