//! What a person is told who starts the server wrongly: one line, which says what was wrong and how to mend it.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use crate::support::{Httpd, Site, example};

fn run(options: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(example("httpd"));
    command
        .args(options)
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    command.output().expect("run the server")
}

/// Starts the server and checks that it says no, once, in words with all of these in them.
#[track_caller]
fn expect_complaint(options: &[&str], environment: &[(&str, &str)], words: &[&str]) {
    let output = run(options, environment);
    let complaint = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!output.status.success(), "{options:?} {environment:?} succeeds");
    assert!(
        output.status.code().is_some(),
        "{options:?} {environment:?} ends by a signal: {complaint}"
    );
    assert_eq!(
        complaint.lines().count(),
        1,
        "{options:?} {environment:?} says {complaint}"
    );
    assert!(
        complaint.starts_with("httpd: ") && !complaint.contains("panicked"),
        "{complaint}"
    );
    for word in words {
        assert!(
            complaint.contains(word),
            "{options:?} {environment:?} does not say {word}: {complaint}"
        );
    }
    assert!(
        output.stdout.is_empty(),
        "{:?}",
        String::from_utf8_lossy(&output.stdout)
    );
}

const ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

#[track_caller]
fn expect_complaint_with(option: &str, value: &str, words: &[&str]) {
    expect_complaint(&[ANY_PORT[0], ANY_PORT[1], option, value], &[], words);
}

#[test]
fn unknown_engines_and_reactors() {
    for (variable, option) in [("KAPOK_SWITCH", "--switch"), ("KAPOK_REACTOR", "--reactor")] {
        expect_complaint(&ANY_PORT, &[(variable, "bogus")], &["bogus"]);
        expect_complaint_with(option, "bogus", &["bogus", option]);
        expect_complaint_with(option, "", &[option]);
    }
}

#[test]
fn impossible_stack_sizes() {
    for bytes in [0, 1, usize::MAX / 2, usize::MAX] {
        let bytes = &bytes.to_string();
        expect_complaint_with("--stack-size", bytes, &["stack"]);
        expect_complaint(&ANY_PORT, &[("KAPOK_STACK_SIZE", bytes)], &["stack"]);
    }
    // The last is one more than the 64 bits of a size hold.
    for text in ["-1", "many", "18446744073709551616"] {
        expect_complaint(&ANY_PORT, &[("KAPOK_STACK_SIZE", text)], &["KAPOK_STACK_SIZE"]);
        expect_complaint(
            &[ANY_PORT[0], ANY_PORT[1], &format!("--stack-size={text}")],
            &[],
            &["--stack-size"],
        );
    }
}

#[test]
fn impossible_numbers_of_workers() {
    for count in ["0", "1025", "1000000"] {
        expect_complaint_with("--workers", count, &["workers", count]);
        expect_complaint(&ANY_PORT, &[("KAPOK_WORKERS", count)], &["KAPOK_WORKERS", count]);
    }
    for text in ["-1", "many", "1.5"] {
        expect_complaint(&ANY_PORT, &[("KAPOK_WORKERS", text)], &["KAPOK_WORKERS", text]);
        let option = format!("--workers={text}");
        expect_complaint(&[ANY_PORT[0], ANY_PORT[1], &option], &[], &["--workers"]);
    }
}

#[test]
fn several_workers_serve() {
    for workers in ["1", "2", "5"] {
        let site = Site::new();
        let server = Httpd::serving(&site.root(), &["--workers", workers]);
        // Idle ones on each worker, beside those that ask for something.
        let idle: Vec<_> = (0..20).map(|_| server.connect()).collect();
        for _ in 0..20 {
            server.get("/hello.txt").expect(200);
            server.get("/plaintext").expect(200);
        }
        drop(idle);
        server.stop();
    }
}

#[test]
fn addresses_that_cannot_be_listened_on() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    expect_complaint(&["--listen", &address], &[], &[&address, "in use", "--listen"]);
    for nonsense in ["", "here", "127.0.0.1", "127.0.0.1:99999", "192.0.2.1:0"] {
        expect_complaint(&["--listen", nonsense], &[], &["cannot listen", "--listen"]);
    }
}

#[test]
fn roots_that_cannot_be_served() {
    expect_complaint_with(
        "--root",
        "/no/such/directory",
        &["/no/such/directory", "No such file", "--root"],
    );
    let site = Site::new();
    let file = site.root().join("hello.txt");
    expect_complaint_with(
        "--root",
        file.to_str().unwrap(),
        &["hello.txt", "not a directory", "--root"],
    );
}

#[test]
fn options_that_make_no_sense() {
    expect_complaint_with("--no-such-option", "1", &["--no-such-option", "--help"]);
    expect_complaint_with("--idle-timeout", "0", &["--idle-timeout", "above 0"]);
    for text in ["nan", "inf", "1e99", "soon", "-1"] {
        expect_complaint(
            &[ANY_PORT[0], ANY_PORT[1], &format!("--request-timeout={text}")],
            &[],
            &["--request-timeout"],
        );
    }
    expect_complaint_with(
        "--access-log",
        "/no/such/directory/log",
        &["/no/such/directory/log", "--access-log"],
    );
}

#[test]
fn help_and_version_are_no_complaints() {
    let help = run(&["--help"], &[]);
    assert!(help.status.success() && help.stderr.is_empty());
    let text = String::from_utf8(help.stdout).unwrap();
    for option in [
        "--listen",
        "--root",
        "--switch",
        "--reactor",
        "--stack-size",
        "--workers",
        "--max-connections",
        "--access-log",
        "--grace",
    ] {
        assert!(text.contains(option), "{option} is missing in:\n{text}");
    }
    assert!(run(&["--version"], &[]).status.success());
}

#[test]
fn server_says_where_it_is_and_what_it_serves() {
    let site = Site::new();
    let engines = kapok::Engine::available();
    let engine = engines.last().expect("there is one").name();
    let server = Httpd::serving(&site.root(), &["--switch", engine, "--reactor", "epoll"]);
    assert!(server.banner.contains("(reactor epoll, switch "), "{}", server.banner);
    let root = site.root().canonicalize().unwrap();
    server.wait_for_output(|line| line == format!("serving {}", root.display()));
    server.get("/hello.txt").expect(200);
    server.stop();
}
