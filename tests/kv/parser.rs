//! The parser by itself: the same requests in one piece and in all others.

use crate::glob::matches;
use crate::request::{Broken, Limits, Parser, number};
use crate::support::Random;

const LIMITS: Limits = Limits {
    argument: 1000,
    request: 5000,
};

/// All requests of these bytes, which come in pieces of that length.
fn requests(bytes: &[u8], piece: impl Fn() -> usize) -> Result<Vec<Vec<Vec<u8>>>, Broken> {
    let mut parser = Parser::new(LIMITS);
    let (mut found, mut begin, mut end) = (Vec::new(), 0, 0);
    loop {
        while let Some(length) = parser.parse(&bytes[begin..end])? {
            let arguments = parser.arguments(&bytes[begin..end]);
            found.push(arguments.from(0).map(<[u8]>::to_vec).collect());
            parser.finish();
            begin += length;
        }
        if end == bytes.len() {
            assert_eq!(begin, end, "an incomplete request");
            return Ok(found);
        }
        end = bytes.len().min(end + piece());
    }
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn requests_are_the_same_in_any_pieces() {
    let bytes = b"*1\r\n$4\r\nPING\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nbc\r\n\r\n*0\r\n*-1\r\n  GET   k  \n*2\r\n$0\r\n\r\n$1\r\nx\r\n";
    let expected = vec![
        words(&["PING"]),
        words(&["PING"]),
        words(&["SET", "k", "a\r\nbc"]),
        words(&[]),
        words(&[]),
        words(&[]),
        words(&["GET", "k"]),
        words(&["", "x"]),
    ];
    for piece in 1..=bytes.len() {
        assert_eq!(requests(bytes, || piece).as_ref(), Ok(&expected), "pieces of {piece}");
    }
}

#[test]
fn inline_requests_have_quotes() {
    let line = br#"set "a b" 'c"d' "\x41\n\"\\" 'it\'s' ""  x"y"#;
    let expected = words(&["set", "a b", "c\"d", "A\n\"\\", "it's", "", "x\"y"]);
    assert_eq!(requests(&[line, &b"\r\n"[..]].concat(), || 3), Ok(vec![expected]));
    for broken in ["\"a\n", "'a\n", "\"a\"b\n", "\"a\\\n", "'\n"] {
        assert_eq!(
            requests(broken.as_bytes(), || 1),
            Err(Broken::UnbalancedQuotes),
            "{broken}"
        );
    }
}

#[test]
fn what_cannot_be_understood() {
    let long_line = vec![b'x'; 64 * 1024];
    let many = [
        b"*7\r\n".to_vec(),
        b"$1000\r\n"
            .iter()
            .chain(&[b'x'; 1000])
            .chain(b"\r\n")
            .copied()
            .collect::<Vec<_>>()
            .repeat(7),
    ]
    .concat();
    let cases: [(&[u8], Broken); 12] = [
        (b"*x\r\n", Broken::ArgumentCount),
        (b"*\r\n", Broken::ArgumentCount),
        (b"*1048577\r\n", Broken::ArgumentCount),
        (b"*99999999999999999999\r\n", Broken::ArgumentCount),
        (b"*1\r\n+OK\r\n", Broken::NoDollar(b'+')),
        (b"*1\r\n$-1\r\n", Broken::ArgumentLength),
        (b"*1\r\n$a\r\n", Broken::ArgumentLength),
        (
            b"*1\r\n$1001\r\n",
            Broken::ArgumentTooLong {
                length: 1001,
                limit: 1000,
            },
        ),
        (b"*1\r\n$1\r\nabc", Broken::NoLineEnd),
        (&long_line, Broken::LineTooLong),
        (b"*1\r\n$00000000000000000001\r\n", Broken::ArgumentLength),
        (&many, Broken::RequestTooLong { limit: 5000 }),
    ];
    for (bytes, expected) in cases {
        let short = bytes[..bytes.len().min(40)].escape_ascii();
        assert_eq!(requests(bytes, || 7), Err(expected), "{short}");
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let alphabet = b"*$123-+\r\n\r\n\"'\\x abcGETSET\0\xff";
    let mut understood = 0;
    for seed in 0..5000 {
        let mut random = Random::new(seed);
        let length = random.below(60);
        let bytes: Vec<u8> = (0..length).map(|_| alphabet[random.below(alphabet.len())]).collect();
        let mut parser = Parser::new(LIMITS);
        let mut begin = 0;
        while let Ok(Some(length)) = parser.parse(&bytes[begin..]) {
            assert!(length > 0 && begin + length <= bytes.len());
            understood += parser.arguments(&bytes[begin..]).from(0).map(<[u8]>::len).count();
            parser.finish();
            begin += length;
        }
    }
    assert!(understood > 1000, "they are not all nonsense: {understood}");
}

#[test]
fn numbers_are_decimal_and_nothing_else() {
    for (text, expected) in [
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("9223372036854775808", None),
        ("", None),
        ("-", None),
        ("+1", None),
        ("-+1", None),
        ("01", None),
        (" 1", None),
        ("1 ", None),
        ("1.0", None),
    ] {
        assert_eq!(number(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn patterns() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("*", "anything", true),
        ("", "", true),
        ("", "a", false),
        ("a*c", "abcbc", true),
        ("a*c", "abcb", false),
        ("a*b*c", "aXbXbXc", true),
        ("h?llo", "hello", true),
        ("h?llo", "hllo", false),
        ("h[ae]llo", "hallo", true),
        ("h[^ae]llo", "hallo", false),
        ("h[a-c]llo", "hbllo", true),
        ("h[c-a]llo", "hbllo", true),
        ("[a-]", "-", true),
        ("[\\]]", "]", true),
        ("[ab", "b", true),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("a\\", "a\\", true),
        ("key:*:[0-9]", "key:a:b:7", true),
        ("key:*:[0-9]", "key:a:b:x", false),
    ] {
        assert_eq!(
            matches(pattern.as_bytes(), text.as_bytes()),
            expected,
            "{pattern} {text}"
        );
    }
    // No pattern takes for ever.
    assert!(!matches(
        &[b"*a".repeat(50), b"b".to_vec()].concat(),
        &b"a".repeat(20_000)
    ));
}
