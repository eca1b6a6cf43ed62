//! A server that wants a password.

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
        ("AUTH a b c", "-ERR syntax error"),
        ("SET a 1", NOT_YET),
    ]);
    for (words, expected) in [
        (&["AUTH", "somebody", "open sesame"][..], WRONG),
        (&["AUTH", "default", "open sesame!"], WRONG),
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
