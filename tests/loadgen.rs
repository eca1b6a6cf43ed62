//! The example load generator: its parser of answers by itself, and its binary against servers that behave in various ways.

mod support;

#[path = "../examples/loadgen/response.rs"]
mod response;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use response::{Answer, Invalid, Responses};
use serde_json::Value;
use support::server::{Server, path_of};
use support::{says, watchdog};

fn run(address: SocketAddr, path: &str, options: &[&str]) -> Output {
    let mut command = Command::new(path_of("loadgen"));
    command.arg(format!("http://{address}{path}")).args(options);
    command.stdin(Stdio::null()).output().expect("run the load generator")
}

/// What it reports of a run that has succeeded. Nothing else is printed where there is no terminal.
#[track_caller]
fn report(address: SocketAddr, path: &str, options: &[&str]) -> Value {
    let _watchdog = watchdog();
    let output = run(address, path, &[options, &["--json"]].concat());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A server that reads a head at a time, and answers by that function: no answer is the end.
fn server(answer: impl Fn(usize, &str) -> Option<String> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, count, stream) = (Arc::clone(&answer), Arc::clone(&count), stream.expect("a connection"));
            thread::spawn(move || converse(&stream, &count, &*answer));
        }
    });
    address
}

fn converse(mut stream: &TcpStream, count: &AtomicUsize, answer: &dyn Fn(usize, &str) -> Option<String>) {
    let mut input = BufReader::new(stream.try_clone().expect("clone"));
    let mut head = String::new();
    while input.read_line(&mut head).is_ok_and(|length| length > 0) {
        if head.ends_with("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
            input.read_exact(&mut body).expect("the body");
            let whole = head.clone() + std::str::from_utf8(&body).expect("text");
            match answer(count.fetch_add(1, Ordering::Relaxed), &whole) {
                Some(text) => drop(stream.write_all(text.as_bytes())),
                None => return,
            }
            head.clear();
        }
    }
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn httpd_answers_all_of_it() {
    let httpd = Server::start("httpd", [] as [&str; 0]);
    for options in [
        &["-n", "1000", "-c", "8"][..],
        &["-n", "1000", "-c", "3", "--pipeline", "16"],
        &["-n", "1000", "-c", "5", "--rate", "100000", "--pipeline", "4"],
        &["-n", "300", "-c", "8", "--no-keep-alive"],
        &["-n", "300", "-c", "8", "-X", "HEAD"],
    ] {
        let report = report(httpd.address, "/plaintext", options);
        let count: u64 = options[1].parse().unwrap();
        assert_eq!(report["answers"], count, "{report:#}");
        assert_eq!(report["status"]["200"], count);
        assert_eq!(report["errors"], serde_json::json!({}));
        let latency = |name: &str| report["latency_ns"][name].as_u64().expect("a number");
        assert!(
            latency("min") <= latency("p50") && latency("p50") <= latency("p99") && latency("p99") <= latency("max")
        );
        let connected = report["connections_made"].as_u64().unwrap();
        assert!(
            if report["keep_alive"] == true {
                connected <= 8
            } else {
                connected == count
            },
            "{report:#}"
        );
    }
    let report = report(httpd.address, "/nothing", &["-n", "10", "-c", "1"]);
    assert_eq!(report["status"]["404"], 10);
    httpd.stop();
}

#[test]
fn it_ends_in_time_and_tells_people_too() {
    let httpd = Server::start("httpd", [] as [&str; 0]);
    let _watchdog = watchdog();
    // A machine that is busy may not come to an answer in a short time.
    let mut outputs = ["0.3", "3", "30"]
        .map(|seconds| ["--duration", seconds, "-c", "2"])
        .into_iter();
    let output = outputs.find_map(|options| {
        let output = run(httpd.address, "/plaintext", &options);
        output.status.success().then_some(output)
    });
    let output = output.expect("an answer in half a minute");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{text}");
    says(
        &text,
        &[
            "answers per second",
            "latency, p50",
            "latency, p99.9",
            "latency, max",
            "status 200",
        ],
    );
    assert!(!text.contains("error"), "{text}");
    httpd.stop();
}

#[test]
fn what_is_sent() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&heard);
    let address = server(move |_, head| {
        theirs.lock().unwrap().push(head.to_owned());
        Some(HELLO.to_owned())
    });
    let options = [
        "-n",
        "1",
        "-c",
        "1",
        "-X",
        "PUT",
        "--body",
        "some text",
        "-H",
        "X-A: b",
        "--no-keep-alive",
    ];
    assert_eq!(report(address, "/a?b", &options)["answers"], 1);
    let request = heard.lock().unwrap().pop().unwrap();
    assert_eq!(
        request,
        format!(
            "PUT /a?b HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9\r\nConnection: close\r\nX-A: b\r\n\r\nsome text"
        )
    );
}

