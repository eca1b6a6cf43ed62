//! How much of its stack a fiber has really used, by where it was spawned.
//!
//! ```text
//!   low                                                                        high
//!   +-------+--------------------------------------------+---------------------+
//!   | guard | cleared before the fiber's work begins:    | the runtime's frames|
//!   |       | given back (pages), or filled (paint)      |                     |
//!   +-------+--------------------------------------------+---------------------+
//!                     ^ the lowest page with memory, or the lowest byte
//!                       that has changed, when it has ended
//! ```
//!
//! A stack was used by others before, so nothing is known of one that was not cleared. That costs system calls, or a page of
//! memory for each page: not every fiber is measured.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::panic::Location;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::touched::lowest_touched;
use super::{MAX_SIZE, MIN_SIZE, Stack, map, size_class};
use crate::sys::page_size;

/// How it is found out what fibers use of their stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Measure {
    /// Which pages have memory, or are swapped out, see
    /// [`proc_pid_pagemap(5)`](https://man7.org/linux/man-pages/man5/proc_pid_pagemap.5.html): to the page. Where that file cannot be
    /// read, it is [`mincore(2)`](https://man7.org/linux/man-pages/man2/mincore.2.html), which does not know of pages that are swapped out;
    /// where neither can be told, as outside of Linux, it is [`Paint`](Measure::Paint).
    Pages,
    /// What has changed of a stack that was filled with a pattern: to a few bytes. A fiber that is measured takes memory for the whole
    /// of its stack.
    Paint,
}

impl Measure {
    /// The name by which `KAPOK_STACK_USAGE` knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Measure::Pages => "pages",
            Measure::Paint => "paint",
        }
    }

    /// What `KAPOK_STACK_USAGE` says.
    pub(crate) fn from_env() -> io::Result<Option<Measure>> {
        match std::env::var_os("KAPOK_STACK_USAGE") {
            Some(name) => Measure::named(&name.to_string_lossy()),
            None => Ok(None),
        }
    }

    fn named(name: &str) -> io::Result<Option<Measure>> {
        match name {
            "" | "off" => Ok(None),
            "pages" => Ok(Some(Measure::Pages)),
            "paint" => Ok(Some(Measure::Paint)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("KAPOK_STACK_USAGE: there is no {name:?}; there are off, pages and paint"),
            )),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What fibers have used of their stacks. See [`usage`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Those that use most come first.
    pub sites: Vec<SiteUsage>,
}

/// What the fibers that were spawned at one place have used of their stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteUsage {
    /// `None` is the first fiber of a runtime.
    pub spawned_at: Option<&'static Location<'static>>,
    /// How many fibers have begun there.
    pub fibers: u64,
    /// How many of them were measured.
    pub measured: u64,
    /// The bytes that half of those stayed within, counted from the high end of the stack: the runtime's own included.
    pub p50: usize,
    /// The most bytes that one of them has used.
    pub max: usize,
    /// The size of their stacks; of several, the largest.
    pub stack_size: usize,
    /// A size that leaves room: half as much again as the most that was used, and 8 KiB for the handler of a signal; as
    /// [`fiber::Builder::stack_size`](crate::fiber::Builder::stack_size) takes it.
    pub recommended: usize,
}

/// What fibers have used of their stacks so far, by where they were spawned: those that have ended, of all runtimes that measure.
///
/// To be asked for by `KAPOK_STACK_USAGE`, `pages` or `paint`, or by [`runtime::Builder::stack_usage`]; nothing is measured
/// otherwise. Of each place the first 64 fibers are measured, and then one in 64. The result prints as a table.
///
/// [`runtime::Builder::stack_usage`]: crate::runtime::Builder::stack_usage
///
/// ```
/// use kapok::{runtime::Builder, stack};
///
/// Builder::new().stack_usage(stack::Measure::Paint).run(|| {
///     kapok::spawn(|| format!("{:.3}", 1.0 / 3.0)).join().unwrap();
/// })?;
/// let usage = stack::usage();
/// assert!(usage.sites.iter().any(|site| site.spawned_at.is_some() && site.max < stack::MIN_SIZE));
/// println!("{usage}");
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn usage() -> Usage {
    // The compiler may have made several of one place.
    let mut places: BTreeMap<Option<&'static Location<'static>>, Site> = BTreeMap::new();
    for (_, site) in lock().iter() {
        places.entry(site.spawned_at).or_default().add(site);
    }
    let mut sites: Vec<SiteUsage> = places.into_values().filter_map(Site::summary).collect();
    sites.sort_by_key(|site| std::cmp::Reverse(site.max));
    Usage { sites }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.sites.iter().map(SiteUsage::name).collect();
        let width = names.iter().map(String::len).max().unwrap_or(0).max("spawned at".len());
        write!(
            f,
            "{:<width$} {:>10} {:>8} {:>10} {:>10} {:>10} {:>11}",
            "spawned at", "fibers", "measured", "p50", "max", "stack", "recommended"
        )?;
        for (name, site) in names.iter().zip(&self.sites) {
            write!(
                f,
                "\n{name:<width$} {:>10} {:>8} {:>10} {:>10} {:>10} {:>11}",
                site.fibers, site.measured, site.p50, site.max, site.stack_size, site.recommended
            )?;
        }
        Ok(())
    }
}

