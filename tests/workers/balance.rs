//! Fibers that live long are spread over the workers, since they cannot be moved later.

use std::io::{Read, Write};
use std::sync::Arc;

use kapok::net::TcpListener;
use kapok::runtime::Handle;
use kapok::spawn;
use kapok::sync::Baton;

use crate::support::show;
use crate::{here, run_on};

/// Asserts that each worker has its part of `count`: at least half of what would be even. How even it is in truth depends on
/// how the system treats the threads, and is shown.
#[track_caller]
fn is_spread(what: &str, on: &[usize], workers: usize) {
    let counts: Vec<_> = (0..workers).map(|w| on.iter().filter(|&&it| it == w).count()).collect();
    show(&format!("{what}: {counts:?}"));
    assert!(
        counts.iter().all(|&count| count * workers * 2 >= on.len()),
        "{counts:?}"
    );
}

/// Each has started before the next one comes, so whoever spawns could start them all.
#[test]
fn fibers_that_come_one_by_one() {
    for workers in [2, 4] {
        run_on(workers, || {
            let gate = Arc::new(Baton::new());
            let gates: Vec<_> = (0..1_000).map(|_| Arc::new(Baton::new())).collect();
            let fibers: Vec<_> = gates
                .iter()
                .map(|gate| {
                    let begun = Arc::new(Baton::new());
                    let (gate, theirs) = (Arc::clone(gate), Arc::clone(&begun));
                    let fiber = spawn(move || {
                        theirs.post();
                        gate.wait();
                        here()
                    });
                    begun.wait();
                    fiber
                })
                .collect();
            let live: Vec<_> = Handle::current().stats().iter().map(|one| one.live_fibers).collect();
            assert_eq!(live.iter().sum::<usize>(), 1_001);
            assert_eq!(Handle::current().live_fibers(), 1_001);
            gates.iter().for_each(|gate| gate.post());
            let on: Vec<_> = fibers.into_iter().map(|fiber| fiber.join().unwrap()).collect();
            is_spread(&format!("one by one, {workers} workers"), &on, workers);
            gate.post();
        });
    }
}

#[test]
fn connections_of_one_listener() {
    // Both ends of each are descriptors of this process.
    let limit = rlimit::increase_nofile_limit(4_096).unwrap();
    let count = usize::try_from(limit / 4).unwrap().min(1_000);
    run_on(2, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(move || {
            let fibers: Vec<_> = listener
                .incoming()
                .take(count)
                .map(|stream| {
                    let mut stream = stream.unwrap();
                    spawn(move || {
                        let mut buf = [0; 64];
                        loop {
                            match stream.read(&mut buf).unwrap() {
                                0 => return here(),
                                n => stream.write_all(&buf[..n]).unwrap(),
                            }
                        }
                    })
                })
                .collect();
            fibers
                .into_iter()
                .map(|fiber| fiber.join().unwrap())
                .collect::<Vec<_>>()
        });
        // Clients of threads: they are not to be counted among the fibers.
        kapok::blocking(|| {
            let mut clients: Vec<_> = (0..count)
                .map(|_| {
                    let mut client = std::net::TcpStream::connect(address).unwrap();
                    client.write_all(b"hello").unwrap();
                    client.read_exact(&mut [0; 5]).unwrap();
                    client
                })
                .collect();
            for client in &mut clients {
                client.write_all(b"again").unwrap();
                client.read_exact(&mut [0; 5]).unwrap();
            }
        });
        is_spread("connections", &server.join().unwrap(), 2);
    });
}

/// What was handed to a worker that is busy does not have to wait for it.
#[test]
fn post_of_a_busy_worker_is_taken_by_others() {
    run_on(2, || {
        // The root's worker has many fibers, the other one has one that keeps it busy.
        let gates: Vec<_> = (0..40).map(|_| Arc::new(Baton::new())).collect();
        let waiting: Vec<_> = gates
            .iter()
            .map(|gate| {
                let gate = Arc::clone(gate);
                kapok::spawn_local(move || gate.wait())
            })
            .collect();
        kapok::fiber::yield_now();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let begun = Arc::new(Baton::new());
        let theirs = Arc::clone(&begun);
        let busy = crate::spawn_on(1, move || {
            theirs.post();
            held.recv().expect_err("it hangs up");
        });
        begun.wait();
        // It goes to the post of the other worker, and comes back.
        for i in 0..20 {
            assert_eq!(spawn(move || (i, here())).join().unwrap(), (i, 0));
        }
        drop(release);
        busy.join().unwrap();
        gates.iter().for_each(|gate| gate.post());
        waiting.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

/// A listener for each worker, and connections for all of them.
#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn group_of_listeners_shares_an_address() {
    const COUNT: usize = 200;
    run_on(2, || {
        let group = Arc::new(TcpListener::bind_group("127.0.0.1:0", 2).unwrap());
        let address = group[0].local_addr().unwrap();
        assert_eq!(group[1].local_addr().unwrap(), address);
        let acceptors: Vec<_> = (0..2)
            .map(|index| {
                let group = Arc::clone(&group);
                crate::spawn_on(index, move || {
                    let mut served = 0;
                    for stream in group[index].incoming() {
                        let mut stream = stream.unwrap();
                        served += 1;
                        drop(spawn(move || stream.write_all(b"!").unwrap()));
                    }
                    served
                })
            })
            .collect();
        for _ in 0..COUNT {
            let mut answer = Vec::new();
            let mut stream = kapok::net::TcpStream::connect(address).unwrap();
            stream.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"!");
        }
        group.iter().for_each(TcpListener::close);
        let served: Vec<usize> = acceptors.into_iter().map(|acceptor| acceptor.join().unwrap()).collect();
        show(&format!("group: {served:?}"));
        assert_eq!(served.iter().sum::<usize>(), COUNT);
        // The kernel goes by a hash of the addresses: one of them getting none is as likely as 200 heads in a row.
        assert!(served.iter().all(|&count| count > 0), "{served:?}");
        // Somebody who is not of the group cannot come in.
        assert_eq!(
            TcpListener::bind(address).unwrap_err().kind(),
            std::io::ErrorKind::AddrInUse
        );
        assert_eq!(
            TcpListener::bind_group(address, 0).unwrap_err().kind(),
            std::io::ErrorKind::InvalidInput
        );
    });
}
