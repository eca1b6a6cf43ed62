//! What can be turned into addresses is what std turns into addresses.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use kapok::net::ToSocketAddrs;
use kapok::{blocking, fiber, spawn};

use crate::support::{run, watchdog};

/// Both give the same addresses, or errors of the same kind.
#[track_caller]
fn same<A>(address: &A)
where
    A: ToSocketAddrs + std::net::ToSocketAddrs + Debug + ?Sized,
{
    let ours = ToSocketAddrs::to_socket_addrs(address).map(Iterator::collect::<Vec<_>>);
    let theirs = std::net::ToSocketAddrs::to_socket_addrs(address).map(Iterator::collect::<Vec<_>>);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{address:?}"),
        (Err(ours), Err(theirs)) => {
            assert_eq!(ours.kind(), theirs.kind(), "{address:?}");
            assert_eq!(ours.to_string(), theirs.to_string(), "{address:?}");
        }
        (ours, theirs) => panic!("{address:?}: {ours:?}, but std says {theirs:?}"),
    }
}

fn everything_is_the_same() {
    let (v4, v6) = (Ipv4Addr::new(10, 1, 2, 3), Ipv6Addr::new(1, 2, 3, 4, 5, 6, 7, 8));
    let socket_v4 = SocketAddrV4::new(v4, 80);
    let socket_v6 = SocketAddrV6::new(v6, 443, 7, 3);
    same(&socket_v4);
    same(&socket_v6);
    same(&SocketAddr::from(socket_v4));
    same(&SocketAddr::from(socket_v6));
    same(&(v4, 0));
    same(&(v6, u16::MAX));
    same(&(IpAddr::V4(v4), 1));
    same(&(IpAddr::V6(v6), 1));
    same(&&[socket_v4.into(), socket_v6.into(), socket_v4.into()][..]);
    same(&&[][..]);
    same(&&&&socket_v4);
    for host in ["127.0.0.1", "::1", "localhost", "10.0.0.255"] {
        same(&(host, 5));
        same(&(host.to_owned(), 5));
        same(&format!("{host}:5"));
        same(&*format!("[{host}]:5"));
    }
    same("[::1%1]:80");
    for text in [
        "",
        ":",
        "no port",
        "1.2.3.4",
        "host:",
        "host:http",
        "host:65536",
        "host:-1",
        "[::1]",
        "::1",
    ] {
        same(text);
        same(&text.to_owned());
    }
    same(&("", 80));
}

#[test]
fn addresses_are_those_of_std_in_a_fiber() {
    run(everything_is_the_same);
}

#[test]
fn addresses_are_those_of_std_on_a_plain_thread() {
    let _watchdog = watchdog();
    everything_is_the_same();
}

#[test]
fn many_look_ups_at_once() {
    run(|| {
        let look_ups: Vec<_> = (1..=200_u16)
            .map(|port| {
                spawn(move || {
                    fiber::yield_now();
                    let addresses: Vec<_> = ("localhost", port).to_socket_addrs().unwrap().collect();
                    assert!(!addresses.is_empty());
                    assert!(
                        addresses
                            .iter()
                            .all(|address| address.ip().is_loopback() && address.port() == port)
                    );
                })
            })
            .collect();
        look_ups.into_iter().for_each(|look_up| look_up.join().unwrap());
        // And from a thread of the pool itself.
        assert!(blocking(|| ("localhost", 1).to_socket_addrs().unwrap().count()) > 0);
    });
}
