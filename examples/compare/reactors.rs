//! Reactors: round trips over loopback, both ends of which are fibers of one worker. So nothing is in it but the reactor, the
//! switches and the kernel's TCP: no other thread has to be woken.

use std::io::{self, Read, Write};

use kapok::ReactorKind;
use kapok::net::{TcpListener, TcpStream};
use kapok::runtime::Builder;

use crate::clock::Stopwatch;
use crate::measure::{Sample, Work};
use crate::syscalls::Counter;

pub(crate) const WORKS: &[Work<ReactorKind>] = &[
    Work {
        name: "echo, 1 connection",
        run: |kind, n| echo(kind, 1, n),
    },
    Work {
        name: "echo, 64 connections",
        run: |kind, n| echo(kind, 64, n),
    },
];

/// The reactors that work here. If there is none, that is an error, and why the last one does not.
pub(crate) fn available() -> io::Result<Vec<ReactorKind>> {
    let mut work = Vec::new();
    let mut tried = Ok(());
    for kind in ReactorKind::available() {
        tried = Builder::new().workers(1).reactor(kind).run(|| ());
        if tried.is_ok() {
            work.push(kind);
        }
    }
    if work.is_empty() {
        tried.map(|()| work)
    } else {
        Ok(work)
    }
}

const MESSAGE: [u8; 64] = [b'k'; 64];

fn round_trips(stream: &mut TcpStream, n: u32) {
    let mut answer = [0; MESSAGE.len()];
    for _ in 0..n {
        stream.write_all(&MESSAGE).expect("the other end reads");
        stream.read_exact(&mut answer).expect("the other end answers");
    }
}

fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("a socket of TCP");
    let mut message = [0; MESSAGE.len()];
    while let Ok(bytes @ 1..) = stream.read(&mut message) {
        if stream.write_all(&message[..bytes]).is_err() {
            return;
        }
    }
}

fn echo(kind: ReactorKind, connections: u32, n: u32) -> Sample {
    let each = n.div_ceil(connections);
    let calls = Counter::of_this_thread();
    let run = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be had");
        let address = listener.local_addr().expect("it is bound");
        let server = kapok::spawn(move || {
            for _ in 0..connections {
                let (stream, _) = listener.accept().expect("a client comes");
                drop(kapok::spawn(move || answer(stream)));
            }
        });
        let connect = |_| {
            let mut stream = TcpStream::connect(address).expect("the server listens");
            stream.set_nodelay(true).expect("a socket of TCP");
            round_trips(&mut stream, 1); // it is registered by then
            stream
        };
        let streams: Vec<_> = (0..connections).map(connect).collect();
        server.join().expect("no panic");
        let before = calls.as_ref().map(Counter::count);
        let begin = Stopwatch::start();
        let clients = streams.into_iter().map(|mut stream| {
            kapok::spawn(move || {
                round_trips(&mut stream, each);
                stream
            })
        });
        let clients: Vec<_> = clients.collect();
        // They are closed when all are done: what that costs is not looked at.
        let streams: Vec<_> = clients
            .into_iter()
            .map(|client| client.join().expect("no panic"))
            .collect();
        let ns = begin.ns_each(each * connections);
        let after = calls.as_ref().map(Counter::count);
        drop(streams);
        let round_trips = f64::from(each * connections);
        Sample {
            ns,
            calls: after
                .zip(before)
                .map(|(after, before)| after.saturating_sub(before))
                .map(|calls| {
                    #[expect(clippy::cast_precision_loss, reason = "not that many")]
                    let calls = calls as f64;
                    calls / round_trips
                }),
        }
    };
    let runtime = Builder::new().workers(1).reactor(kind);
    runtime.run(run).expect("the reactor worked before")
}
