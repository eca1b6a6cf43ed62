//! A server that wants a password.

use std::net::Shutdown;

use crate::{Client, start};

const NOT_YET: &str = "-NOAUTH Authentication required.";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.";

#[test]
fn nothing_is_done_before_the_password_was_given() {
    let server = start(&["--requirepass", "open sesame"]);
    let mut client = Client::of(&server);
    client.expect(&[
        ("GET a", NOT_YET),
        ("PING", NOT_YET),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("AUTH wrong", WRONG),
        ("AUTH open", WRONG),
        ("AUTH sesame", WRONG),
        ("AUTH a b c", "-ERR syntax error"),
        ("SET a 1", NOT_YET),
    ]);
    for (words, expected) in [
        (&["AUTH", "somebody", "open sesame"][..], WRONG),
        (&["AUTH", "default", "open sesame!"], WRONG),
        (&["AUTH", "open sesameopen sesame"], WRONG),
        (&["AUTH", ""], WRONG),
        (&["HELLO", "3", "AUTH", "default", "wrong"], WRONG),
        (&["AUTH", "open sesame"], "+OK"),
        (&["PING"], "+PONG"),
        (&["AUTH", "default", "open sesame"], "+OK"),
        // It stays known.
        (&["AUTH", "wrong"], WRONG),
        (&["GET", "a"], "$-1"),
    ] {
        assert_eq!(client.ask_with(words).trim_end(), expected, "{words:?}");
    }
    let mut other = Client::of(&server);
    assert!(
        other
            .ask("HELLO 3")
            .starts_with("-NOAUTH HELLO must be called with the client already authenticated")
    );
    other.expect(&[("GET a", NOT_YET)]);
    assert_eq!(
        other.ask_with(&["HELLO", "3", "AUTH", "default", "open sesame"]),
        "%7\r\n"
    );
    for _ in 0..14 {
        other.answer();
    }
    other.expect(&[("GET a", "_")]);
    let mut third = Client::of(&server);
    third.expect(&[("QUIT", "+OK")]);
    assert!(third.is_closed());
    drop((client, other));
    server.stop();
}

#[test]
fn who_has_not_given_it_may_not_say_much() {
    let server = start(&["--requirepass", "secret"]);
    for (bytes, reason) in [
        ("*11\r\n", "unauthenticated multibulk length"),
        ("*2\r\n$4\r\nAUTH\r\n$16385\r\n", "unauthenticated bulk length"),
    ] {
        let mut client = Client::of(&server);
        client.send(bytes.as_bytes());
        assert_eq!(client.answer(), format!("-ERR Protocol error: {reason}\r\n"));
        drop(client.0.get_ref().shutdown(Shutdown::Write));
        assert!(client.is_closed());
    }
    let mut client = Client::of(&server);
    let (long, longer) = ("x".repeat(16 * 1024), "x".repeat(16 * 1024 + 1));
    assert_eq!(client.ask_with(&["AUTH", &long]).trim_end(), WRONG);
    let few = [&["DEL"][..], &["a"; 9]].concat();
    assert_eq!(client.ask_with(&few).trim_end(), NOT_YET);
    // A pipeline goes on with what is allowed then.
    let (count, much) = (
        format!("*12\r\n$3\r\nDEL\r\n{}", "$1\r\na\r\n".repeat(11)),
        longer.len(),
    );
    client.send(format!("AUTH secret\r\n{count}*2\r\n$4\r\nECHO\r\n${much}\r\n{longer}\r\n").as_bytes());
    assert_eq!((client.answer(), client.answer()), ("+OK\r\n".into(), ":0\r\n".into()));
    assert_eq!(client.answer(), format!("${much}\r\n{longer}\r\n"));
    drop(client);
    server.stop();
}

#[test]
fn a_server_without_one_says_so() {
    let server = start(&[]);
    Client::of(&server).expect(&[
        (
            "AUTH anything",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        ),
        ("AUTH default anything", "+OK"),
        ("AUTH somebody anything", WRONG),
    ]);
    server.stop();
}
