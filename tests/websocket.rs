//! The example WebSocket server from outside: its binary runs as a child process, with tungstenite as a client over std's sockets.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use support::server::Server;
use tungstenite::error::Error;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

fn start(options: &[&str]) -> Server {
    Server::start("websocket", options)
}

type Client = WebSocket<TcpStream>;

fn connect(server: &Server, path: &str) -> Client {
    let url = format!("ws://{}{path}", server.address);
    let (client, response) = tungstenite::client(url, server.connect()).expect("a handshake");
    assert_eq!(response.status(), 101);
    client
}

fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).expect("send");
}

/// The next text. On a busy machine the server may ask whether the client is there, which tungstenite answers.
#[track_caller]
fn text(client: &mut Client) -> String {
    loop {
        match client.read().expect("a message") {
            Message::Ping(_) => {}
            message => return message.into_text().expect("text").to_string(),
        }
    }
}

/// The server has come so far that it hears what others say: the handshake's end is a little earlier.
#[track_caller]
fn is_there(client: &mut Client) {
    client.send(Message::Ping("here?".into())).expect("send");
    assert_eq!(client.read().expect("an answer"), Message::Pong("here?".into()));
}

/// The server closes, says why, and is told that the client has understood.
#[track_caller]
fn is_closed(client: &mut Client, expected: CloseCode) {
    loop {
        match client.read().expect("a good-bye") {
            Message::Close(frame) => {
                assert_eq!(frame.expect("a reason").code, expected);
                break;
            }
            Message::Text(_) | Message::Binary(_) => panic!("a message after the end"),
            _ => {}
        }
    }
    loop {
        match client.read() {
            Err(Error::ConnectionClosed) => return,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_is_sent_comes_back() {
    let server = start(&[]);
    let mut client = connect(&server, "/");
    say(&mut client, "hello");
    assert_eq!(text(&mut client), "hello");
    for length in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        let sent = Message::binary(vec![7; length]);
        client.send(sent.clone()).unwrap();
        assert!(client.read().unwrap() == sent, "{length}");
    }
    client.send(Message::Ping("x".into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("x".into()));
    // Many at once: the answers are in order.
    for n in 0..1000 {
        client.write(Message::text(n.to_string())).unwrap();
    }
    client.flush().unwrap();
    for n in 0..1000 {
        assert_eq!(text(&mut client), n.to_string());
    }
    client.close(None).unwrap();
    loop {
        match client.read() {
            Err(Error::ConnectionClosed) => break,
            other => assert!(matches!(other, Ok(Message::Close(_))), "{other:?}"),
        }
    }
    server.stop();
}

#[test]
fn many_clients_at_once() {
    let server = start(&["--workers", "2"]);
    thread::scope(|scope| {
        for n in 0..16 {
            let mut client = connect(&server, "/");
            scope.spawn(move || {
                for round in 0..200 {
                    let sent = format!("{n}.{round}");
                    say(&mut client, &sent);
                    assert_eq!(text(&mut client), sent);
                }
                client.close(None).unwrap();
                while client.read().is_ok() {}
            });
        }
    });
    server.stop();
}

#[test]
fn what_one_says_all_others_hear() {
    let server = start(&["--workers", "3", "--backlog", "65535"]);
    let mut clients: Vec<_> = (0..5).map(|_| connect(&server, "/broadcast")).collect();
    let mut alone = connect(&server, "/");
    clients.iter_mut().for_each(is_there);
    let count = 300;
    let clients: Vec<_> = thread::scope(|scope| {
        let handles = clients.into_iter().enumerate().map(|(n, mut client)| {
            scope.spawn(move || {
                for round in 0..count {
                    say(&mut client, &format!("{n} {round}"));
                }
                say(&mut client, &format!("{n} end"));
                let (mut next, mut ended) = ([0; 5], 0);
                while ended < 4 {
                    let said = text(&mut client);
                    let (who, what) = said.split_once(' ').expect("two words");
                    match (who, what) {
                        (_, "end") => ended += 1,
                        (who, what) => {
                            let who: usize = who.parse().unwrap();
                            assert_eq!(what, next[who].to_string(), "{said}");
                            next[who] += 1;
                        }
                    }
                }
                for (who, next) in next.into_iter().enumerate() {
                    assert_eq!(next, if who == n { 0 } else { count });
                }
                client
            })
        });
        let handles: Vec<_> = handles.collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    say(&mut alone, "me");
    assert_eq!(text(&mut alone), "me");
    drop((alone, clients));
    server.stop();
}

#[test]
fn who_reads_too_slowly_is_told_and_holds_up_nobody() {
    let server = start(&["--backlog", "4"]);
    let mut slow = connect(&server, "/broadcast");
    let mut quick = connect(&server, "/broadcast");
    let mut talker = connect(&server, "/broadcast");
    [&mut slow, &mut quick].into_iter().for_each(is_there);
    // More than all buffers hold.
    let large = "x".repeat(200_000);
    for n in 0..100 {
        say(&mut talker, &format!("{n} {large}"));
        assert!(text(&mut quick) == format!("{n} {large}"));
    }
    say(&mut talker, "the end");
    assert_eq!(text(&mut quick), "the end");
    let mut lost = 0;
    loop {
        let said = text(&mut slow);
        if let Some((count, _)) = said.split_once(" messages were lost") {
            lost += count.parse::<usize>().unwrap();
        }
        if said == "the end" {
            break;
        }
    }
    assert!((1..=100).contains(&lost), "{lost}");
    drop((slow, quick, talker));
    server.stop();
}

#[test]
fn what_is_refused() {
    let server = start(&["--max-message", "1000"]);
    let mut client = connect(&server, "/");
    client.send(Message::binary(vec![0; 1001])).unwrap();
    is_closed(&mut client, CloseCode::Size);
    // A frame of a client has to be masked.
    let mut client = connect(&server, "/");
    client.get_mut().write_all(b"\x81\x02hi").unwrap();
    is_closed(&mut client, CloseCode::Protocol);
    let mut client = connect(&server, "/");
    client.get_mut().write_all(b"\x81\x81\0\0\0\0\xff").unwrap();
    is_closed(&mut client, CloseCode::Invalid);
    // No handshake, no answer that looks like one.
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"nonsense\r\n\r\n"] {
        let mut plain = server.connect();
        plain.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        match plain.read_to_end(&mut rest) {
            Ok(_) => assert!(!rest.starts_with(b"HTTP/1.1 101"), "{rest:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    server.stop();
}

#[test]
fn who_is_silent_is_asked_and_left() {
    let server = start(&["--handshake-timeout", "0.1"]);
    assert_eq!(server.connect().read(&mut [0]).unwrap(), 0);
    server.stop();
    let server = start(&["--ping", "0.1"]);
    let mut client = connect(&server, "/");
    // What it sends is read, but nothing is answered.
    let good_bye = |frame: &[u8]| frame[0] == 0x88 && frame[2..] == 1008_u16.to_be_bytes();
    let (mut seen, mut room) = (Vec::new(), [0; 100]);
    while !seen.windows(4).any(good_bye) {
        let count = client.get_mut().read(&mut room).unwrap();
        assert!(count > 0, "{seen:?}");
        seen.extend_from_slice(&room[..count]);
    }
    drop(client);
    server.stop();
}

#[test]
fn at_the_end_clients_are_told() {
    let server = start(&[]);
    let mut clients: Vec<_> = ["/", "/broadcast", "/"]
        .iter()
        .map(|path| connect(&server, path))
        .collect();
    server.signal();
    for client in &mut clients {
        is_closed(client, CloseCode::Away);
    }
    server.ends();
}
