//! Who is there, and what is said.

use std::collections::BTreeMap;
use std::sync::Arc;

use kapok::sync::broadcast::{self, Receiver, Sender};
use kapok::sync::{Mutex, MutexGuard, PoisonError};

/// Longest name.
const NAME_MAX: usize = 20;

pub(crate) struct Room {
    said: Sender<Said>,
    /// Names, and the numbers of the guests who have them.
    guests: Mutex<BTreeMap<Arc<str>, u64>>,
}

/// A line, and who is to read it.
#[derive(Clone)]
pub(crate) struct Said {
    to: To,
    line: Arc<str>,
}

#[derive(Clone, Copy)]
enum To {
    AllBut(u64),
    Only(u64),
    /// It leaves, and hears nothing more.
    Leaving(u64),
}

/// A guest's place in the room, given up when this is dropped.
pub(crate) struct Seat<'r> {
    room: &'r Room,
    id: u64,
    name: Arc<str>,
}

impl Room {
    /// A room in which the last `backlog` lines are kept for those who read slowly.
    pub(crate) fn new(backlog: usize) -> Room {
        Room {
            said: broadcast::channel(backlog).0,
            guests: Mutex::default(),
        }
    }

    /// Lets a guest in, under a name that is free; and what is said from then on.
    pub(crate) fn enter(&self, id: u64) -> (Seat<'_>, Receiver<Said>) {
        let mut guests = self.guests();
        let mut name: Arc<str> = format!("guest{id}").into();
        while guests.contains_key(&name) {
            // Somebody has taken it for a joke.
            name = format!("{name}_").into();
        }
        guests.insert(Arc::clone(&name), id);
        // Under the lock: who is seen by `/who` hears what follows.
        let heard = self.said.subscribe();
        self.say(To::AllBut(id), format!("* {name} joins"));
        drop(guests);
        (Seat { room: self, id, name }, heard)
    }

    fn say(&self, to: To, line: String) {
        // Where nobody is, nobody hears it.
        drop(self.said.send(Said { to, line: line.into() }));
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, u64>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// Appends the line if this guest is to read it. Whether it is the last one.
    pub(crate) fn add_to(&self, lines: &mut String, id: u64) -> bool {
        let (is_for_it, is_last) = match self.to {
            To::AllBut(other) => (other != id, false),
            To::Only(one) => (one == id, false),
            To::Leaving(one) => (one == id, one == id),
        };
        if is_for_it {
            lines.push_str(&self.line);
            lines.push('\n');
        }
        is_last
    }
}

impl Seat<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn say(&self, text: &str) {
        self.room.say(To::AllBut(self.id), format!("<{}> {text}", self.name));
    }

    /// Tells one other guest; the reason, if that cannot be.
    pub(crate) fn whisper(&self, name: &str, text: &str) -> Result<(), String> {
        let id = self.room.guests().get(name).copied();
        let id = id.ok_or_else(|| format!("nobody here is called {name}"))?;
        self.room.say(To::Only(id), format!("<{} to you> {text}", self.name));
        Ok(())
    }

    /// Takes another name; the reason, if that cannot be.
    pub(crate) fn rename(&mut self, name: &str) -> Result<(), String> {
        let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        if name.is_empty() || name.len() > NAME_MAX || !is_name(name) {
            return Err(format!("a name is up to {NAME_MAX} letters, digits, - and _"));
        }
        let mut guests = self.room.guests();
        match guests.get(name) {
            Some(id) if *id == self.id => return Ok(()),
            Some(_) => return Err(format!("somebody else is called {name}")),
            None => {}
        }
        guests.remove(&self.name);
        let before = std::mem::replace(&mut self.name, name.into());
        guests.insert(Arc::clone(&self.name), self.id);
        drop(guests);
        self.room
            .say(To::AllBut(self.id), format!("* {before} is now {}", self.name));
        Ok(())
    }

    /// Tells this guest something, after which there is nothing to hear.
    pub(crate) fn last_word(&self, text: &str) {
        self.room.say(To::Leaving(self.id), text.to_owned());
    }

    /// The names of all who are here.
    pub(crate) fn who(&self) -> Vec<Arc<str>> {
        self.room.guests().keys().cloned().collect()
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.room.guests().remove(&self.name);
        self.room.say(To::AllBut(self.id), format!("* {} leaves", self.name));
    }
}
