//! What is known of the queues: stretches of their keys of which everything that is there is remembered.
//!
//! Whoever claims looks at a queue's front again and again. What was taken from there leaves deletions behind until its
//! layer is in sled, and each look would pass over all of them and go to sled for what follows. Here is what was found
//! the last time, kept up with what was put and deleted since; and a look that comes to the end of it reads some ahead.
//!
//! Promise: of a stretch that is known, the keys that are remembered are all that there are, in whatever layer or in sled.
//! Whoever changes a key [says so](Stretches::note), under the lock under which the change becomes visible.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Mutex;

use sled::IVec;

use super::blocks::Bounds;
use super::engine::locked;
use super::keys::{self, Key, Tree};

/// Keys remembered, and stretches, of one queue tree. Beyond that all is forgotten, and learned anew.
const MOST: usize = 16_384;

/// Entries that are read where somebody comes to the end of what is known: who took the first ones takes the next.
const AHEAD: usize = 64;

/// An entry of a tree.
type Entry = (IVec, IVec);

/// What is known of the trees that are queues: their entries are keys without a value.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    verify: Mutex<Queue>,
    deliver: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Each stretch's first key, and where it ends, which is not in it. None meets another.
    ends: BTreeMap<IVec, IVec>,
    /// What is there, in all of them.
    keys: BTreeSet<IVec>,
}

/// Entries found in what is known, and from where on, or up to where, nothing is known; `None`: these are all.
type Found = (Vec<Entry>, Option<Key>);

impl Stretches {
    /// What is known of a tree; `None`: it is no queue.
    const fn of(&self, tree: Tree) -> Option<&Mutex<Queue>> {
        match tree {
            Tree::VerifyDue => Some(&self.verify),
            Tree::DeliveryDue => Some(&self.deliver),
            _ => None,
        }
    }

    /// A key was given a value, or deleted.
    pub(super) fn note(&self, tree: Tree, key: &IVec, change: Option<&IVec>) {
        let Some(queue) = self.of(tree) else { return };
        let mut queue = locked(queue);
        match change {
            None => {
                queue.keys.remove(key);
            }
            // Nobody puts such a thing in a queue; its key alone would not do.
            Some(value) if !value.is_empty() => *queue = Queue::default(),
            Some(_) if queue.is_known(key) => {
                queue.keys.insert(key.clone());
                queue.bound();
            }
            Some(_) => {}
        }
    }
}

impl Queue {
    fn is_known(&self, key: &IVec) -> bool {
        let before = self.ends.range::<IVec, _>(..=key).next_back();
        before.is_some_and(|(_, end)| key < end)
    }

    fn bound(&mut self) {
        if self.keys.len() > MOST || self.ends.len() > MOST {
            *self = Self::default();
        }
    }

    /// From a key on, up to `end`.
    fn ahead(&self, from: &[u8], end: Option<&[u8]>, limit: usize) -> Found {
        let begun = (Bound::Unbounded, Bound::Included(from));
        let stretch = self.ends.range::<[u8], _>(begun).next_back();
        let known = stretch.map(|(_, known)| known.as_ref());
        let Some(known) = known.filter(|known| from < *known) else {
            return (Vec::new(), Some(Key::of([from])));
        };
        let to = end.map_or(known, |end| end.min(known));
        let keys = self.keys.range::<[u8], _>(between(from, to));
        let found: Vec<Entry> = keys.take(limit).map(entry).collect();
        let is_all = found.len() == limit || end.is_some_and(|end| end <= known);
        (found, (!is_all).then(|| Key::of([known])))
    }

    /// Down from what is before `end`, to `start`.
    fn back(&self, start: &[u8], end: &[u8], limit: usize) -> Found {
        let begun = (Bound::Unbounded, Bound::Excluded(end));
        let stretch = self.ends.range::<[u8], _>(begun).next_back();
        let known = stretch.filter(|(_, to)| end <= to.as_ref());
        let Some(known) = known.map(|(known, _)| known.as_ref()) else {
            return (Vec::new(), Some(Key::of([end])));
        };
        let keys = self.keys.range::<[u8], _>(between(start.max(known), end));
        let found: Vec<Entry> = keys.rev().take(limit).map(entry).collect();
        let is_all = found.len() == limit || known <= start;
        (found, (!is_all).then(|| Key::of([known])))
    }

    /// Between these there are these keys, and no others.
    fn learn<'k>(&mut self, mut from: IVec, mut to: IVec, keys: impl Iterator<Item = &'k IVec>) {
        if from >= to {
            return;
        }
        self.keys.extend(keys.cloned());
        // Those that begin at or before its end become one with it.
        while let Some((start, end)) = self.ends.range::<IVec, _>(..=&to).next_back()
            && *end >= from
        {
            let start = start.clone();
            if let Some(end) = self.ends.remove(&start) {
                to = to.max(end);
            }
            from = from.min(start);
        }
        self.ends.insert(from, to);
        self.bound();
    }
}

