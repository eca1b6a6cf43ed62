//! Files and directories: what is served, in which parts, and what is not.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Httpd, SECRET, Site, blob, emulator};

#[test]
fn file_is_served_with_its_type() {
    let names = [
        ("page.html", "text/html; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("data.json", "application/json"),
        ("picture.png", "image/png"),
        ("notes.TXT", "text/plain; charset=utf-8"),
        ("no-extension", "application/octet-stream"),
        ("empty.txt", "text/plain; charset=utf-8"),
        ("with space & <mark>.txt", "text/plain; charset=utf-8"),
        ("gr\u{fc}n.txt", "text/plain; charset=utf-8"),
        (".well-known/token", "application/octet-stream"),
    ];
    let site = names.iter().fold(Site::new(), |site, (name, _)| {
        site.with(
            name,
            if *name == "empty.txt" {
                String::new()
            } else {
                format!("this is {name}")
            },
        )
    });
    let server = Httpd::serving(&site.root(), &[]);
    let mut client = server.connect();
    for (name, content_type) in names {
        let target = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let answer = client
            .get(&format!("/{target}"))
            .expect(200)
            .expect_field("Content-Type", content_type);
        assert_eq!(answer.body, fs::read(site.root().join(name)).unwrap(), "{name}");
    }
    client.get("//./hello.txt").expect(200);
    client.get("/hello%2Etxt").expect(200);
    client.get("/hello%252Etxt").expect(404);
    client.get("/hello.txt/").expect(404);
    client.get("/hello.txt/more").expect(404);
    client.get(&format!("/{}", "x".repeat(300))).expect(404);
    client.get(&"/x".repeat(4000)).expect(404);
}

#[test]
fn directory_is_redirected_indexed_or_listed() {
    let site = Site::new()
        .with("docs/index.html", "<p>the index</p>")
        .with("bare/a & <b> 'c'.txt", "")
        .with("bare/sub/x", "")
        .with("bare/.hidden", "")
        .with("bare/100%.txt", "percent");
    symlink("nowhere", site.root().join("bare/dangling")).unwrap();
    let server = Httpd::serving(&site.root(), &[]);
    let mut client = server.connect();

    client.get("/docs").expect(301).expect_field("Location", "/docs/");
    client
        .get("//docs?a=b")
        .expect(301)
        .expect_field("Location", "/docs/?a=b");
    client
        .get("/docs/")
        .expect(200)
        .expect_body("<p>the index</p>")
        .expect_field("Content-Type", "text/html; charset=utf-8");

    let listing = client
        .get("/bare/")
        .expect(200)
        .expect_field("Content-Type", "text/html; charset=utf-8")
        .text();
    assert!(listing.contains("<title>Index of /bare/</title>"), "{listing}");
    assert!(listing.contains("href=\"../\""), "{listing}");
    assert!(listing.contains("<a href=\"./sub/\">sub/</a>"), "{listing}");
    let escaped = "<a href=\"./a%20%26%20%3Cb%3E%20%27c%27.txt\">a &amp; &lt;b&gt; &#39;c&#39;.txt</a>";
    assert!(listing.contains(escaped), "{listing}");
    assert!(
        !listing.contains("hidden") && !listing.contains("dangling"),
        "{listing}"
    );
    client.get("/bare/100%25.txt").expect(200).expect_body("percent");

    let root = client.get("/").expect(200).text();
    assert!(root.contains("hello.txt") && !root.contains("../"), "{root}");
    client.get("/bare/.hidden").expect(404);
}

#[test]
fn redirect_does_not_lead_to_another_site() {
    let site = Site::new().with("evil.example/x", "");
    let server = Httpd::serving(&site.root(), &[]);
    for target in [
        "//evil.example",
        "///evil.example",
        "/%2fevil.example",
        "/.//evil.example",
    ] {
        server
            .get(target)
            .expect(301)
            .expect_field("Location", "/evil.example/");
    }
}

#[test]
fn nothing_outside_of_the_root_is_served() {
    let site = Site::new().with("sub/inside.txt", "inside");
    symlink("../secret.txt", site.root().join("link.txt")).unwrap();
    symlink("..", site.root().join("parent")).unwrap();
    symlink("/", site.root().join("slash")).unwrap();
    symlink("sub/inside.txt", site.root().join("fine.txt")).unwrap();
    symlink("loop", site.root().join("loop")).unwrap();
    let server = Httpd::serving(&site.root(), &[]);
    let attempts = [
        ("/../secret.txt", 403),
        ("/../../../../../../etc/passwd", 403),
        ("/sub/../../secret.txt", 403),
        ("/sub/..", 403),
        ("/%2e%2e/secret.txt", 403),
        ("/%2e%2e%2fsecret.txt", 403),
        ("/.%2E/secret.txt", 403),
        ("/..%2f..%2f..%2f..%2fetc%2fpasswd", 403),
        ("/..%5csecret.txt", 400),
        ("/..\\secret.txt", 400),
        ("/%c0%ae%c0%ae/secret.txt", 400),
        ("/..%c0%afsecret.txt", 400),
        ("/%e0%80%ae%e0%80%ae/secret.txt", 400),
        ("/%252e%252e/secret.txt", 404),
        ("/../secret.txt%00.html", 400),
        ("/hello.txt%00", 400),
        ("/%0a", 400),
        ("/%", 400),
        ("/%2", 400),
        ("/%zz", 400),
        ("/%+1", 400),
        ("/%ff", 400),
        ("//etc/passwd", 404),
        ("/link.txt", 403),
        ("/parent/secret.txt", 403),
        ("/parent/", 403),
        ("/slash/etc/passwd", 403),
        ("/loop", 404),
        ("http://test/../secret.txt", 403),
    ];
    let mut client = server.connect();
    for (target, status) in attempts {
        let answer = client.get(target);
        assert_eq!(answer.status, status, "{target} gets {:?}", answer.text());
        let text = answer.text();
        assert!(
            !text.contains(SECRET) && !text.contains("root:"),
            "{target} gets {text}"
        );
    }
    client.get("/fine.txt").expect(200).expect_body("inside");
}

#[test]
fn only_regular_files_are_opened() {
    let site = Site::new();
    let made = std::process::Command::new("mkfifo")
        .arg(site.root().join("pipe"))
        .status();
    let server = Httpd::serving(&site.root(), &[]);
    if made.is_ok_and(|status| status.success()) {
        server.get("/pipe").expect(403);
    }
    server.get("/hello.txt").expect(200);
}

#[test]
fn large_file_arrives_whole() {
    let length = emulator::rounds(64 << 20);
    let site = Site::new().with_blob("blob", length);
    let server = Httpd::serving(&site.root(), &[]);
    let expected = blob(length);
    let mut client = server.connect();
    assert!(
        client.get("/blob").expect(200).body == expected,
        "{length} bytes differ"
    );
    let part = client.get_with("/blob", "Range: bytes=1000003-5000000\r\n").expect(206);
    assert!(part.body == expected[1_000_003..=5_000_000], "the part differs");
    client.get("/plaintext").expect(200);
    server.stop();
}

#[test]
fn file_that_changes_its_size_while_it_is_sent_does_no_harm() {
    const LENGTH: usize = 16 << 20;
    for new_length in [LENGTH as u64 / 2, LENGTH as u64 * 2] {
        let site = Site::new().with_blob("blob", LENGTH);
        let server = Httpd::serving(&site.root(), &[]);
        let mut client = server.connect();
        client.send("GET /blob HTTP/1.1\r\nHost: a\r\n\r\n");
        client.stream.peek(&mut [0]).expect("the start of the answer");
        // Most of the file is not in the socket's buffers, so the server has yet to read it.
        let file = fs::File::options().write(true).open(site.root().join("blob")).unwrap();
        file.set_len(new_length).unwrap();
        if new_length > LENGTH as u64 {
            // What was promised is sent, and no more.
            assert!(client.answer().expect(200).body == blob(LENGTH), "the file differs");
            client.get("/plaintext").expect(200);
        } else {
            // The promise cannot be kept, and the client can see it.
            assert!(client.rest().len() < LENGTH);
        }
        server.get("/plaintext").expect(200);
    }
}
