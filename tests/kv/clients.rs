//! Redis's own clients. One that is not installed is skipped visibly, unless `KAPOK_REQUIRE_CLIENTS=1` forbids that.

use std::process::Command;

use crate::start;
use crate::support::server::{Server, client, output_of};

fn client_of(server: &Server, program: &str) -> Option<Command> {
    let mut command = client(program, "--version")?;
    let port = server.address.port().to_string();
    command.args(["-h", "127.0.0.1", "-p", &port]);
    Some(command)
}

#[test]
fn redis_cli() {
    let server = start(&[]);
    let ask = |words: &[&str]| Some(output_of(client_of(&server, "redis-cli")?.args(words)));
    let Some(pong) = ask(&["PING"]) else { return };
    assert_eq!(pong, "PONG\n");
    for (words, expected) in [
        (&["SET", "a b", "1 2", "EX", "100000"][..], "OK\n"),
        (&["GET", "a b"], "1 2\n"),
        (&["MGET", "a b", "none"], "1 2\n\n"),
        (&["-3", "--no-raw", "GET", "none"], "(nil)\n"),
        (
            &["-3", "--no-raw", "CONFIG", "GET", "appendonly"],
            "1# \"appendonly\" => \"no\"\n",
        ),
        (&["CONFIG", "GET", "appendonly"], "appendonly\nno\n"),
        (&["--no-raw", "KEYS", "*"], "1) \"a b\"\n"),
    ] {
        assert_eq!(ask(words).as_deref(), Some(expected), "{words:?}");
    }
    let info = ask(&["INFO"]).expect("it was there before");
    assert!(
        info.contains("# Server\r\n") && info.contains("db0:keys=1,expires=1"),
        "{info}"
    );
    let large = "v".repeat(100_000);
    assert_eq!(ask(&["SET", "large", &large]).as_deref(), Some("OK\n"));
    assert_eq!(ask(&["GET", "large"]), Some(large + "\n"));
    server.stop();
}

#[test]
fn redis_benchmark() {
    let server = start(&[]);
    for pipeline in ["1", "16"] {
        let Some(mut command) = client_of(&server, "redis-benchmark") else {
            return;
        };
        let options = ["--csv", "-n", "3000", "-c", "20", "-r", "100", "-P", pipeline];
        let tests = ["-t", "ping,set,get,incr,mset"];
        let output = output_of(command.args(options).args(tests));
        let measured = output.lines().filter(|line| {
            let mut fields = line.split(',').map(|field| field.trim_matches('"'));
            let rate = fields.nth(1).and_then(|rate| rate.parse::<f64>().ok());
            rate.is_some_and(|rate| rate > 0.0)
        });
        assert_eq!(measured.count(), 6, "{output}");
        assert!(!output.contains("rror"), "{output}");
    }
    server.stop();
}
