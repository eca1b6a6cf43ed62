//! Patterns as in a shell: `*`, `?`, `[a-c]`, `[^a]`, and a backslash before what is meant as it is.

/// Whether all of `text` is what the pattern says.
pub(crate) fn matches(mut pattern: &[u8], mut text: &[u8]) -> bool {
    // After the last star, and what it is tried with next: only the last one may have to take more.
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            pattern = rest;
            again = Some((rest, text));
            continue;
        }
        if pattern.is_empty() && text.is_empty() {
            return true;
        }
        if let (Some(rest), [_, more @ ..]) = (one(pattern, text.first().copied()), text) {
            (pattern, text) = (rest, more);
            continue;
        }
        match again {
            Some((after_star, [_, more @ ..])) => {
                (pattern, text) = (after_star, more);
                again = Some((after_star, more));
            }
            _ => return false,
        }
    }
}

/// What is left of the pattern if its first element is this byte.
fn one(pattern: &[u8], byte: Option<u8>) -> Option<&[u8]> {
    let byte = byte?;
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte),
        [b'\\', escaped, rest @ ..] => (*escaped == byte).then_some(rest),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// As [`one`], after an opening bracket. Where the closing one is missing, the end of the pattern stands for it.
fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        match rest {
            [] => break,
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [b'\\', escaped, after @ ..] => {
                found |= *escaped == byte;
                rest = after;
            }
            [a, b'-', z, after @ ..] if *z != b']' => {
                found |= (*a.min(z)..=*a.max(z)).contains(&byte);
                rest = after;
            }
            [literal, after @ ..] => {
                found |= *literal == byte;
                rest = after;
            }
        }
    }
    (found != negated).then_some(rest)
}
