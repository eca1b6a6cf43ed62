//! The append-only file: what was answered is there after a kill.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::tempdir;

use crate::support::server::{Server, path_of, refusal_of};
use crate::{Client, start};

fn start_with(file: &Path, more: &[&str]) -> Server {
    let file = file.to_str().expect("a path of ASCII");
    start(&[&["--appendonly", file], more].concat())
}

fn command_with(file: &Path) -> Command {
    let mut command = Command::new(path_of("kv"));
    command.args(["--listen", "127.0.0.1:0", "--appendonly"]).arg(file);
    command
}

/// As it ends where the power fails: without a chance to say good-bye.
fn kill(server: Server) {
    drop(server);
}

#[test]
fn what_was_answered_outlives_the_server() {
    for policy in ["always", "everysec", "no"] {
        let directory = tempdir().unwrap();
        let file = directory.path().join("kv.aof");
        let server = start_with(&file, &["--appendfsync", policy]);
        let mut client = Client::of(&server);
        client.expect(&[
            ("SET lost 1", "+OK"),
            ("FLUSHALL", "+OK"),
            ("MSET a 1 b 2 c 3", "+OK"),
            ("INCRBY a 41", ":42"),
            ("APPEND b 345", ":4"),
            ("APPEND fresh x", ":1"),
            ("DEL c none", ":1"),
            ("SET long 1 EX 100000", "+OK"),
            ("SET kept 1 PX 100000000", "+OK"),
            ("INCR kept", ":2"),
            ("SET forever 1 EX 100000", "+OK"),
            ("PERSIST forever", ":1"),
            ("SET late 1", "+OK"),
            ("EXPIRE late 100000", ":1"),
            ("GETSET old 1", "$-1"),
            ("GETDEL old", "$1 1"),
            ("SETEX short 100000 x", "+OK"),
            ("GETEX short PERSIST", "$1 x"),
            ("SETNX once 1", ":1"),
            ("SETNX once 2", ":0"),
            ("SET brief 1 PX 1", "+OK"),
        ]);
        assert_eq!(client.ask_with(&["SET", "odd\r\n", "*1\r\n"]), "+OK\r\n");
        while client.ask("GET brief") != "$-1\r\n" {
            thread::yield_now();
        }
        // It is a new one, which does not expire with the old one.
        client.expect(&[("APPEND brief y", ":1"), ("SET gone 1 PXAT 5", "+OK")]);
        kill(server);

        for _ in 0..2 {
            let server = start_with(&file, &["--appendfsync", policy]);
            let mut client = Client::of(&server);
            client.expect(&[
                ("DBSIZE", ":11"),
                ("GET a", "$2 42"),
                ("GET b", "$4 2345"),
                ("GET fresh", "$1 x"),
                ("GET kept", "$1 2"),
                ("TTL long", "some time"),
                ("TTL kept", "some time"),
                ("TTL late", "some time"),
                ("TTL forever", ":-1"),
                ("TTL short", ":-1"),
                ("GET once", "$1 1"),
                ("GET brief", "$1 y"),
                ("TTL brief", ":-1"),
                ("EXISTS lost c old gone", ":0"),
                ("CONFIG GET appendonly", "*2"),
            ]);
            assert_eq!(
                (client.answer(), client.answer()),
                ("$10\r\nappendonly\r\n".into(), "$3\r\nyes\r\n".into())
            );
            assert_eq!(client.ask_with(&["GET", "odd\r\n"]), "$4\r\n*1\r\n\r\n");
            let length = fs::metadata(&file).unwrap().len();
            let info = client.ask("INFO persistence");
            assert!(info.contains("aof_enabled:1\r\naof_last_write_status:ok\r\n"), "{info}");
            assert!(info.contains(&format!("aof_current_size:{length}\r\n")), "{info}");
            drop(client);
            server.stop();
        }
    }
}

#[test]
fn what_is_written_over_what_has_expired_outlives_the_server() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("kv.aof");
    let server = start_with(&file, &[]);
    let mut client = Client::of(&server);
    // Some are swept before, some are not.
    for n in 0..10 {
        for (kind, write) in [
            ("set", "SET set{n} new"),
            ("kept", "SET kept{n} new KEEPTTL"),
            ("until", "SET until{n} new EX 100000"),
            ("ex", "SETEX ex{n} 100000 new"),
            ("px", "PSETEX px{n} 100000000 new"),
            ("get", "GETSET get{n} new"),
            ("many", "MSET many{n} new"),
            ("more", "APPEND more{n} new"),
        ] {
            client.expect(&[(&format!("SET {kind}{n} old PX 1"), "+OK")]);
            // To ask whether it has expired would remove it.
            thread::sleep(Duration::from_millis(2));
            let answer = client.ask(&write.replace("{n}", &n.to_string()));
            assert!(
                ["+OK\r\n", "$-1\r\n", ":3\r\n"].contains(&&*answer),
                "{write}: {answer}"
            );
        }
    }
    kill(server);
    let server = start_with(&file, &[]);
    let mut client = Client::of(&server);
    for n in 0..10 {
        for kind in ["set", "kept", "until", "ex", "px", "get", "many", "more"] {
            client.expect(&[(&format!("GET {kind}{n}"), "$3 new")]);
        }
    }
    drop(client);
    server.stop();
}

