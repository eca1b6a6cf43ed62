//! Which file a request target names, if it may be asked for at all.
//!
//! Everything is decided on the decoded path, once: there is no second decoding that could bring back what the first one
//! has refused. Symbolic links are a matter of the file system and checked in `files.rs`.

use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::reply::{Refusal, Status};

/// Longest file name of the usual file systems.
const NAME_MAX: usize = 255;

/// What stays readable in a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request target that stays below the root.
pub(crate) struct Target {
    /// The path below the root, made of plain names only.
    pub(crate) relative: PathBuf,
    /// Whether the target ends with a slash, and so can only be a directory.
    pub(crate) wants_directory: bool,
    /// The same path in a form that is safe in a header field and in HTML: `/`, or `/a/b` without a slash at the end.
    pub(crate) encoded: String,
    query: Option<String>,
}

impl Target {
    pub(crate) fn parse(target: &str) -> Result<Self, Refusal> {
        let target = without_authority(target);
        let (path, query) = target
            .split_once('?')
            .map_or((target, None), |(path, query)| (path, Some(query)));
        // A fragment is the client's own business and never sent; as a part of a name, `#` comes percent-encoded.
        if !path.starts_with('/') || target.contains('#') {
            return Err(bad("the request target is not a path"));
        }
        let path = decode(path)?;
        let mut relative = PathBuf::new();
        let mut encoded = String::new();
        for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
            check_name(name)?;
            relative.push(name);
            encoded.push('/');
            encoded.push_str(&encode(name));
        }
        let wants_directory = path.ends_with('/') || path.ends_with("/.");
        Ok(Self {
            relative,
            wants_directory,
            encoded,
            query: query.map(str::to_owned),
        })
    }

    /// Where the directory of this name is found: the same target with a slash at the end of its path.
    ///
    /// Built from the names alone, for `//example.org` repeated in a `Location` would lead to another site.
    pub(crate) fn with_slash(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}/{query}", self.encoded)
    }
}

/// A name as it stands in a path.
pub(crate) fn encode(name: &str) -> String {
    utf8_percent_encode(name, IN_PATH).to_string()
}

/// Whether a file of this name can be asked for. Hidden files cannot, so that serving a work tree does not serve `.git`.
pub(crate) fn is_served(name: &str) -> bool {
    (!name.starts_with('.') || name == ".well-known") && !name.chars().any(is_dangerous)
}

/// `http://host/path`, the form for proxies that every server has to take, without its first half.
fn without_authority(target: &str) -> &str {
    const SCHEME: &str = "http://";
    match target.get(..SCHEME.len()) {
        Some(start) if start.eq_ignore_ascii_case(SCHEME) => {
            let rest = &target[SCHEME.len()..];
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    }
}

fn decode(path: &str) -> Result<String, Refusal> {
    let is_whole = |escape: &str| escape.len() >= 2 && escape.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    if !path.split('%').skip(1).all(is_whole) {
        return Err(bad("the path has a malformed percent escape"));
    }
    let bytes: Vec<u8> = percent_decode_str(path).collect();
    // Overlong forms of `.` and `/` are not UTF-8, and go no further than this.
    let path = String::from_utf8(bytes).map_err(|_| bad("the path is not UTF-8"))?;
    if path.chars().any(is_dangerous) {
        return Err(bad("the path has a character that is not allowed"));
    }
    Ok(path)
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name == ".." {
        return Err(Refusal {
            status: Status::Forbidden,
            reason: "the path may not contain ..",
        });
    }
    if !is_served(name) || name.len() > NAME_MAX {
        return Err(Refusal {
            status: Status::NotFound,
            reason: "there is nothing of this name",
        });
    }
    Ok(())
}

/// Control characters, NUL among them, and the backslash, which on other systems separates names.
fn is_dangerous(character: char) -> bool {
    character.is_control() || character == '\\'
}

fn bad(reason: &'static str) -> Refusal {
    Refusal {
        status: Status::BadRequest,
        reason,
    }
}