#[test]
fn errors_are_told_by_their_kind() {
    // Every third request is answered by the end of the connection.
    let address = server(|number, _| (number % 3 != 2).then(|| HELLO.to_owned()));
    let report_of = report(address, "/", &["-n", "30", "-c", "1"]);
    assert_eq!(report_of["answers"], 20, "{report_of:#}");
    let errors = report_of["errors"].as_object().unwrap();
    let count: u64 = errors.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(count, 10, "{report_of:#}");
    let is_known = |kind: &String| kind == "closed before the answer" || kind == "receive: connection reset";
    assert!(errors.keys().all(is_known), "{report_of:#}");

    let nonsense = server(|number, _| Some(if number == 0 { "nonsense\r\n\r\n" } else { HELLO }.to_owned()));
    let report_of = report(nonsense, "/", &["-n", "3", "-c", "1"]);
    assert_eq!(report_of["errors"]["the answer is no HTTP"], 1);
    assert_eq!(report_of["answers"], 2);

    let silent = server(|number, _| Some(if number == 0 { "" } else { HELLO }.to_owned()));
    let report_of = report(silent, "/", &["-n", "2", "-c", "1", "--timeout", "0.3"]);
    assert_eq!(report_of["errors"]["receive: timed out"], 1, "{report_of:#}");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(nobody, "/", &["-n", "3", "-c", "2"]);
    assert_eq!(output.status.code(), Some(1));
    says(
        &String::from_utf8(output.stdout).unwrap(),
        &["3 connect: connection refused"],
    );
    says(
        &String::from_utf8(output.stderr).unwrap(),
        &["not one request was answered"],
    );
    let output = Command::new(path_of("loadgen")).arg("ftp://x/").output().unwrap();
    says(&String::from_utf8(output.stderr).unwrap(), &["ftp://x/ is no http://"]);
}

#[test]
fn a_stall_is_charged_for_all_who_would_have_come() {
    let stall = Duration::from_millis(300);
    let address = server(move |number, _| {
        if number == 0 {
            thread::sleep(stall);
        }
        Some(HELLO.to_owned())
    });
    // Due each 10 ms, so the last one after 190: none is answered before the stall is over.
    let report = report(address, "/", &["-n", "20", "-c", "1", "--rate", "100"]);
    assert_eq!(report["answers"], 20);
    // Three digits are kept, so a little less.
    assert!(
        report["latency_ns"]["min"].as_u64().unwrap() >= 109_000_000,
        "{report:#}"
    );
    assert!(
        report["latency_ns"]["max"].as_u64().unwrap() >= 299_000_000,
        "{report:#}"
    );
}

/// All answers in these bytes, which come in pieces of that length.
fn answers(bytes: &str, piece: usize, is_head: bool) -> Result<Vec<Answer>, Invalid> {
    let mut responses = Responses::new(is_head);
    let (mut found, mut begin, mut end) = (Vec::new(), 0, 0);
    while end < bytes.len() {
        end = bytes.len().min(end + piece);
        while begin < end {
            let (used, answer) = responses.parse(&bytes.as_bytes()[begin..end])?;
            begin += used;
            found.extend(answer);
            if answer.is_none() {
                break;
            }
        }
    }
    found.extend(responses.end());
    Ok(found)
}

#[test]
fn where_answers_end() {
    let bytes = [
        "HTTP/1.1 100 Continue\r\n\r\n",
        HELLO,
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ];
    let expected: Vec<_> = [
        (200, false),
        (404, false),
        (200, false),
        (204, false),
        (200, true),
        (200, false),
        (200, true),
    ]
    .map(|(status, closes)| Answer { status, closes })
    .into();
    let bytes = bytes.concat();
    for piece in 1..=bytes.len() {
        assert_eq!(
            answers(&bytes, piece, false).as_ref(),
            Ok(&expected),
            "pieces of {piece}"
        );
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".repeat(2);
    assert_eq!(answers(&head, 7, true).map(|answers| answers.len()), Ok(2));
    for broken in [
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
    ] {
        assert_eq!(answers(broken, 1000, false), Err(Invalid), "{broken}");
    }
}
