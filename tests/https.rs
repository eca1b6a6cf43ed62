//! The example HTTPS server from outside: its binary runs as a child process, with rustls itself as a client over std's sockets,
//! and with curl and openssl where they are installed.

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use support::server::{Server, client, output_of};
use support::{Random, says};
use tempfile::TempDir;

/// A server with a certificate that it has made, and the file that has it.
fn start(options: &[&str]) -> (Server, TempDir) {
    let dir = TempDir::new().expect("a directory");
    let cert = dir.path().join("cert.pem");
    let own = ["--save-cert", cert.to_str().expect("a plain path")];
    (Server::start("https", own.iter().chain(options)), dir)
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A client that trusts that certificate and no other.
fn connect(server: &Server, cert: &Path, versions: &[&'static SupportedProtocolVersion]) -> Tls {
    let mut roots = RootCertStore::empty();
    let cert = CertificateDer::from_pem_slice(&fs::read(cert).expect("it was saved")).expect("a certificate");
    roots.add(cert).expect("one that can be trusted");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(session, server.connect())
}

fn in_dir(dir: &TempDir) -> std::path::PathBuf {
    dir.path().join("cert.pem")
}

fn ask(tls: &mut Tls, request: &str) {
    tls.write_all(request.as_bytes()).expect("send");
}

/// One answer, of which the length is told.
fn answer(tls: &mut Tls) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tls.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    tls.read_exact(&mut body).expect("a body");
    (head, body)
}

/// The connection ends, and the server has said so: rustls takes any other end for an attack.
#[track_caller]
fn ends(tls: &mut Tls) {
    let mut rest = Vec::new();
    tls.read_to_end(&mut rest).expect("close_notify");
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn rustls_as_a_client() {
    let (server, dir) = start(&[]);
    for (version, name) in [
        (&rustls::version::TLS13, "TLSv1_3"),
        (&rustls::version::TLS12, "TLSv1_2"),
    ] {
        let mut tls = connect(&server, &in_dir(&dir), &[version]);
        for _ in 0..3 {
            ask(&mut tls, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let (head, body) = answer(&mut tls);
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            says(std::str::from_utf8(&body).unwrap(), &["Hello over", name]);
        }
        // Several at once, the last of which ends it.
        ask(
            &mut tls,
            "HEAD /nothing HTTP/1.1\r\n\r\nGET /nothing HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        );
        let mut rest = String::new();
        tls.read_to_string(&mut rest).expect("close_notify");
        assert_eq!(rest.matches("HTTP/1.1 404 Not Found\r\n").count(), 2, "{rest}");
        assert!(rest.ends_with("Connection: close\r\n\r\nhi"), "{rest}");
    }
    server.stop();
}

#[test]
fn large_bodies_of_several_clients() {
    let (server, dir) = start(&["--workers", "2"]);
    thread::scope(|scope| {
        for seed in 0..4 {
            let mut tls = connect(&server, &in_dir(&dir), rustls::ALL_VERSIONS);
            scope.spawn(move || {
                let sent = Random::new(seed).bytes(1 << 20);
                let head = format!("POST /echo HTTP/1.1\r\nContent-Length: {}\r\n\r\n", sent.len());
                tls.write_all(&[head.as_bytes(), &sent].concat()).unwrap();
                let (head, body) = answer(&mut tls);
                assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body == sent, "{head}");
                tls.conn.send_close_notify();
                tls.flush().unwrap();
                ends(&mut tls);
            });
        }
    });
    server.stop();
}

#[test]
fn what_is_refused() {
    let (server, dir) = start(&["--max-body", "10"]);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (request, status) in [
        ("nonsense\r\n\r\n", "400 Bad Request"),
        (
            "POST /echo HTTP/1.1\r\nContent-Length: 11\r\n\r\n",
            "413 Content Too Large",
        ),
        (
            "POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "400 Bad Request",
        ),
        (
            "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "501 Not Implemented",
        ),
        (&long, "431 Request Header Fields Too Large"),
    ] {
        let mut tls = connect(&server, &in_dir(&dir), rustls::ALL_VERSIONS);
        ask(&mut tls, request);
        let (head, _) = answer(&mut tls);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        ends(&mut tls);
    }
    let mut tls = connect(&server, &in_dir(&dir), rustls::ALL_VERSIONS);
    ask(&mut tls, "DELETE / HTTP/1.1\r\n\r\n");
    assert!(answer(&mut tls).0.starts_with("HTTP/1.1 405 "));
    // Plain text is no handshake.
    let mut plain = server.connect();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    match plain.read_to_end(&mut rest) {
        Ok(_) => assert!(!rest.starts_with(b"HTTP"), "{rest:?}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    drop(tls);
    server.stop();
}

#[test]
fn time_is_limited() {
    let limits = ["--handshake-timeout", "0.1", "--idle-timeout", "600"];
    let (server, dir) = start(&limits);
    let mut silent = server.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    server.stop();
    drop(dir);

    let (server, dir) = start(&["--idle-timeout", "0.1"]);
    let mut tls = connect(&server, &in_dir(&dir), rustls::ALL_VERSIONS);
    tls.conn.complete_io(&mut tls.sock).unwrap();
    ends(&mut tls);
    server.stop();

    let (server, dir) = start(&["--request-timeout", "0.1"]);
    let mut tls = connect(&server, &in_dir(&dir), rustls::ALL_VERSIONS);
    ask(&mut tls, "GET / HTTP/1.1\r\nX: ");
    assert!(answer(&mut tls).0.starts_with("HTTP/1.1 408 "));
    ends(&mut tls);
    server.stop();
}

#[test]
fn at_the_end_clients_are_told() {
    let (server, dir) = start(&[]);
    let mut clients: Vec<_> = (0..5)
        .map(|_| connect(&server, &in_dir(&dir), rustls::ALL_VERSIONS))
        .collect();
    for tls in &mut clients {
        ask(tls, "GET / HTTP/1.1\r\n\r\n");
        answer(tls);
    }
    server.signal();
    clients.iter_mut().for_each(ends);
    drop(clients);
    server.ends();
}

#[test]
fn a_certificate_that_is_given() {
    let dir = TempDir::new().unwrap();
    let (cert, key) = (in_dir(&dir), dir.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Server::start(
        "https",
        ["--cert".as_ref(), cert.as_os_str(), "--key".as_ref(), key.as_os_str()],
    );
    let mut tls = connect(&server, &cert, rustls::ALL_VERSIONS);
    ask(&mut tls, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(answer(&mut tls).0.starts_with("HTTP/1.1 200 OK\r\n"));
    ends(&mut tls);
    server.stop();
    // Another server's is not accepted.
    let (server, _other) = start(&[]);
    let mut tls = connect(&server, &cert, rustls::ALL_VERSIONS);
    let refused = tls.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    says(&refused.to_string(), &["invalid peer certificate"]);
    drop(tls);
    server.stop();
}

#[test]
fn curl() {
    let (server, dir) = start(&[]);
    let Some(_) = client("curl", "--version") else { return };
    let url = format!("https://{}/", server.address);
    let curl = || {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--max-time", "60"]);
        command
    };
    says(&output_of(curl().args(["--insecure", &url, &url])), &["Hello over TLS"]);
    let trusted = output_of(curl().arg("--cacert").arg(in_dir(&dir)).arg(&url));
    says(&trusted, &["Hello over TLS"]);
    assert!(
        !curl().arg(&url).output().unwrap().status.success(),
        "it is not trusted"
    );
    let sent = "x".repeat(100_000);
    fs::write(dir.path().join("body"), &sent).unwrap();
    let body = format!("@{}", dir.path().join("body").display());
    let echoed = output_of(curl().args(["--insecure", "--data-binary", &body, &format!("{url}echo")]));
    assert!(echoed == sent, "{} bytes", echoed.len());
    server.stop();
}

#[test]
fn openssl() {
    let (server, dir) = start(&[]);
    let Some(mut command) = client("openssl", "version") else {
        return;
    };
    let address = server.address.to_string();
    let mut child = command
        .args([
            "s_client",
            "-connect",
            &address,
            "-servername",
            "localhost",
            "-ign_eof",
            "-CAfile",
        ])
        .arg(in_dir(&dir))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("run openssl");
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    child.stdin.as_mut().expect("piped").write_all(request).expect("send");
    let output = child.wait_with_output().expect("its output");
    let text = String::from_utf8_lossy(&output.stdout);
    says(
        &text,
        &["Verify return code: 0 (ok)", "HTTP/1.1 200 OK", "Hello over TLS"],
    );
    // The server's end was told.
    says(&text, &["closed"]);
    server.stop();
}
