//! Redis itself as the oracle: the same requests get the same answers, of wrong ones too.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::thread;

use tempfile::{TempDir, tempdir};

use crate::start;
use crate::support::server::{client, output_of};
use crate::support::{skip, watchdog};

/// A redis-server, which is killed when this is dropped.
struct Redis {
    child: Child,
    directory: TempDir,
}

impl Redis {
    fn start(password: Option<&str>) -> Option<Redis> {
        let mut command = client("redis-server", "--version")?;
        // The sentences of errors change from one to the next.
        let version = output_of(client("redis-server", "--version")?.arg("--version"));
        if !version.starts_with("Redis server v=7.") {
            skip(
                &format!("{} is not Redis 7", version.trim_end()),
                "KAPOK_REQUIRE_CLIENTS",
            );
            return None;
        }
        let directory = tempdir().unwrap();
        command
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--unixsocket")
            .arg(directory.path().join("socket"))
            .arg("--dir")
            .arg(directory.path());
        if let Some(password) = password {
            command.args(["--requirepass", password]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Redis { child, directory })
    }

    fn connect(&mut self) -> UnixStream {
        loop {
            match UnixStream::connect(self.directory.path().join("socket")) {
                Ok(stream) => return stream,
                Err(_) => thread::yield_now(),
            }
            assert!(self.child.try_wait().unwrap().is_none(), "redis-server has ended");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One answer with all that belongs to it.
fn read_answer(from: &mut impl BufRead, answer: &mut String) {
    let before = answer.len();
    from.read_line(answer).expect("an answer");
    let line = answer[before..].trim_end().to_owned();
    let count = line[1..].parse::<usize>();
    match (line.as_bytes()[0], count) {
        (b'$' | b'=', Ok(length)) => {
            let mut bytes = vec![0; length + 2];
            from.read_exact(&mut bytes).expect("the rest");
            *answer += std::str::from_utf8(&bytes).expect("text");
        }
        (b'*', Ok(count)) => (0..count).for_each(|_| read_answer(from, answer)),
        (b'%', Ok(count)) => (0..2 * count).for_each(|_| read_answer(from, answer)),
        _ => {}
    }
}

fn ask<S: Read + Write>(server: &mut BufReader<S>, words: &str) -> String {
    let words: Vec<_> = words.split(' ').collect();
    let bulks = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let request = format!("*{}\r\n{}", words.len(), bulks.collect::<String>());
    server.get_mut().write_all(request.as_bytes()).expect("send");
    let mut answer = String::new();
    read_answer(server, &mut answer);
    answer
}

fn compare(password: Option<&str>, requests: &str) {
    let _watchdog = watchdog();
    let Some(mut redis) = Redis::start(password) else {
        return;
    };
    let options: Vec<_> = password.into_iter().flat_map(|word| ["--requirepass", word]).collect();
    let server = start(&options);
    let (mut theirs, mut ours) = (BufReader::new(redis.connect()), BufReader::new(server.connect()));
    for request in requests.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert_eq!(ask(&mut ours, request), ask(&mut theirs, request), "{request}");
    }
    drop(ours);
    server.stop();
}

#[test]
fn what_is_right_and_what_is_wrong() {
    compare(
        None,
        "
        SET a 1
        SET a 2 NX
        SET a 2 NX GET
        SET a 2 XX GET
        SET a 2 NX XX
        SET a 2 EX
        SET a 2 EX 0
        SET a 2 EX -1
        SET a 2 EX x
        SET a 2 EX 9223372036854775807
        SET a 2 PX 9223372036854775807
        SET a 2 EX 1 PX 1
        SET a 2 EX 1 KEEPTTL
        SET a 2 FOO
        SET a 2 PERSIST
        SET a 2 EXAT 0
        SET a 2 PXAT 5
        EXISTS a
        SET a 2 EXAT 4000000000
        EXPIRETIME a
        PEXPIRETIME a
        SET a 3 KEEPTTL
        EXPIRETIME a
        SET a 4
        EXPIRETIME a
        EXPIRETIME none
        PEXPIRETIME none
        TTL a
        PTTL none
        EXPIRE a 1 NX XX
        EXPIRE a 1 NX GT
        EXPIRE a 1 GT LT
        EXPIRE a 1 FOO
        EXPIRE a x
        EXPIRE a 9999999999999999
        PEXPIRE a 9223372036854775807
        EXPIREAT a 9223372036854775807
        PEXPIREAT a 4000000000000 XX
        PEXPIREAT a 4000000000000 GT
        PEXPIREAT a 4000000000000 LT
        PEXPIREAT a 4000000000001 LT
        PEXPIREAT a 4000000000001 GT
        PEXPIREAT a 4000000000001 NX
        PEXPIREAT a 4000000000002 XX GT
        PEXPIRETIME a
        PERSIST a
        PERSIST a
        PERSIST none
        PEXPIREAT a 4000000000001 NX
        EXPIRE none 1
        EXPIREAT a 5
        EXISTS a
        SETEX a 0 1
        SETEX a x 1
        PSETEX a -1 x
        SETEX a 100000 1
        GETEX a FOO
        GETEX a KEEPTTL
        GETEX a EX 0
        GETEX a EX 1 PERSIST
        GETEX a PERSIST
        TTL a
        GETEX a
        GETEX none EX 0
        GETEX a PXAT 4000000000000
        PEXPIRETIME a
        GETSET a 5
        TTL a
        GETSET fresh 1
        GETDEL fresh
        GETDEL fresh
        SETNX fresh 1
        SETNX fresh 2
        SETNX fresh
        APPEND fresh 23
        INCR fresh
        INCRBY fresh x
        INCRBY fresh 9223372036854775807
        DECRBY fresh -9223372036854775808
        STRLEN fresh
        MSET a 1 b
        MSET a 1 b 2
        MGET a b none
        DEL a a none
        TYPE b
        TYPE none
        KEYS fr[e]sh
        FLUSHALL later
        SELECT x
        SELECT 16
        AUTH x
        AUTH a b
        AUTH a b c
        HELLO x
        HELLO 4
        HELLO 3 FOO
        HELLO 3 SETNAME
        CLIENT FOO
        CLIENT SETNAME
        CLIENT GETNAME
        CONFIG FOO
        CONFIG GET
        CONFIG GET appendonly
        CONFIG GET appendfsync
        CONFIG GET save
        COMMAND FOO
        COMMAND COUNT x
        NONSENSE
        NONSENSE a b c d e
        GET
        GET a b
        PING a b
        ECHO hello
        PING
        QUIT
        ",
    );
}

#[test]
fn passwords() {
    compare(
        Some("secret"),
        "
        GET a
        GET
        NONSENSE
        HELLO
        HELLO 3
        HELLO 3 AUTH default wrong
        HELLO 3 AUTH default
        AUTH wrong
        AUTH default wrong
        AUTH somebody secret
        AUTH a b c
        AUTH
        PING
        DEL a b c d e f g h i
        AUTH secret
        PING
        AUTH wrong
        PING
        CONFIG GET requirepass
        ",
    );
}
