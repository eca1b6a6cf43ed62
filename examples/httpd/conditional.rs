//! Whether the client's copy of a file is still good: the preconditions of RFC 9110, section 13.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::range::{self, Wanted};
use crate::reply::Head;
use crate::request::{Method, Request};

/// What a request gets of a file.
pub(crate) enum Verdict {
    All,
    Part(Range<u64>),
    NotModified,
    /// A precondition does not hold: 412.
    Failed,
    /// The range lies outside of the file: 416.
    NoSuchPart,
}

/// What tells one version of a file from another.
pub(crate) struct Validators {
    tag: String,
    /// In whole seconds since 1970, as fine as HTTP dates are.
    modified: Option<u64>,
}

impl Validators {
    pub(crate) fn new(length: u64, modified: Option<SystemTime>) -> Self {
        let since_1970 = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let tag = format!("\"{:x}-{length:x}\"", since_1970.unwrap_or_default().as_nanos());
        // Dates that HTTP cannot express are not expressed, and none lies in the future, as the RFC asks.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            tag,
            modified: since_1970.map(|since| since.min(now).as_secs()),
        }
    }

    /// Adds the fields that let a client ask for the same version again.
    pub(crate) fn announce<'o>(&self, head: Head<'o>) -> Head<'o> {
        let head = head.field("ETag", &self.tag);
        match self.modified {
            Some(seconds) => head.field(
                "Last-Modified",
                httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)),
            ),
            None => head,
        }
    }

    fn modified_after(&self, date: u64) -> bool {
        self.modified.is_none_or(|modified| modified > date)
    }
}

/// Goes through the preconditions in the order that RFC 9110 prescribes in section 13.2.2.
pub(crate) fn judge(request: &Request<'_>, file: &Validators, length: u64) -> Verdict {
    if request.values("If-Match").next().is_some() {
        if !any_tag(request, "If-Match", |tag| {
            tag == Tag::Any || tag == Tag::Strong(&file.tag)
        }) {
            return Verdict::Failed;
        }
    } else if date(request, "If-Unmodified-Since").is_some_and(|date| file.modified_after(date)) {
        return Verdict::Failed;
    }

    if request.values("If-None-Match").next().is_some() {
        if any_tag(request, "If-None-Match", |tag| match tag {
            Tag::Any => true,
            Tag::Strong(text) | Tag::Weak(text) => text == file.tag,
        }) {
            return Verdict::NotModified;
        }
    } else if date(request, "If-Modified-Since").is_some_and(|date| !file.modified_after(date)) {
        return Verdict::NotModified;
    }

    // Ranges are defined for GET alone.
    match request.value("Range") {
        Some(wanted) if request.method == Method::Get && range_still_applies(request, file) => {
            match range::understand(wanted, length) {
                Wanted::All => Verdict::All,
                Wanted::Part(part) => Verdict::Part(part),
                Wanted::Impossible => Verdict::NoSuchPart,
            }
        }
        _ => Verdict::All,
    }
}

/// Whether the version that the client has a part of is the version that there is.
fn range_still_applies(request: &Request<'_>, file: &Validators) -> bool {
    if request.values("If-Range").next().is_none() {
        return true;
    }
    let condition = request.value("If-Range").unwrap_or_default();
    condition == file.tag || (file.modified.is_some() && date(request, "If-Range") == file.modified)
}

/// A field's date in seconds since 1970; what is no date does not count as a condition.
fn date(request: &Request<'_>, name: &'static str) -> Option<u64> {
    let date = httpdate::parse_http_date(request.value(name)?).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag<'t> {
    /// `*`
    Any,
    Strong(&'t str),
    Weak(&'t str),
}

/// Whether any of the entity tags in all fields of this name will do.
fn any_tag(request: &Request<'_>, name: &'static str, mut will_do: impl FnMut(Tag<'_>) -> bool) -> bool {
    request
        .values(name)
        .filter_map(|value| std::str::from_utf8(value).ok())
        .any(|mut list| {
            while let Some((tag, rest)) = next_tag(list) {
                if will_do(tag) {
                    return true;
                }
                list = rest;
            }
            false
        })
}

/// Splits the first tag off a list. A tag may have commas inside its quotes.
fn next_tag(list: &str) -> Option<(Tag<'_>, &str)> {
    let list = list.trim_start_matches([' ', '\t', ',']);
    if let Some(rest) = list.strip_prefix('*') {
        return Some((Tag::Any, rest));
    }
    let (is_weak, quoted) = list.strip_prefix("W/").map_or((false, list), |quoted| (true, quoted));
    let end = quoted.strip_prefix('"')?.find('"')? + 2;
    let (tag, rest) = quoted.split_at(end);
    Some((if is_weak { Tag::Weak(tag) } else { Tag::Strong(tag) }, rest))
}
