//! What is kept: strings by keys, in shards with a lock each, so that workers seldom meet. Some are kept for a time only.
//!
//! Each change is recorded in the log, if there is one, under the lock that it was made under: what is recorded is in the order in
//! which it was done, as far as that can be told.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kapok::fiber;
use kapok::sync::{Mutex, MutexGuard, PoisonError};

use crate::aof::Log;

/// How often to look for what has expired. What is asked for before that is found to have expired, too.
const SWEEP: Duration = Duration::from_millis(100);
/// How much of that is removed at a time, before others have their turn.
const SWEPT_AT_ONCE: usize = 1000;

/// A power of two.
const SHARDS: usize = 64;

/// Milliseconds since 1970, as clients and the log have it.
pub(crate) type Time = i64;
/// Before all times: nothing has expired then.
pub(crate) const DAWN: Time = Time::MIN;

pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::try_from(since.as_millis()).unwrap_or(Time::MAX)
}

pub(crate) struct Store {
    shards: Box<[Shard]>,
    log: OnceLock<Arc<Log>>,
}

/// No two in one cache line.
#[repr(align(128))]
struct Shard(Mutex<Keys>);

/// Several shards, locked at once.
pub(crate) struct Locked<'a>(Vec<Option<MutexGuard<'a, Keys>>>, Option<&'a Log>);

/// The keys of one shard.
#[derive(Default)]
pub(crate) struct Keys {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// When what expires, the first one first.
    expiring: BTreeSet<(Time, Arc<[u8]>)>,
    log: Option<Arc<Log>>,
}

struct Entry {
    value: Vec<u8>,
    expires: Option<Time>,
}

/// For how long a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    ForEver,
    Until(Time),
    /// As the value that was there before.
    AsBefore,
}

impl Store {
    pub(crate) fn new() -> Store {
        Store {
            shards: (0..SHARDS).map(|_| Shard(Mutex::default())).collect(),
            log: OnceLock::new(),
        }
    }

    /// From here on, changes are recorded.
    pub(crate) fn record_in(&self, log: &Arc<Log>) {
        (0..SHARDS).for_each(|i| self.lock(i).log = Some(Arc::clone(log)));
        self.log.get_or_init(|| Arc::clone(log));
    }