fn from_start(start: Bound<&[u8]>) -> Key {
    match start {
        Bound::Included(key) => Key::of([key]),
        Bound::Excluded(key) => keys::after(key),
        Bound::Unbounded => Key::of([]),
    }
}

fn up_to_end(end: Bound<&[u8]>) -> Option<Key> {
    match end {
        Bound::Included(key) => Some(keys::after(key)),
        Bound::Excluded(key) => Some(Key::of([key])),
        Bound::Unbounded => None,
    }
}

fn between<'a>(from: &'a [u8], to: &'a [u8]) -> Bounds<'a> {
    (Bound::Included(from), Bound::Excluded(to))
}

/// A queue's entry is its key.
fn entry(key: &IVec) -> Entry {
    (key.clone(), IVec::default())
}

/// Up to `limit` entries of a tree within bounds from one end, out of what is known and, for what is not, `beneath`, which
/// returns up to so many entries within bounds from one end. Nothing may change meanwhile.
///
/// # Errors
/// What `beneath` said.
pub(super) fn read<E>(
    known: &Stretches,
    tree: Tree,
    (start, end): Bounds<'_>,
    limit: usize,
    is_backward: bool,
    beneath: impl Fn(Bounds<'_>, usize, bool) -> Result<Vec<Entry>, E>,
) -> Result<Vec<Entry>, E> {
    let (Some(queue), true) = (known.of(tree), limit > 0) else {
        return beneath((start, end), limit, is_backward);
    };
    let reader = Reader { queue, beneath };
    let (from, to) = (from_start(start), up_to_end(end));
    match (to, is_backward) {
        (to, false) => reader.forward(&from, to.as_deref(), limit),
        (Some(to), true) => reader.backward(&from, &to, limit),
        (None, true) => (reader.beneath)((start, end), limit, true),
    }
}

struct Reader<'k, F> {
    queue: &'k Mutex<Queue>,
    beneath: F,
}

impl<E, F: Fn(Bounds<'_>, usize, bool) -> Result<Vec<Entry>, E>> Reader<'_, F> {
    fn forward(&self, from: &[u8], end: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, E> {
        let (mut found, unknown) = locked(self.queue).ahead(from, end, limit);
        if let Some(unknown) = unknown {
            let left = limit - found.len();
            let number = to_read(*unknown == *from, left);
            let mut more = self.learn_ahead(&unknown, end, number)?;
            more.truncate(left);
            found.append(&mut more);
        }
        Ok(found)
    }

    /// Reads so many entries from a key on, and remembers them.
    fn learn_ahead(&self, from: &[u8], end: Option<&[u8]>, number: usize) -> Result<Vec<Entry>, E> {
        let to = end.map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.look((Bound::Included(from), to), number, false)?;
        let to = if found.len() < number {
            end.map(IVec::from)
        } else {
            found.last().map(|(last, _)| keys::after(last).into())
        };
        self.learn(from, to, &found);
        Ok(found)
    }

    fn backward(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Entry>, E> {
        let (mut found, unknown) = locked(self.queue).back(start, end, limit);
        if let Some(unknown) = unknown {
            let is_new = *unknown == *end;
            if is_new && let Some(later) = keys::end_of(start).filter(|to| **to > *end) {
                // Who looks at what is due by now looks at what is due a little later next.
                self.learn_ahead(end, Some(&later), AHEAD)?;
            }
            let left = limit - found.len();
            let number = to_read(is_new, left);
            let mut more = self.look(between(start, &unknown), number, true)?;
            let from = more.last().filter(|_| more.len() == number);
            let from = from.map_or(start, |(lowest, _)| lowest);
            self.learn(from, Some(IVec::from(&unknown)), &more);
            more.truncate(left);
            found.append(&mut more);
        }
        Ok(found)
    }

    /// What is beneath, with keys of its own: what sled returns is a part of a block, and keeps all of that in memory.
    fn look(&self, bounds: Bounds<'_>, number: usize, is_backward: bool) -> Result<Vec<Entry>, E> {
        let mut found = (self.beneath)(bounds, number, is_backward)?;
        found
            .iter_mut()
            .for_each(|(key, _)| *key = IVec::from(&**key));
        Ok(found)
    }

    /// Only what has no value can be remembered by its key alone.
    fn learn(&self, from: &[u8], to: Option<IVec>, found: &[Entry]) {
        let is_queue = found.iter().all(|(_, value)| value.is_empty());
        if let Some(to) = to.filter(|_| is_queue) {
            let keys = found.iter().map(|(key, _)| key);
            locked(self.queue).learn(IVec::from(from), to, keys);
        }
    }
}

/// How many entries to read for somebody who wants so many more.
fn to_read(is_new: bool, wanted: usize) -> usize {
    if is_new { wanted } else { wanted.max(AHEAD) }
}

#[cfg(test)]
mod tests;
