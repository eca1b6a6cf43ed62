//! The example chat server from outside: its binary runs as a child process, with guests who talk, listen, and do not.

mod support;

#[path = "../examples/chat/line.rs"]
mod line;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use line::Line;
use support::server::Server;

fn start(options: &[&str]) -> Server {
    Server::start("chat", options)
}

/// Somebody who has come in.
struct Guest {
    stream: BufReader<TcpStream>,
    name: String,
}

impl Guest {
    fn of(server: &Server) -> Guest {
        let mut guest = Guest {
            stream: BufReader::new(server.connect()),
            name: String::new(),
        };
        let welcome = guest.hears();
        let name = welcome
            .strip_prefix("* welcome, ")
            .and_then(|rest| rest.split_once(';'));
        guest.name = name.expect(&welcome).0.to_owned();
        guest
    }

    /// With a name that has been asked for.
    fn called(server: &Server, name: &str) -> Guest {
        let mut guest = Guest::of(server);
        guest.says(&format!("/nick {name}"));
        assert_eq!(guest.hears_until("* you are now"), format!("* you are now {name}"));
        guest.name = name.to_owned();
        guest
    }

    fn says(&mut self, line: &str) {
        self.stream
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .expect("send");
    }

    #[track_caller]
    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        assert!(line.ends_with('\n'), "{line:?}");
        line.trim_end().to_owned()
    }

    /// Skips what is said before.
    #[track_caller]
    fn hears_until(&mut self, begin: &str) -> String {
        loop {
            let line = self.hears();
            if line.starts_with(begin) {
                return line;
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.hears(), *line);
        }
    }

    #[track_caller]
    fn is_left(&mut self) {
        let mut rest = String::new();
        match self.stream.read_to_string(&mut rest) {
            Ok(_) => assert_eq!(rest, ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn what_one_says_the_others_hear() {
    let server = start(&[]);
    let mut anna = Guest::called(&server, "anna");
    let mut ben = Guest::called(&server, "ben");
    let old_name = anna.hears();
    assert!(
        old_name.starts_with("* guest") && old_name.ends_with(" joins"),
        "{old_name}"
    );
    assert!(anna.hears().ends_with(" is now ben"));
    anna.says("hello, everybody");
    ben.expect(&["<anna> hello, everybody"]);
    ben.says("hello, \x1b[31manna\x07  ");
    // Without what would change her colours.
    anna.expect(&["<ben> hello, [31manna"]);
    anna.says("/who");
    anna.expect(&["* here are: anna, ben"]);
    anna.says("/msg ben only you");
    ben.expect(&["<anna to you> only you"]);
    anna.says("/msg nobody you");
    anna.says("/msg ben");
    anna.says("/dance");
    anna.says("/nick ben");
    anna.says("/nick a b");
    anna.expect(&["* nobody here is called nobody", "* /msg NAME TEXT"]);
    assert!(anna.hears().starts_with("* what is /dance? /nick NAME"));
    anna.expect(&[
        "* somebody else is called ben",
        "* a name is up to 20 letters, digits, - and _",
    ]);
    // The end is told, however it comes.
    anna.says("/quit");
    anna.expect(&["* bye"]);
    anna.is_left();
    ben.expect(&["* anna leaves"]);
    let mut third = Guest::called(&server, "anna");
    ben.hears_until("* guest");
    drop(third.stream.get_mut().shutdown(Shutdown::Write));
    third.expect(&["* bye"]);
    ben.hears_until("* anna leaves");
    drop(ben);
    server.stop();
}

#[test]
fn everybody_hears_everything_in_order() {
    let server = start(&["--backlog", "65535", "--workers", "3"]);
    let names = ["a", "b", "c", "d", "e"];
    let guests = names.map(|name| Guest::called(&server, name));
    let count = 500;
    let heard: Vec<_> = thread::scope(|scope| {
        let handles = guests.map(|mut guest| {
            scope.spawn(move || {
                let mut writer = guest.stream.get_ref().try_clone().unwrap();
                let talking = thread::spawn(move || {
                    for n in 0..count {
                        writeln!(writer, "{n}").unwrap();
                    }
                });
                let mut next = [0; 5];
                let mut total = 0;
                while total < 4 * count {
                    let line = guest.hears();
                    if let Some((name, n)) = line.strip_prefix('<').and_then(|line| line.split_once("> ")) {
                        let from = names.iter().position(|known| *known == name).unwrap();
                        assert_eq!(n, next[from].to_string(), "{line}");
                        next[from] += 1;
                        total += 1;
                    }
                }
                talking.join().unwrap();
                (guest, next)
            })
        });
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    for (guest, next) in &heard {
        let own = names.iter().position(|name| *name == guest.name);
        for (from, count_of) in next.iter().enumerate() {
            assert_eq!(*count_of, if Some(from) == own { 0 } else { count });
        }
    }
    drop(heard);
    server.stop();
}

#[test]
fn who_reads_too_slowly_is_told_and_holds_up_nobody() {
    // Patience for one that does not read for as long as this takes.
    let server = start(&["--backlog", "10", "--max-line", "100000", "--write-timeout", "3600"]);
    let mut slow = Guest::called(&server, "slow");
    let mut quick = Guest::called(&server, "quick");
    let mut talker = Guest::called(&server, "talker");
    quick.hears_until("* guest");
    quick.hears_until("* guest");
    // More than all buffers hold.
    let text = "x".repeat(99_000);
    for n in 0..200 {
        talker.says(&format!("{n} {text}"));
        assert!(quick.hears() == format!("<talker> {n} {text}"));
    }
    talker.says("the end");
    quick.expect(&["<talker> the end"]);
    let told = slow.hears_until("* you have missed");
    let missed: usize = told["* you have missed ".len()..]
        .strip_suffix(" lines")
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=200).contains(&missed), "{told}");
    slow.hears_until("<talker> the end");
    drop((slow, quick, talker));
    server.stop();
}

#[test]
fn who_does_not_read_at_all_is_dropped() {
    let server = start(&["--max-line", "100000", "--write-timeout", "0.2"]);
    let mut deaf = Guest::called(&server, "deaf");
    let mut talker = Guest::called(&server, "talker");
    let text = "x".repeat(99_000);
    let mut writer = talker.stream.get_ref().try_clone().unwrap();
    let talking = thread::spawn(move || while writeln!(writer, "{text}").is_ok() {});
    talker.hears_until("* deaf leaves");
    // What had been written before is still there, and then the end.
    let mut all = Vec::new();
    let _end_or_reset = deaf.stream.read_to_end(&mut all);
    talker.stream.get_ref().shutdown(Shutdown::Both).unwrap();
    talking.join().unwrap();
    server.stop();
}

#[test]
fn the_many_and_the_long_lines() {
    let server = start(&["--max-connections", "1", "--max-line", "5"]);
    let mut guest = Guest::of(&server);
    guest.says("123456");
    guest.expect(&["* a line has at most 5 bytes"]);
    assert_eq!(server.connect().read(&mut [0]).unwrap(), 0);
    drop(guest);
    server.stop();
}

#[test]
fn the_quiet() {
    let server = start(&["--idle-timeout", "0.1"]);
    let mut guest = Guest::of(&server);
    guest.expect(&["* you have said nothing for too long"]);
    guest.is_left();
    server.stop();
}

#[test]
fn at_the_end_all_are_told() {
    let server = start(&[]);
    let mut guests: Vec<_> = (0..20).map(|_| Guest::of(&server)).collect();
    server.signal();
    for guest in &mut guests {
        guest.hears_until("* the server stops");
    }
    server.ends();
}

#[test]
fn lines_of_any_bytes() {
    let input = b"one\r\n\n toolong\n\xff\x00x\nlast".as_slice();
    for capacity in 1..20 {
        let mut input = BufReader::with_capacity(capacity, input);
        let mut next = || line::read(&mut input, 5).unwrap();
        let text = |text: &str| Some(Line::Text(text.to_owned()));
        assert_eq!(next(), text("one"));
        assert_eq!(next(), text(""));
        assert_eq!(next(), Some(Line::TooLong));
        assert_eq!(next(), text("\u{fffd}x"));
        assert_eq!(next(), text("last"));
        assert_eq!(next(), None);
    }
}