    pub(crate) fn log(&self) -> Option<&Log> {
        self.log.get().map(|log| &**log)
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
            self.log(),
        )
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        let now = now();
        (0..SHARDS).map(|i| self.lock(i).len(now)).sum()
    }

    /// How many keys there are that expire.
    pub(crate) fn expiring(&self) -> usize {
        (0..SHARDS).map(|i| self.lock(i).expiring.len()).sum()
    }

    /// The keys that a function is true of.
    pub(crate) fn keys(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<Arc<[u8]>> {
        let now = now();
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
        let all: Vec<_> = guards
            .iter_mut()
            .map(|keys| (std::mem::take(&mut keys.entries), std::mem::take(&mut keys.expiring)))
            .collect();
        if let Some(log) = self.log() {
            log.record(&[b"FLUSHALL"]);
        }
        drop(guards);
        drop(all);
    }

    /// Removes what has expired, for ever.
    pub(crate) fn sweep(&self) {
        loop {
            fiber::sleep(SWEEP);
            for i in 0..SHARDS {
                while self.lock(i).remove_expired(now()) == SWEPT_AT_ONCE {
                    fiber::yield_now();
                }
            }
            // Who writes next tries again, and says so if it fails.
            let _later = self.log().map(Log::commit);
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

    /// Sets all, for ever: one record, so that no half of it is ever found there.
    pub(crate) fn set_all<'k>(&mut self, pairs: impl Iterator<Item = (&'k [u8], &'k [u8])> + Clone, now: Time) {
        for (key, value) in pairs.clone() {
            let keys = self.of(key);
            keys.put(key, value.to_vec(), now);
            keys.set_expiry(key, None);
        }
        if let Some(log) = self.1 {
            let words: Vec<_> = pairs.flat_map(|(key, value)| [key, value]).collect();
            log.record(&[&[b"MSET".as_slice()], &*words].concat());
        }
    }
}

impl Keys {
    pub(crate) fn get(&mut self, key: &[u8], now: Time) -> Option<&[u8]> {
        self.remove_if_expired(key, now);
        self.entries.get(key).map(|entry| &*entry.value)
    }

    /// When it expires, if it is there.
    pub(crate) fn expires(&mut self, key: &[u8], now: Time) -> Option<Option<Time>> {
        self.remove_if_expired(key, now);
        self.entries.get(key).map(|entry| entry.expires)
    }

    /// Sets it, and gives what was there.
    pub(crate) fn set(&mut self, key: &[u8], value: Vec<u8>, keep: Keep, now: Time) -> Option<Vec<u8>> {
        if matches!(keep, Keep::Until(at) if at <= now) {
            return self.remove(key, now);
        }
        // Before it is recorded: its removal is recorded, too.
        self.remove_if_expired(key, now);
        if let Some(log) = &self.log {
            match keep {
                Keep::AsBefore => log.record(&[b"SET", key, &value, b"KEEPTTL"]),
                Keep::ForEver => log.record(&[b"SET", key, &value]),
                Keep::Until(at) => log.record(&[b"SET", key, &value, b"PXAT", at.to_string().as_bytes()]),
            }
        }
        let before = self.put(key, value, now);
        match keep {
            Keep::AsBefore => {}
            Keep::ForEver => drop(self.set_expiry(key, None)),
            Keep::Until(at) => drop(self.set_expiry(key, Some(at))),
        }
        before
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>, now: Time) -> Option<Vec<u8>> {
        self.remove_if_expired(key, now);
        if let Some(entry) = self.entries.get_mut(key) {
            // Most of the time it is there, and needs no key of its own.
            return Some(std::mem::replace(&mut entry.value, value));
        }
        self.entries.insert(Arc::from(key), Entry { value, expires: None });
        None
    }

    /// Puts more behind a value, unless it becomes longer than that, and gives its length; a new one is kept for ever.
    pub(crate) fn append(&mut self, key: &[u8], more: &[u8], longest: usize, now: Time) -> Option<usize> {
        self.remove_if_expired(key, now);
        let length = self.entries.get(key).map_or(0, |entry| entry.value.len()) + more.len();
        if length > longest {
            return None;
        }
        if let Some(log) = &self.log {
            log.record(&[b"APPEND", key, more]);
        }
        match self.entries.get_mut(key) {
            Some(entry) => entry.value.extend_from_slice(more),
            None => drop(self.put(key, more.to_vec(), now)),
        }
        Some(length)
    }

    /// Removes it; gives its value if it was there.
    pub(crate) fn remove(&mut self, key: &[u8], now: Time) -> Option<Vec<u8>> {
        self.remove_if_expired(key, now);
        let value = self.take(key)?;
        self.record_removed(key);
        Some(value)
    }

    /// Sets when it expires, which it does at once in the past; false if it is not there.
    pub(crate) fn expire(&mut self, key: &[u8], at: Option<Time>, now: Time) -> bool {
        self.remove_if_expired(key, now);
        if !self.entries.contains_key(key) {
            return false;
        }
        if at.is_some_and(|at| at <= now) {
            drop(self.remove(key, now));
            return true;
        }
        if let Some(log) = &self.log {
            match at {
                Some(at) => log.record(&[b"PEXPIREAT", key, at.to_string().as_bytes()]),
                None => log.record(&[b"PERSIST", key]),
            }
        }
        self.set_expiry(key, at);
        true
    }

    /// Gives when it would have expired before, if it is there.
    fn set_expiry(&mut self, key: &[u8], at: Option<Time>) -> Option<Option<Time>> {
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

    fn record_removed(&self, key: &[u8]) {
        if let Some(log) = &self.log {
            log.record(&[b"DEL", key]);
        }
    }

    fn len(&self, now: Time) -> usize {
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

    fn remove_if_expired(&mut self, key: &[u8], now: Time) {
        // Nothing expires here, as a rule.
        if self.expiring.first().is_some_and(|(at, _)| *at <= now)
            && self.entries.get(key).is_some_and(|entry| !entry.is_alive(now))
        {
            drop(self.take(key));
            // Who replays the log does not look at the clock.
            self.record_removed(key);
        }
    }

    /// Removes some of what has expired, and says how much.
    fn remove_expired(&mut self, now: Time) -> usize {
        let mut count = 0;
        while count < SWEPT_AT_ONCE && self.expiring.first().is_some_and(|(at, _)| *at <= now) {
            let (_, key) = self.expiring.pop_first().expect("there is a first one");
            self.entries.remove(&key);
            self.record_removed(&key);
            count += 1;
        }
        count
    }
}

impl Entry {
    fn is_alive(&self, now: Time) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}
