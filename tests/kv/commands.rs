//! What each command does and answers.

use std::thread;

use crate::{Client, start};

#[test]
fn strings() {
    let server = start(&[]);
    let mut client = Client::of(&server);
    client.expect(&[
        ("GET a", "$-1"),
        ("SET a 1", "+OK"),
        ("get a", "$1 1"),
        ("SET a 2 NX", "$-1"),
        ("SET b 2 XX", "$-1"),
        ("SET a 2 XX GET", "$1 1"),
        ("SET c 3 NX GET", "$-1"),
        ("GET c", "$1 3"),
        ("SET a 2 NX XX", "-ERR syntax error"),
        ("SET a 2 EX", "-ERR syntax error"),
        ("SET a 2 EX 1 KEEPTTL", "-ERR syntax error"),
        ("SET a 2 EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET a 2 PX x", "-ERR value is not an integer or out of range"),
        ("APPEND a 34", ":3"),
        ("STRLEN a", ":3"),
        ("STRLEN none", ":0"),
        ("INCR a", ":235"),
        ("DECR a", ":234"),
        ("INCRBY a -4", ":230"),
        ("DECRBY a 30", ":200"),
        ("INCR fresh", ":1"),
        ("SET big 9223372036854775807", "+OK"),
        ("INCR big", "-ERR increment or decrement would overflow"),
        ("DECRBY big -9223372036854775808", "-ERR decrement would overflow"),
        ("SET text abc", "+OK"),
        ("INCR text", "-ERR value is not an integer or out of range"),
        ("MSET a 1 b 2 c 3", "+OK"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("MGET a b none c", "*4"),
    ]);
    for expected in ["$1\r\n1\r\n", "$1\r\n2\r\n", "$-1\r\n", "$1\r\n3\r\n"] {
        assert_eq!(client.answer(), expected);
    }
    drop(client);
    server.stop();
}

#[test]
fn keys() {
    let server = start(&[]);
    let mut client = Client::of(&server);
    client.expect(&[
        ("MSET a 1 b 2 c 3 d 4", "+OK"),
        ("EXISTS a b none a", ":3"),
        ("TYPE a", "+string"),
        ("TYPE none", "+none"),
        ("DEL a a none", ":1"),
        ("UNLINK b", ":1"),
        ("DBSIZE", ":2"),
        ("KEYS [cx]", "*1"),
    ]);
    assert_eq!(client.answer(), "$1\r\nc\r\n");
    client.expect(&[
        ("FLUSHALL later", "-ERR syntax error"),
        ("FLUSHALL ASYNC", "+OK"),
        ("DBSIZE", ":0"),
        ("KEYS *", "*0"),
    ]);
    drop(client);
    server.stop();
}

#[test]
fn what_is_kept_for_a_time_only() {
    let server = start(&[]);
    let mut client = Client::of(&server);
    client.expect(&[
        ("SET a 1 EX 100000", "+OK"),
        ("TTL a", "some time"),
        ("SET a 2 KEEPTTL", "+OK"),
        ("TTL a", "some time"),
        ("SET a 3", "+OK"),
        ("TTL a", ":-1"),
        ("TTL none", ":-2"),
        ("PTTL none", ":-2"),
        ("EXPIRE none 10", ":0"),
        ("EXPIRE a 100000", ":1"),
        ("TTL a", "some time"),
        ("PERSIST a", ":1"),
        ("PERSIST a", ":0"),
        ("TTL a", ":-1"),
        (
            "EXPIRE a 99999999999999999",
            "-ERR invalid expire time in 'expire' command",
        ),
        ("PEXPIRE a 100000000", ":1"),
        ("TTL a", "some time"),
        ("EXPIRE a -1", ":1"),
        ("GET a", "$-1"),
        ("SET a 1 PX 1", "+OK"),
    ]);
    // By itself, and nobody sees it afterwards.
    while client.ask("GET a") != "$-1\r\n" {
        thread::yield_now();
    }
    client.expect(&[
        ("EXISTS a", ":0"),
        ("DBSIZE", ":0"),
        ("SET a 1 NX", "+OK"),
        ("TTL a", ":-1"),
    ]);
    // Also those that nobody asks for.
    for n in 0..2000 {
        let answer = client.ask_with(&["SET", &format!("key {n}"), "value", "PX", "1"]);
        assert_eq!(answer, "+OK\r\n");
    }
    while !client.ask("INFO keyspace").contains("db0:keys=1,expires=0") {
        thread::yield_now();
    }
    drop(client);
    server.stop();
}

#[test]
fn the_connection_itself() {
    let server = start(&[]);
    let mut client = Client::of(&server);
    client.expect(&[
        ("PING", "+PONG"),
        ("PING hello", "$5 hello"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
        ("ECHO hello", "$5 hello"),
        ("SELECT 0", "+OK"),
        ("SELECT 1", "-ERR DB index is out of range"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        (
            "NONSENSE a b",
            "-ERR unknown command 'NONSENSE', with args beginning with: 'a' 'b'",
        ),
        ("CLIENT SETNAME me", "+OK"),
        ("CLIENT GETNAME", "$2 me"),
        ("CLIENT KILL me", "-ERR unknown subcommand 'KILL'. Try CLIENT HELP."),
        ("CLIENT ID", ":1"),
        ("COMMAND COUNT", ":43"),
        ("CONFIG GET sav*", "*2"),
    ]);
    assert_eq!(
        (client.answer(), client.answer()),
        ("$4\r\nsave\r\n".to_owned(), "$0\r\n\r\n".to_owned())
    );
    client.expect(&[
        ("HELLO 4", "-NOPROTO unsupported protocol version"),
        ("HELLO 3 SETNAME you", "%7"),
    ]);
    for _ in 0..13 {
        client.answer();
    }
    assert_eq!(client.answer(), "*0\r\n");
    client.expect(&[("GET none", "_"), ("CLIENT GETNAME", "$3 you"), ("HELLO 2", "*14")]);
    for _ in 0..14 {
        client.answer();
    }
    client.expect(&[("GET none", "$-1")]);
    assert!(client.ask("INFO").contains("connected_clients:1\r\n"));
    // What comes after is not answered.
    client.send(b"QUIT\r\nPING\r\n");
    assert_eq!(client.answer(), "+OK\r\n");
    assert!(client.is_closed());
    server.stop();
}

#[test]
fn clients_on_several_workers_see_whole_changes() {
    let server = start(&["--workers", "3"]);
    Client::of(&server).expect(&[("MSET x 0 y 0 z 0", "+OK")]);
    thread::scope(|scope| {
        for n in 0..4 {
            let mut client = Client::of(&server);
            scope.spawn(move || {
                for round in 0..200 {
                    let value = format!("{n}.{round}");
                    assert_eq!(
                        client.ask_with(&["MSET", "x", &value, "y", &value, "z", &value]),
                        "+OK\r\n"
                    );
                    assert_eq!(client.ask("MGET z x y"), "*3\r\n");
                    let seen = client.answer();
                    assert_eq!((client.answer(), client.answer()), (seen.clone(), seen));
                    client.ask("INCR count");
                }
            });
        }
    });
    Client::of(&server).expect(&[("GET count", "$3 800")]);
    server.stop();
}
