//! Which part of a file a `Range` field asks for.

use std::ops::Range;

/// What to send.
pub(crate) enum Wanted {
    /// Everything: the field asks for it, or for something that a server may pass over.
    All,
    Part(Range<u64>),
    /// Nothing of what is asked for exists.
    Impossible,
}

/// Understands `bytes=first-last`, `bytes=first-` and `bytes=-length`.
///
/// Other units, malformed ranges, and several ranges at once are passed over, as RFC 9110 allows: an answer in many parts
/// costs more than it is worth, and is a known way to make a server work hard.
pub(crate) fn understand(field: &str, length: u64) -> Wanted {
    let range = match field.split_once('=') {
        Some((unit, range)) if unit.trim().eq_ignore_ascii_case("bytes") => range.trim(),
        _ => return Wanted::All,
    };
    let Some((first, last)) = range.split_once('-') else {
        return Wanted::All;
    };
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => return Wanted::All,
        (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(count)) if first.is_empty() => length - count.min(length)..length,
        _ => return Wanted::All,
    };
    if part.is_empty() {
        Wanted::Impossible
    } else {
        Wanted::Part(part)
    }
}

/// A number of digits only; one that is too large for a file is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}
