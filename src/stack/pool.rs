//! Last in, first out: what was used last is warm in the cache and has its pages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How many of a size [`Pool::trim`] leaves in any case.
const KEPT: usize = 16;

/// How many each pool of the process has.
static POOLED: Mutex<Vec<Weak<AtomicUsize>>> = Mutex::new(Vec::new());

/// How many things all pools have together.
pub(super) fn pooled() -> usize {
    let pools = POOLED.lock().unwrap_or_else(PoisonError::into_inner);
    let pools = pools.iter().filter_map(Weak::upgrade);
    pools.map(|idle| idle.load(Ordering::Relaxed)).sum()
}

/// Idle things that own a stack, sorted by the size of it.
///
/// Programs use very few stack sizes, so a short list of shelves that is searched beats a map.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    shelves: Vec<Shelf<T>>,
    /// Changed by the owner alone.
    idle: Arc<AtomicUsize>,
    max_idle: usize,
}

#[derive(Debug)]
struct Shelf<T> {
    stack_size: usize,
    items: Vec<T>,
    /// The least that there were since the last trimming.
    least: usize,
}

impl<T> Pool<T> {
    /// A pool that keeps at most `max_idle` things, all sizes together.
    pub(crate) fn new(max_idle: usize) -> Self {
        let idle = Arc::new(AtomicUsize::new(0));
        let mut pools = POOLED.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|other| other.strong_count() > 0);
        pools.push(Arc::downgrade(&idle));
        Pool {
            shelves: Vec::new(),
            idle,
            max_idle,
        }
    }

    /// The one that was put back last, of those with that stack size.
    pub(crate) fn take(&mut self, stack_size: usize) -> Option<T> {
        let shelf = self.shelves.iter_mut().find(|shelf| shelf.stack_size == stack_size)?;
        let item = shelf.items.pop()?;
        shelf.least = shelf.least.min(shelf.items.len());
        self.idle.store(self.len() - 1, Ordering::Relaxed);
        Some(item)
    }

    /// Keeps `item`, or hands it back when the pool is full.
    pub(crate) fn put(&mut self, stack_size: usize, item: T) -> Result<(), T> {
        if self.len() == self.max_idle {
            return Err(item);
        }
        self.idle.store(self.len() + 1, Ordering::Relaxed);
        match self.shelves.iter_mut().find(|shelf| shelf.stack_size == stack_size) {
            Some(shelf) => shelf.items.push(item),
            None => self.shelves.push(Shelf {
                stack_size,
                items: vec![item],
                least: 0,
            }),
        }
        Ok(())
    }

    /// How many it holds.
    pub(crate) fn len(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }

    /// Takes out what was not wanted since this was last called, the coldest, but for a few.
    pub(crate) fn trim(&mut self) -> Vec<T> {
        let mut unwanted = Vec::new();
        for shelf in &mut self.shelves {
            let count = shelf.least.min(shelf.items.len().saturating_sub(KEPT));
            unwanted.extend(shelf.items.drain(..count));
            shelf.least = shelf.items.len();
        }
        self.idle.store(self.len() - unwanted.len(), Ordering::Relaxed);
        unwanted
    }

    /// Takes out all that it holds.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.idle.store(0, Ordering::Relaxed);
        let shelves = self.shelves.iter_mut();
        shelves
            .flat_map(|shelf| {
                shelf.least = 0;
                shelf.items.drain(..)
            })
            .collect()
    }

    /// Whether [`trim`](Pool::trim) may have something to take out, now or later.
    pub(crate) fn is_trimmable(&self) -> bool {
        self.shelves.iter().any(|shelf| shelf.items.len() > KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_the_last_of_the_same_size() {
        let mut pool = Pool::new(10);
        for (size, item) in [(16, 'a'), (64, 'b'), (16, 'c')] {
            pool.put(size, item).unwrap();
        }
        assert_eq!(pool.take(16), Some('c'));
        assert_eq!(pool.take(16), Some('a'));
        assert_eq!(pool.take(16), None);
        assert_eq!(pool.take(32), None);
        assert_eq!(pool.take(64), Some('b'));
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn refuses_what_exceeds_its_bound() {
        let mut pool = Pool::new(2);
        pool.put(16, 1).unwrap();
        pool.put(32, 2).unwrap();
        assert_eq!(pool.put(16, 3), Err(3));
        assert_eq!(pool.take(32), Some(2));
        pool.put(16, 4).unwrap();
        assert_eq!(pool.len(), 2);
    }

    #[test]
    fn what_was_wanted_of_late_is_not_trimmed() {
        let mut pool = Pool::new(1000);
        for item in 0..100 {
            pool.put(16, item).unwrap();
        }
        assert!(pool.is_trimmable());
        assert_eq!(pool.trim(), [], "it was empty a moment ago");
        // Sixty are wanted at a time, in the next interval.
        let wanted: Vec<_> = (0..60).map(|_| pool.take(16).unwrap()).collect();
        for item in wanted.into_iter().rev() {
            pool.put(16, item).unwrap();
        }
        let trimmed = pool.trim();
        assert_eq!(trimmed, (0..40).collect::<Vec<_>>(), "the coldest");
        assert_eq!(pool.trim().len(), 60 - KEPT);
        assert_eq!(pool.trim(), []);
        assert!(!pool.is_trimmable());
        assert_eq!(pool.len(), KEPT);
        assert_eq!(pool.take(16), Some(99));
    }
}
