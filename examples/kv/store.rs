//! What is kept: strings by keys, in shards with a lock each, so that workers seldom meet. Some are kept for a time only.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kapok::fiber;
use kapok::sync::{Mutex, MutexGuard, PoisonError};

/// How often to look for what has expired. What is asked for before that is found to have expired, too.
const SWEEP: Duration = Duration::from_millis(100);
/// How much of that is removed at a time, before others have their turn.
const SWEPT_AT_ONCE: usize = 1000;

/// A power of two.
const SHARDS: usize = 64;

pub(crate) struct Store {
    shards: Box<[Shard]>,
}

/// No two in one cache line.
#[repr(align(128))]
struct Shard(Mutex<Keys>);

/// Several shards, locked at once.
pub(crate) struct Locked<'a>(Vec<Option<MutexGuard<'a, Keys>>>);

/// The keys of one shard.
#[derive(Default)]
pub(crate) struct Keys {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// When what expires, the first one first.
    expiring: BTreeSet<(Instant, Arc<[u8]>)>,
}

struct Entry {
    value: Vec<u8>,
    expires: Option<Instant>,
}

/// For how long a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    ForEver,
    Until(Instant),
    /// As the value that was there before.
    AsBefore,
}

impl Store {
    pub(crate) fn new() -> Store {
        Store {
            shards: (0..SHARDS).map(|_| Shard(Mutex::default())).collect(),
        }
    }

    /// The keys of the shard that this one belongs to.
    pub(crate) fn of(&self, key: &[u8]) -> MutexGuard<'_, Keys> {
        self.lock(place_of(key))
    }

    /// The shards of all these keys: several keys may be changed, and nobody sees a part of it.
    pub(crate) fn of_all<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Locked<'_> {
        let mut wanted = [false; SHARDS];
        keys.for_each(|key| wanted[place_of(key)] = true);
        // Always in the same order: two who want the same shards do not wait for each other.
        Locked(
            wanted
                .into_iter()
                .enumerate()
                .map(|(i, wanted)| wanted.then(|| self.lock(i)))
                .collect(),
        )
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        let now = Instant::now();
        (0..SHARDS).map(|i| self.lock(i).len(now)).sum()
    }

    /// How many keys there are that expire.
    pub(crate) fn expiring(&self) -> usize {
        (0..SHARDS).map(|i| self.lock(i).expiring.len()).sum()
    }

    /// The keys that a function is true of.
    pub(crate) fn keys(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<Arc<[u8]>> {
        let now = Instant::now();
        let mut found = Vec::new();
        for i in 0..SHARDS {
            let keys = self.lock(i);
            let alive = keys.entries.iter().filter(|(_, entry)| entry.is_alive(now));
            found.extend(alive.map(|(key, _)| key).filter(|key| is_wanted(key)).cloned());
            drop(keys);
            // It may take long, and fibers are not preempted.
            fiber::yield_now();
        }
        found
    }

    pub(crate) fn clear(&self) {
        // Those who write meanwhile come before it or after it, not in between.
        let mut guards: Vec<_> = (0..SHARDS).map(|i| self.lock(i)).collect();
        let all: Vec<Keys> = guards.iter_mut().map(|keys| std::mem::take(&mut **keys)).collect();
        drop(guards);
        drop(all);
    }

    /// Removes what has expired, for ever.
    pub(crate) fn sweep(&self) {
        loop {
            fiber::sleep(SWEEP);
            for i in 0..SHARDS {
                while self.lock(i).remove_expired(Instant::now()) == SWEPT_AT_ONCE {
                    fiber::yield_now();
                }
            }
        }
    }

    fn lock(&self, place: usize) -> MutexGuard<'_, Keys> {
        // Each change is whole before anything can panic.
        self.shards[place].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which shard has that key (FNV-1a). The map within it has a hash of its own, which nobody can foresee.
fn place_of(key: &[u8]) -> usize {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::from((hash >> 32).to_le_bytes()[0]) % SHARDS
}

impl Locked<'_> {
    pub(crate) fn of(&mut self, key: &[u8]) -> &mut Keys {
        self.0[place_of(key)].as_mut().expect("it is one of those keys")
    }
}

impl Keys {
    pub(crate) fn get(&mut self, key: &[u8], now: Instant) -> Option<&[u8]> {
        self.remove_if_expired(key, now);
        self.entries.get(key).map(|entry| &*entry.value)
    }

    /// When it expires, if it is there.
    pub(crate) fn expires(&mut self, key: &[u8], now: Instant) -> Option<Option<Instant>> {
        self.remove_if_expired(key, now);
        self.entries.get(key).map(|entry| entry.expires)
    }

    pub(crate) fn set(&mut self, key: &[u8], value: Vec<u8>, keep: Keep, now: Instant) {
        self.remove_if_expired(key, now);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.value = value;
        } else {
            self.entries.insert(Arc::from(key), Entry { value, expires: None });
        }
        match keep {
            Keep::AsBefore => {}
            Keep::ForEver => drop(self.expire(key, None)),
            Keep::Until(at) => drop(self.expire(key, Some(at))),
        }
    }

    /// The value, to be changed; a new one is empty, and kept for ever.
    pub(crate) fn value_mut(&mut self, key: &[u8], now: Instant) -> &mut Vec<u8> {
        self.remove_if_expired(key, now);
        let new = || Entry {
            value: Vec::new(),
            expires: None,
        };
        // Most of the time it is there, and needs no key of its own.
        if !self.entries.contains_key(key) {
            self.entries.insert(Arc::from(key), new());
        }
        &mut self.entries.get_mut(key).expect("it is there").value
    }

    /// Removes it; gives its value if it was there.
    pub(crate) fn remove(&mut self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        self.remove_if_expired(key, now);
        self.take(key)
    }

    /// Sets when it expires, if it is there, and gives when it would have.
    pub(crate) fn expire(&mut self, key: &[u8], at: Option<Instant>) -> Option<Option<Instant>> {
        // Most keys never expire.
        let entry = self.entries.get_mut(key)?;
        let before = std::mem::replace(&mut entry.expires, at);
        if before != at {
            let (key, _) = self.entries.get_key_value(key)?;
            if let Some(before) = before {
                self.expiring.remove(&(before, Arc::clone(key)));
            }
            if let Some(at) = at {
                self.expiring.insert((at, Arc::clone(key)));
            }
        }
        Some(before)
    }

    fn len(&self, now: Instant) -> usize {
        let expired = self.expiring.iter().take_while(|(at, _)| *at <= now).count();
        self.entries.len() - expired
    }

    fn take(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let (key, entry) = self.entries.remove_entry(key)?;
        if let Some(at) = entry.expires {
            self.expiring.remove(&(at, key));
        }
        Some(entry.value)
    }

    fn remove_if_expired(&mut self, key: &[u8], now: Instant) {
        // Nothing expires here, as a rule.
        if self.expiring.first().is_some_and(|(at, _)| *at <= now)
            && self.entries.get(key).is_some_and(|entry| !entry.is_alive(now))
        {
            drop(self.take(key));
        }
    }

    /// Removes some of what has expired, and says how much.
    fn remove_expired(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while count < SWEPT_AT_ONCE && self.expiring.first().is_some_and(|(at, _)| *at <= now) {
            let (_, key) = self.expiring.pop_first().expect("there is a first one");
            self.entries.remove(&key);
            count += 1;
        }
        count
    }
}

impl Entry {
    fn is_alive(&self, now: Instant) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}
