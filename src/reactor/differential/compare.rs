//! Whether two reactors did the same.

use super::run::{Entry, Trace};

/// The first difference, in words.
pub(super) fn difference(oracle: &Trace, other: &Trace) -> Option<String> {
    let longer = oracle.entries.len().max(other.entries.len());
    let place = (0..longer).find(|&index| oracle.entries.get(index) != other.entries.get(index))?;
    let step = oracle.entries[..place.min(oracle.entries.len())]
        .iter()
        .rev()
        .find_map(|entry| match entry {
            Entry::Settled { step } => Some(format!("after what had settled at step {step}")),
            _ => None,
        })
        .unwrap_or_else(|| "at the beginning".to_owned());
    let said = |trace: &Trace| match trace.entries.get(place) {
        Some(entry) => format!("{entry:?}"),
        None => "nothing more".to_owned(),
    };
    Some(format!("{step}: poll: {}; here: {}", said(oracle), said(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_also_where_one_ends_early() {
        let trace = |steps: &[usize]| Trace {
            entries: steps.iter().map(|&step| Entry::Settled { step }).collect(),
            violation: None,
        };
        assert_eq!(difference(&trace(&[1, 2]), &trace(&[1, 2])), None);
        for (here, there) in [(&[1, 2][..], &[1][..]), (&[1], &[1, 2]), (&[1, 2], &[1, 3])] {
            let text = difference(&trace(here), &trace(there)).unwrap();
            assert!(text.contains("step 1"), "{text}");
        }
    }
}