impl SiteUsage {
    fn name(&self) -> String {
        self.spawned_at
            .map_or_else(|| "(the first of a runtime)".to_owned(), ToString::to_string)
    }
}

/// What is known of a place.
#[derive(Clone, Debug, Default)]
struct Site {
    spawned_at: Option<&'static Location<'static>>,
    fibers: u64,
    stack_size: usize,
    /// How often so many bytes were used, rounded up.
    used: BTreeMap<usize, u64>,
}

/// By the address of the place.
static SITES: Mutex<BTreeMap<usize, Site>> = Mutex::new(BTreeMap::new());

fn lock() -> MutexGuard<'static, BTreeMap<usize, Site>> {
    // Nothing panics under the lock.
    SITES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of each place so many fibers are measured, the first ones, and then one in as many.
const SAMPLE: u64 = 64;

/// What is known is known to so many bytes, so that there are not too many different figures.
const STEP: usize = 64;

impl Site {
    /// Counts a fiber; whether to measure it.
    fn count(&mut self) -> bool {
        self.fibers += 1;
        self.fibers <= SAMPLE || self.fibers % SAMPLE == 0
    }

    fn add(&mut self, other: &Site) {
        self.spawned_at = other.spawned_at;
        self.fibers += other.fibers;
        self.stack_size = self.stack_size.max(other.stack_size);
        for (bytes, count) in &other.used {
            *self.used.entry(*bytes).or_default() += count;
        }
    }

    /// `None` where no fiber that was measured has ended.
    fn summary(self) -> Option<SiteUsage> {
        let max = *self.used.last_key_value()?.0;
        let measured: u64 = self.used.values().sum();
        let mut so_far = 0;
        let half = self.used.iter().find(|(_, count)| {
            so_far += **count;
            so_far >= measured.div_ceil(2)
        });
        Some(SiteUsage {
            spawned_at: self.spawned_at,
            fibers: self.fibers,
            measured,
            p50: half.map_or(max, |(bytes, _)| *bytes),
            max,
            stack_size: self.stack_size,
            recommended: size_class((max + max / 2 + (8 << 10)).clamp(MIN_SIZE, MAX_SIZE)),
        })
    }
}

/// A fiber that is being measured, on whose stack this lies.
#[derive(Debug)]
pub(crate) struct Measuring {
    how: Measure,
    site: usize,
    /// What was cleared.
    below: Range<usize>,
    high: usize,
}

/// What the frames of what is called here may have below the first of them: no fiber is told to have used less.
const MARGIN: usize = if cfg!(debug_assertions) { 2048 } else { 512 };

/// What an untouched word of a painted stack has.
const PAINT: u64 = 0x5a1d_ca5e_5a1d_ca5e;

impl Measuring {
    /// Begins, if the fiber is one of those to be measured: clears what lies below the caller's frame of the stack that it is on.
    ///
    /// # Safety
    /// The caller runs on `stack`.
    #[cold]
    pub(crate) unsafe fn begin(
        how: Measure,
        stack: &Stack,
        spawned_at: Option<&'static Location<'static>>,
    ) -> Option<Measuring> {
        let site = spawned_at.map_or(0, |place| ptr::from_ref(place).addr());
        {
            let mut sites = lock();
            let entry = sites.entry(site).or_default();
            entry.spawned_at = spawned_at;
            entry.stack_size = entry.stack_size.max(stack.size());
            if !entry.count() {
                return None;
            }
        }
        let here = 0_u64;
        let here = (&raw const here).addr();
        let low = stack.guard() + page_size();
        let high = low + stack.size();
        if !(low..high).contains(&here) {
            return None; // the compiler keeps variables elsewhere, as AddressSanitizer may
        }
        let edge = here.saturating_sub(MARGIN) & !(size_of::<u64>() - 1);
        let pages = low..edge & !(page_size() - 1);
        // SAFETY: below the frames that are in use, by the caller's promise; the margin is for this function's.
        let (how, below) = if how == Measure::Pages && unsafe { give_back(&pages) } {
            (Measure::Pages, pages)
        } else {
            // SAFETY: as above.
            unsafe { paint(&(low..edge)) };
            (Measure::Paint, low..edge)
        };
        Some(Measuring { how, site, below, high })
    }

