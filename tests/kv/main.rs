//! The example key-value server: its parser and its log by themselves, and its binary from outside, with raw requests and with Redis's own
//! clients.

#[path = "../support/mod.rs"]
mod support;

#[path = "../../examples/kv/aof.rs"]
#[expect(dead_code, reason = "the tests have no server around it")]
mod aof;
#[path = "../../examples/kv/glob.rs"]
mod glob;
#[path = "../../examples/kv/request.rs"]
#[expect(dead_code, reason = "the tests do not size buffers")]
mod request;

mod clients;
mod commands;
mod limits;
mod log_file;
mod oracle;
mod parser;
mod password;
mod persistence;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use support::server::Server;

fn start(options: &[&str]) -> Server {
    Server::start("kv", options)
}

/// A client that compares bytes.
struct Client(BufReader<TcpStream>);

impl Client {
    fn of(server: &Server) -> Client {
        Client(BufReader::new(server.connect()))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("send");
    }

    /// One answer as it came, with the bytes that follow the length of a bulk string; of an array the first line only.
    fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.0.read_line(&mut answer).expect("an answer");
        if let Some(length) = answer.strip_prefix(['$', '=']) {
            if let Ok(length) = length.trim_end().parse::<usize>() {
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).expect("the rest of an answer");
                answer += std::str::from_utf8(&bytes).expect("text");
            }
        }
        answer
    }

    /// Sends words as a request, and gives the answer.
    fn ask(&mut self, words: &str) -> String {
        let words: Vec<_> = words.split(' ').collect();
        self.ask_with(&words)
    }

    fn ask_with(&mut self, words: &[&str]) -> String {
        let bulks = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let request = format!("*{}\r\n{}", words.len(), bulks.collect::<String>());
        self.send(request.as_bytes());
        self.answer()
    }

    /// Asks each, and compares.
    #[track_caller]
    fn expect(&mut self, dialogue: &[(&str, &str)]) {
        for (words, expected) in dialogue {
            let answer = self.ask(words);
            if *expected == "some time" {
                // 100,000 seconds, less what the test has taken: that is limited.
                let left: u64 = answer[1..].trim_end().parse().expect("a number");
                assert!((99_000..=100_000).contains(&left), "{words}: {left}");
            } else {
                assert_eq!(answer.trim_end().replace("\r\n", " "), *expected, "{words}");
            }
        }
    }

    fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0]).expect("the end, not a reset") == 0
    }
}
