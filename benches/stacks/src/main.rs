//! What real code uses of a fiber's stack, to some bytes:
//!
//! ```sh
//! RUST_BACKTRACE=1 cargo run --manifest-path benches/stacks/Cargo.toml [--release]
//! ```
//!
//! `KAPOK_SWITCH` chooses the engine. Each thing is done by a few fibers, all of which are spawned in a line of their own, by which
//! `kapok::stack::usage` knows them. What two do with each other, as a handshake, is measured for both.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use kapok::fiber::{Builder, JoinHandle, sleep};
use kapok::net::{TcpListener, TcpStream};
use kapok::stack::{Measure, usage};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};

/// Has it done a few times: the first does what is done once in a process.
macro_rules! each {
    ($names:ident, $name:expr, $body:expr) => {
        for round in 0..4 {
            let begun = Builder::new().stack_size(1 << 20).spawn($body);
            end(begun);
            if round == 0 {
                $names.push((line!(), $name));
            }
        }
    };
}

fn end(fiber: std::io::Result<JoinHandle<()>>) {
    // One of them panics.
    drop(fiber.expect("it is started").join());
}

fn main() {
    let runtime = kapok::runtime::Builder::new().workers(1).stack_usage(Measure::Paint);
    let names = runtime.run(measure_all).expect("the runtime starts");
    let usage = usage();
    println!(
        "{} build, switch {}\n",
        if cfg!(debug_assertions) { "debug" } else { "release" },
        std::env::var("KAPOK_SWITCH").unwrap_or_else(|_| "by default".to_owned())
    );
    println!("| what                                    | bytes used | recommended |");
    println!("|-----------------------------------------|-----------:|------------:|");
    for (line, name) in names {
        let found = usage
            .sites
            .iter()
            .find(|site| site.spawned_at.is_some_and(|place| place.line() == line));
        let site = found.expect("it was measured");
        println!("| {name:<39} | {:>10} | {:>11} |", site.max, site.recommended);
    }
}

type Names = Vec<(u32, &'static str)>;

#[rustfmt::skip] // a line for each
fn measure_all() -> Names {
    let mut names = Names::new();
    each!(names, "nothing", || ());
    each!(names, "sleep", || sleep(Duration::from_micros(1)));
    each!(names, "spawn and join", || drop(kapok::spawn(|| ()).join()));
    each!(names, "an echo over TCP, both ends", echo);
    each!(names, "println! of floats", || println!("{:e} {:.17} {}", black_box(1e300), black_box(0.1), black_box(f64::MIN)));
    each!(names, "format! of a nested Debug", || drop(black_box(format!("{:#?}", Some(vec![Some("a"), None])))));
    each!(names, "serde_json, parse and print", json);
    each!(names, "regex, compile and match", regex);
    each!(names, "getaddrinfo on the fiber's stack", || drop(black_box(("localhost", 80).to_socket_addrs())));
    each!(names, "a name by kapok::net", || drop(black_box(TcpStream::connect(("localhost", 1)))));
    each!(names, "a panic that is caught", || drop(std::panic::catch_unwind(|| panic!("with a backtrace"))));
    let (server, client) = tls();
    each!(names, "TLS 1.3 handshake, client", handshake_of_a_client(&client, &server));
    each!(names, "TLS 1.3 handshake, server", handshake_of_a_server(&client, &server));
    names
}

fn echo() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let other = kapok::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut bytes = [0; 512];
        let len = stream.read(&mut bytes).expect("a request");
        stream.write_all(&bytes[..len]).expect("it is sent");
    });
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"hello").expect("it is sent");
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).expect("an answer");
    other.join().expect("no panic");
}

fn json() {
    let text = r#"{"name":"kapok","list":[1,2.5e10,{"nested":[[[[[null,true]]]]]}]}"#;
    let value: serde_json::Value = serde_json::from_str(black_box(text)).expect("it is valid");
    black_box(serde_json::to_string_pretty(&value).expect("it can be written"));
}

fn regex() {
    let pattern = r"(?i)\b([a-z0-9._%+-]+)@((?:[a-z0-9-]+\.)+[a-z]{2,})\b|\p{Greek}+(?:\d{2,5}|x*)";
    let regex = regex::Regex::new(black_box(pattern)).expect("it is valid");
    assert!(
        regex
            .captures(black_box("write to somebody@mail.example.org"))
            .is_some()
    );
}

fn tls() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("they belong together");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("it is valid");
    let client = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn serve(listener: &TcpListener, config: &Arc<rustls::ServerConfig>) {
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut session = rustls::ServerConnection::new(Arc::clone(config)).expect("a session");
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    let mut bytes = [0; 5];
    tls.read_exact(&mut bytes).expect("a request");
    tls.write_all(&bytes).expect("it is sent");
}

fn ask(address: std::net::SocketAddr, config: &Arc<rustls::ClientConfig>) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    // Another one each time, so that no session is taken up again.
    let config = Arc::new(rustls::ClientConfig::clone(config));
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = rustls::ClientConnection::new(config, name).expect("a session");
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    tls.write_all(b"hello").expect("it is sent");
    let mut bytes = [0; 5];
    tls.read_exact(&mut bytes).expect("an answer");
}

fn handshake_of_a_client(
    client: &Arc<rustls::ClientConfig>,
    server: &Arc<rustls::ServerConfig>,
) -> impl FnOnce() + use<> {
    let (client, server) = (Arc::clone(client), Arc::clone(server));
    move || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has one");
        let other = roomy().spawn(move || serve(&listener, &server)).expect("it is started");
        ask(address, &client);
        other.join().expect("no panic");
    }
}

fn handshake_of_a_server(
    client: &Arc<rustls::ClientConfig>,
    server: &Arc<rustls::ServerConfig>,
) -> impl FnOnce() + use<> {
    let (client, server) = (Arc::clone(client), Arc::clone(server));
    move || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has one");
        let other = roomy().spawn(move || ask(address, &client)).expect("it is started");
        serve(&listener, &server);
        other.join().expect("no panic");
    }
}

fn roomy() -> Builder {
    Builder::new().stack_size(1 << 20)
}