#[test]
fn what_was_allowed_once_is_not_refused_at_the_next_start() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("kv.aof");
    let server = start_with(&file, &[]);
    Client::of(&server).expect(&[("SET a 12345678", "+OK"), ("APPEND a 12345678", ":16")]);
    kill(server);
    let server = start_with(&file, &["--max-value", "10", "--max-request", "40"]);
    Client::of(&server).expect(&[
        ("GET a", "$16 1234567812345678"),
        (
            "APPEND a 9",
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ),
    ]);
    server.stop();
}

#[test]
fn what_is_half_at_the_end_is_cut_off() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("kv.aof");
    let whole = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let next = b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n";
    for length in 0..next.len() {
        fs::write(&file, [whole, &next[..length]].concat()).unwrap();
        let server = start_with(&file, &[]);
        let mut client = Client::of(&server);
        client.expect(&[("GET a", "$1 1"), ("EXISTS b", ":0"), ("SET c 3", "+OK")]);
        drop(client);
        server.stop();
        assert!(
            fs::read(&file)
                .unwrap()
                .starts_with(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n")
        );
    }
}

#[test]
fn a_file_that_is_broken_is_refused() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("kv.aof");
    for (content, complaint) in [
        ("*1\r\n$4\r\nPING\r\nSET a 1\r\n", "at byte 14: expected a request"),
        ("*1\r\n$x\r\nPING\r\n", "at byte 0: invalid bulk length"),
        ("*1\r\n$8\r\nNONSENSE\r\n", "at byte 0: -ERR unknown command 'NONSENSE'"),
    ] {
        fs::write(&file, content).unwrap();
        let said = refusal_of(&mut command_with(&file));
        assert!(said.contains("bad file format") && said.contains(complaint), "{said}");
        assert_eq!(fs::read(&file).unwrap(), content.as_bytes(), "it is as it was");
    }
}

#[test]
fn no_two_servers_with_one_file() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("kv.aof");
    let first = start_with(&file, &[]);
    let mut client = Client::of(&first);
    client.expect(&[("SET a 1", "+OK")]);
    let said = refusal_of(&mut command_with(&file));
    assert!(
        said.contains(&format!("{}: another server has it", file.display())),
        "{said}"
    );
    client.expect(&[("SET b 2", "+OK")]);
    drop(client);
    kill(first);
    let next = start_with(&file, &[]);
    Client::of(&next).expect(&[("GET a", "$1 1"), ("GET b", "$1 2")]);
    next.stop();
}

#[test]
fn without_its_address_it_ends() {
    let directory = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = directory.path().join("kv.aof");
    let said = refusal_of(
        Command::new(path_of("kv"))
            .args(["--listen", &address, "--appendonly"])
            .arg(&file),
    );
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
}

#[test]
fn no_answered_change_is_lost_under_load() {
    const CLIENTS: usize = 4;
    let directory = tempdir().unwrap();
    let file = directory.path().join("kv.aof");
    let server = start_with(&file, &["--appendfsync", "always", "--workers", "2"]);
    let answered: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let mut client = Client::of(&server);
                scope.spawn(move || {
                    let key = format!("key{n}");
                    let pipeline = format!("INCR {key}\r\n").repeat(20);
                    for _ in 0..20 {
                        client.send(pipeline.as_bytes());
                        (0..20).for_each(|_| assert!(client.answer().starts_with(':')));
                    }
                    // Not all of these are answered before the end.
                    client.send(pipeline.as_bytes());
                    (client.answer(), client)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    kill(server);
    let server = start_with(&file, &[]);
    let mut client = Client::of(&server);
    for (n, (last, _)) in answered.iter().enumerate() {
        let value = client.ask(&format!("GET key{n}"));
        let value: u32 = value.split("\r\n").nth(1).unwrap().parse().unwrap();
        assert!((401..=420).contains(&value), "{value}: {last}");
    }
    drop(client);
    server.stop();
}

#[test]
fn where_nothing_can_be_written_nothing_is_changed_any_more() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("kv.aof");
    fs::File::create(&file)
        .unwrap()
        .write_all(b"*1\r\n$4\r\nPING\r\n")
        .unwrap();
    // No file may become longer than 8 blocks.
    let limited = "trap '' XFSZ; ulimit -f 8; exec \"$0\" --listen 127.0.0.1:0 --appendonly \"$1\"";
    let server = Server::launch(Command::new("sh").args(["-c", limited]).arg(path_of("kv")).arg(&file));
    let mut client = Client::of(&server);
    client.expect(&[("SET a 1", "+OK")]);
    // It is not answered, since it would not outlive the server.
    let large = "x".repeat(10_000);
    client.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$10000\r\n{large}\r\n").as_bytes());
    assert!(client.is_closed());
    let mut client = Client::of(&server);
    let refused = client.ask("SET c 1");
    assert!(
        refused.starts_with("-MISCONF Errors writing to the AOF file: "),
        "{refused}"
    );
    client.expect(&[("GET a", "$1 1")]);
    assert!(client.ask("INFO persistence").contains("aof_last_write_status:err"));
    drop(client);
    kill(server);
    let server = start_with(&file, &[]);
    Client::of(&server).expect(&[("GET a", "$1 1"), ("EXISTS b c", ":0")]);
    server.stop();
}
