//! Parts of files, and files that a client has already: ranges, entity tags, and dates.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::support::{Httpd, Site};

#[test]
fn range_gets_the_part_it_asks_for() {
    let site = Site::new().with("digits", "0123456789").with("empty", "");
    let server = Httpd::serving(&site.root(), &[]);
    let mut client = server.connect();
    let parts = [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-5", "2345", "bytes 2-5/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
        ("bytes=5-99999999999999999999999", "56789", "bytes 5-9/10"),
        ("BYTES = 9-9", "9", "bytes 9-9/10"),
    ];
    for (range, body, content_range) in parts {
        let answer = client
            .get_with("/digits", &format!("Range: {range}\r\n"))
            .expect(206)
            .expect_body(body);
        answer
            .expect_field("Content-Range", content_range)
            .expect_field("Content-Length", &body.len().to_string());
    }
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
        let answer = client.get_with("/digits", &format!("Range: {range}\r\n")).expect(416);
        answer.expect_field("Content-Range", "bytes */10");
    }
    client
        .get_with("/empty", "Range: bytes=0-\r\n")
        .expect(416)
        .expect_field("Content-Range", "bytes */0");
    for range in [
        "bytes=5-2",
        "bytes=a-b",
        "bytes=-",
        "bytes",
        "lines=1-2",
        "bytes=+1-2",
        "bytes=1-2,4-5",
        "bytes=1-2x",
    ] {
        let answer = client
            .get_with("/digits", &format!("Range: {range}\r\n"))
            .expect(200)
            .expect_body("0123456789");
        answer.expect_field("Accept-Ranges", "bytes");
    }
    client
        .head("/digits", "Range: bytes=2-5\r\n")
        .expect(200)
        .expect_field("Content-Length", "10");
}

#[test]
fn conditions_are_judged_in_the_order_of_the_rfc() {
    let site = Site::new().with("digits", "0123456789");
    let server = Httpd::serving(&site.root(), &[]);
    let mut client = server.connect();
    let plain = client.get("/digits").expect(200);
    let tag = plain.field("ETag").expect("a tag").to_owned();
    let date = plain.field("Last-Modified").expect("a date").to_owned();
    let earlier = "Sun, 06 Nov 1994 08:49:37 GMT";
    let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(86_400));

    let cases = [
        (304, format!("If-None-Match: {tag}")),
        (304, format!("If-None-Match: \"a,b\", W/{tag}")),
        (304, format!("If-None-Match: \"other\"\r\nIf-None-Match: {tag}")),
        (304, "If-None-Match: *".to_owned()),
        (200, "If-None-Match: \"other\"".to_owned()),
        (200, format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {date}")),
        (304, format!("If-Modified-Since: {date}")),
        (304, format!("If-Modified-Since: {later}")),
        (200, format!("If-Modified-Since: {earlier}")),
        (200, "If-Modified-Since: yesterday".to_owned()),
        (200, format!("If-Match: {tag}")),
        (200, "If-Match: *".to_owned()),
        (412, "If-Match: \"other\"".to_owned()),
        (412, format!("If-Match: W/{tag}")),
        (412, format!("If-Unmodified-Since: {earlier}")),
        (200, format!("If-Unmodified-Since: {date}")),
        (200, format!("If-Match: {tag}\r\nIf-Unmodified-Since: {earlier}")),
        (412, "If-Match: \"other\"\r\nIf-None-Match: *".to_owned()),
        (206, format!("Range: bytes=0-1\r\nIf-Range: {tag}")),
        (206, format!("Range: bytes=0-1\r\nIf-Range: {date}")),
        (200, format!("Range: bytes=0-1\r\nIf-Range: W/{tag}")),
        (200, "Range: bytes=0-1\r\nIf-Range: \"other\"".to_owned()),
        (200, format!("Range: bytes=0-1\r\nIf-Range: {earlier}")),
        (304, format!("Range: bytes=0-1\r\nIf-None-Match: {tag}")),
        (416, format!("Range: bytes=20-\r\nIf-Range: {tag}")),
    ];
    for (status, fields) in cases {
        let answer = client.get_with("/digits", &format!("{fields}\r\n"));
        assert_eq!(answer.status, status, "{fields}");
        if status == 304 {
            assert_eq!(answer.field("ETag"), Some(tag.as_str()), "{fields}");
            assert_eq!(answer.field("Content-Length"), None, "{fields}");
        }
    }
    client.head("/digits", &format!("If-None-Match: {tag}\r\n")).expect(304);

    fs::write(site.root().join("digits"), "another content").unwrap();
    client
        .get_with("/digits", &format!("If-None-Match: {tag}\r\n"))
        .expect(200)
        .expect_body("another content");
}

#[test]
fn dates_that_http_cannot_express_do_no_harm() {
    let site = Site::new().with("old", "old").with("future", "future");
    let set = |name: &str, time| {
        fs::File::options()
            .write(true)
            .open(site.root().join(name))
            .unwrap()
            .set_modified(time)
    };
    set("old", SystemTime::UNIX_EPOCH - Duration::from_secs(1_000_000)).unwrap();
    set("future", SystemTime::now() + Duration::from_secs(3_000_000_000)).unwrap();
    let server = Httpd::serving(&site.root(), &[]);
    assert_eq!(server.get("/old").expect(200).field("Last-Modified"), None);
    let answer = server.get("/future").expect(200);
    let modified = httpdate::parse_http_date(answer.field("Last-Modified").expect("a date")).unwrap();
    assert!(modified <= SystemTime::now());
}
