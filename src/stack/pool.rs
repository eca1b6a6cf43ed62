//! Last in, first out: what was used last is warm in the cache and has its pages.

/// Idle things that own a stack, sorted by the size of it.
///
/// Programs use very few stack sizes, so a short list of shelves that is searched beats a map.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    shelves: Vec<Shelf<T>>,
    idle: usize,
    max_idle: usize,
}

#[derive(Debug)]
struct Shelf<T> {
    stack_size: usize,
    items: Vec<T>,
}

impl<T> Pool<T> {
    /// A pool that keeps at most `max_idle` things, all sizes together.
    pub(crate) fn new(max_idle: usize) -> Self {
        Pool {
            shelves: Vec::new(),
            idle: 0,
            max_idle,
        }
    }

    /// The one that was put back last, of those with that stack size.
    pub(crate) fn take(&mut self, stack_size: usize) -> Option<T> {
        let item = self
            .shelves
            .iter_mut()
            .find(|shelf| shelf.stack_size == stack_size)?
            .items
            .pop();
        self.idle -= usize::from(item.is_some());
        item
    }

    /// Keeps `item`, or hands it back when the pool is full.
    pub(crate) fn put(&mut self, stack_size: usize, item: T) -> Result<(), T> {
        if self.idle == self.max_idle {
            return Err(item);
        }
        self.idle += 1;
        match self.shelves.iter_mut().find(|shelf| shelf.stack_size == stack_size) {
            Some(shelf) => shelf.items.push(item),
            None => self.shelves.push(Shelf {
                stack_size,
                items: vec![item],
            }),
        }
        Ok(())
    }

    /// How many it holds.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.idle
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
}