    /// The fiber has ended: notes what it has used.
    ///
    /// # Safety
    /// The caller runs on the same stack, in the frame in which it began.
    #[cold]
    pub(crate) unsafe fn end(self) {
        let lowest = match self.how {
            Measure::Pages => lowest_touched(&self.below),
            // SAFETY: it was painted, so it can be read.
            Measure::Paint => unsafe { lowest_changed(&self.below) },
        };
        if self.how == Measure::Paint {
            let pages = self.below.start..self.below.end & !(page_size() - 1);
            // What it has taken for the paint alone.
            // SAFETY: what lies there are frames that have returned, by the caller's promise.
            unsafe { give_back(&pages) };
        }
        let used = (self.high - lowest).next_multiple_of(STEP);
        if let Some(site) = lock().get_mut(&self.site) {
            *site.used.entry(used).or_default() += 1;
        }
    }
}

/// Takes the memory of these pages away; whether they have none now.
///
/// # Safety
/// They are the caller's, and what lies there is not needed.
unsafe fn give_back(pages: &Range<usize>) -> bool {
    let Some(base) = ptr::NonNull::new(ptr::with_exposed_provenance_mut(pages.start)) else {
        return false;
    };
    // SAFETY: the caller's promise.
    pages.is_empty()
        || unsafe { map::empty(base, pages.len()) } && cfg!(any(target_os = "linux", target_os = "android"))
}

/// # Safety
/// These words are the caller's, and what lies there is not needed.
#[inline(never)]
unsafe fn paint(words: &Range<usize>) {
    for address in words.clone().step_by(size_of::<u64>()) {
        let word: *mut u64 = ptr::with_exposed_provenance_mut(address);
        // SAFETY: the caller's promise.
        unsafe { word.write_volatile(PAINT) };
    }
}

/// # Safety
/// These words can be read.
#[inline(never)]
unsafe fn lowest_changed(words: &Range<usize>) -> usize {
    let is_changed = |address: &usize| {
        let word: *const u64 = ptr::with_exposed_provenance(*address);
        // SAFETY: the caller's promise.
        unsafe { word.read_volatile() != PAINT }
    };
    let mut addresses = words.clone().step_by(size_of::<u64>());
    addresses.find(is_changed).unwrap_or(words.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_place() {
        let mut site = Site {
            stack_size: 1 << 18,
            ..Site::default()
        };
        assert_eq!(site.clone().summary(), None);
        assert_eq!((0..1_000).filter(|_| site.count()).count(), 64 + 14);
        for used in [4096, 4096, 8192, 8192, 100_032] {
            *site.used.entry(used).or_default() += 1;
        }
        let summary = site.summary().unwrap();
        assert_eq!((summary.fibers, summary.measured), (1_000, 5));
        assert_eq!((summary.p50, summary.max), (8192, 100_032));
        assert_eq!(summary.recommended, size_class(100_032 * 3 / 2 + 8192));
        let table = Usage { sites: vec![summary] }.to_string();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 2, "{table}");
        for part in ["(the first of a runtime)", "1000", "8192", "100032", "262144"] {
            assert!(lines[1].contains(part), "{table}");
        }
        assert_eq!(lines[0].len(), lines[1].len(), "{table}");
    }

    #[test]
    fn names_are_known() {
        assert_eq!(Measure::named("").unwrap(), None);
        assert_eq!(Measure::named("off").unwrap(), None);
        for how in [Measure::Pages, Measure::Paint] {
            assert_eq!(Measure::named(how.name()).unwrap(), Some(how));
        }
        let text = Measure::named("all").unwrap_err().to_string();
        assert!(text.contains("KAPOK_STACK_USAGE") && text.contains("paint"), "{text}");
    }
}
