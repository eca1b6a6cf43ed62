//! What child processes get of the stacks of this one: those around their own victim's, and the caller's.
//!
//! To copy the page tables of a million stacks takes the better part of a second, for each child.

use std::io;
use std::ops::Range;

/// The mappings that fibers' stacks lie in, which children do not get.
pub(crate) struct Stacks {
    mappings: Vec<Range<usize>>,
    /// What all children get: the caller's stack, and its signal stack, which may lie in the same mapping.
    own: [Range<usize>; 2],
    /// How much of a mapping on either side of a place.
    around: usize,
}

impl Stacks {
    /// Withholds from child processes all mappings that one of these places, sorted by address, lies in: with guards that take none of
    /// their own, those are all the large ones. The caller's own stack stays theirs.
    pub(crate) fn withhold(places: &[usize], stack_size: usize) -> io::Result<Stacks> {
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        let has_place = |range: &Range<usize>| {
            let next = places.partition_point(|place| *place < range.start);
            places.get(next).is_some_and(|place| range.contains(place))
        };
        let mut mappings: Vec<Range<usize>> = Vec::new();
        let mut is_stack = false;
        for (range, is_guard) in maps.lines().filter_map(mapping) {
            let continues = mappings.last().is_some_and(|last| last.end == range.start);
            // A guard may have a mapping of its own.
            is_stack = has_place(&range) || is_guard && is_stack && continues;
            match mappings.last_mut() {
                Some(last) if is_stack && continues => last.end = range.end,
                _ if is_stack => mappings.push(range),
                _ => {}
            }
        }
        let here = 0_u8;
        let here = (&raw const here).addr();
        let around = 8 * (stack_size + PAGE);
        let stacks = Stacks {
            mappings,
            own: [
                here - kapok::stack::DEFAULT_SIZE..here + kapok::stack::DEFAULT_SIZE,
                signal_stack()?,
            ],
            around,
        };
        for mapping in &stacks.mappings {
            advise(mapping, libc::MADV_DONTFORK)?;
        }
        stacks.give_own()?;
        Ok(stacks)
    }

    /// Calls `f`, which makes a child that has the stacks around this place.
    pub(crate) fn with<T>(&self, place: usize, f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let around = place.saturating_sub(self.around)..place + self.around;
        self.give(&around, libc::MADV_DOFORK)?;
        let result = f();
        self.give(&around, libc::MADV_DONTFORK)?;
        self.give_own()?;
        result
    }

    fn give_own(&self) -> io::Result<()> {
        self.own.iter().try_for_each(|own| self.give(own, libc::MADV_DOFORK))
    }

    /// What lies of that range in the mappings of stacks.
    fn give(&self, range: &Range<usize>, advice: i32) -> io::Result<()> {
        for mapping in &self.mappings {
            let part = mapping.start.max(range.start & !(PAGE - 1))..mapping.end.min(range.end & !(PAGE - 1));
            if !part.is_empty() {
                advise(&part, advice)?;
            }
        }
        Ok(())
    }
}

const PAGE: usize = 4096;

/// Where handlers of this thread run, with its pages whole.
fn signal_stack() -> io::Result<Range<usize>> {
    let mut now = std::mem::MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: asks, into a place for the answer.
    if unsafe { libc::sigaltstack(std::ptr::null(), now.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled in.
    let now = unsafe { now.assume_init() };
    let start = now.ss_sp.addr();
    Ok(start & !(PAGE - 1)..(start + now.ss_size).next_multiple_of(PAGE))
}

/// The addresses of a line, and whether it may be a guard.
fn mapping(line: &str) -> Option<(Range<usize>, bool)> {
    let mut words = line.split(' ');
    let (start, end) = words.next()?.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let is_guard = words.next()?.starts_with("---") && range.len() == PAGE;
    Some((range, is_guard))
}

fn advise(range: &Range<usize>, advice: i32) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: it concerns child processes alone.
    match unsafe { libc::madvise(start, range.len(), advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
