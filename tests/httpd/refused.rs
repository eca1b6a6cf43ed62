//! A server where the kernel refuses what the better reactors are made of: `poll` is left, and it serves. `ci/boot.sh` runs this
//! where `makecontext` is missing, too.

use std::thread;

use crate::support::{Client, Httpd};

#[test]
fn many_are_served_where_poll_is_left() {
    let refused = [libc::SYS_io_uring_setup, libc::SYS_epoll_create1];
    let Some(server) = Httpd::where_it_is_refused(&refused, &[]) else {
        return;
    };
    assert!(server.banner.contains("(reactor poll,"), "{}", server.banner);
    let address = server.address;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let mut clients: Vec<Client> = (0..50).map(|_| Client::connect(address)).collect();
                for _ in 0..50 {
                    // Fifty requests are on their way at once, from each thread.
                    for client in &mut clients {
                        client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
                    }
                    for client in &mut clients {
                        assert_eq!(client.answer().expect(200).body, b"Hello, World!");
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("all were answered");
    }
    server.signal("TERM");
    assert!(server.wait().success());
}
