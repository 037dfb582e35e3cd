//! Whose turn it is. A part in which somebody is left who is not held is worked off as soon as nobody waits for the thread
//! that writes. Those who are held need their deliveries only once they are back: these are made ahead, at a rate at
//! which nobody feels it, so that very many endpoints that are down cost no more the more there is to tell them.
//!
//! Promise: whoever is not held is never left in a part for longer than it takes to get to it: each part is looked at when
//! the store was opened, when it was written, and when somebody is no longer held. Nor is whoever is down left without
//! anything to be probed with: then the oldest of what it lacks is made like that of one who is up.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sled::IVec;

use super::open::Open;
use super::{PART, Part, Target, deliver_one, first, missing, results_before};
use crate::domain::{Event, EventId};
use crate::store::StoreError;
use crate::store::embedded::codec::damaged;
use crate::store::embedded::engine::locked;
use crate::store::embedded::keys::{self, Tree};
use crate::store::embedded::txn::{Pair, Txn};

/// Parts that are looked at in a turn, at most.
const LOOKED_AT: usize = 64;

/// Parts that are remembered to be looked at. Where there are more, all are.
const REMEMBERED: usize = 10_000;

/// How long it takes until a delivery more may be made ahead: 250 a second.
const EACH: Duration = Duration::from_millis(4);

/// What may be made ahead at once, by how long that takes in the long run: ten thousand deliveries. Only what very many
/// endpoints miss for a while is put off.
const AT_ONCE: Duration = Duration::from_secs(40);

/// How much may be made ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// When as much may be made at once as ever; `None`: since the beginning.
    rested: Option<Instant>,
}

impl Ahead {
    /// When the next part may be made.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let due = self.rested.and_then(|rested| rested.checked_sub(AT_ONCE));
        due.map_or(now, |due| due.max(now))
    }

    fn took(&mut self, now: Instant, deliveries: usize) {
        let rested = self.rested.map_or(now, |rested| rested.max(now));
        let deliveries = u32::try_from(deliveries).unwrap_or(u32::MAX);
        self.rested = Some(rested + EACH * deliveries);
    }

    /// No more may be made for an hour.
    #[cfg(test)]
    pub(super) fn exhaust(&mut self, now: Instant) {
        self.rested = Some(now + AT_ONCE + Duration::from_secs(3600));
    }
}

/// The parts that are to be looked at for somebody who is not held.
#[derive(Debug)]
pub(super) struct ToLookAt {
    /// These: they were written.
    written: BTreeSet<IVec>,
    /// And all from this key on.
    from: Option<IVec>,
    /// And then all once more.
    again: bool,
}

impl Default for ToLookAt {
    /// All of them: nobody has looked yet.
    fn default() -> Self {
        Self {
            written: BTreeSet::new(),
            from: Some(IVec::default()),
            again: false,
        }
    }
}

impl ToLookAt {
    pub(super) fn is_any(&self) -> bool {
        self.from.is_some() || !self.written.is_empty()
    }

    /// A part was written, or deleted.
    pub(super) fn note(&mut self, key: &[u8], is_there: bool) {
        if !is_there {
            self.written.remove(key);
        } else if self.written.len() < REMEMBERED {
            self.written.insert(key.into());
        } else {
            self.all();
        }
    }

    /// All of them: somebody is no longer held. Those that are being looked at are looked at to their end first.
    pub(super) fn all(&mut self) {
        if self.from.is_some() {
            self.again = true;
        } else {
            self.from = Some(IVec::default());
        }
    }

    /// Nobody is left in this part who is not held, or it is left alone.
    fn done(&mut self, key: &[u8]) {
        let is_next = |from: &IVec| **from <= *key;
        if !self.written.remove(key) && self.from.as_ref().is_some_and(is_next) {
            self.from = Some(keys::after(key).into());
        }
    }

    pub(super) fn next(&mut self, txn: &Txn<'_>) -> Result<Option<Pair>, StoreError> {
        while let Some(key) = self.written.first() {
            if let Some(bytes) = txn.get_raw(Tree::FanOut, key)? {
                return Ok(Some((key.clone(), bytes)));
            }
            self.written.pop_first();
        }
        while let Some(from) = &self.from {
            let next = txn.first_from(Tree::FanOut, from, &[], 1)?.pop();
            if next.is_some() {
                return Ok(next);
            }
            self.from = self.again.then(IVec::default);
            self.again = false;
        }
        Ok(None)
    }
}

/// Works off the next part, in a transaction of its own, if it is due by now. `false`: there is none.
///
/// # Errors
/// The store cannot be read. One part in which something is damaged stops no other.
pub(in crate::store::embedded) fn work(
    txn: &mut Txn<'_>,
    now: Instant,
) -> Result<bool, StoreError> {
    let known = &txn.engine().fan_out;
    if !known.is_any() {
        return Ok(false);
    }
    for _ in 0..LOOKED_AT {
        let next = locked(&known.to_look_at).next(txn)?;
        let Some(part) = next else {
            return make_ahead(txn, now);
        };
        let key = part.0.clone();
        let is_left_alone = locked(&known.skipped).contains(&key);
        if !is_left_alone && turn(txn, part, Open::up)?.is_some() {
            return Ok(true);
        }
        locked(&known.to_look_at).done(&key);
    }
    // Nobody so far. Those who are held have their turn too, though all parts be looked at again and again.
    make_ahead(txn, now)
}

/// Works off the first part of all, whoever is left in it.
fn make_ahead(txn: &mut Txn<'_>, now: Instant) -> Result<bool, StoreError> {
    let known = &txn.engine().fan_out;
    let Some(first) = first(txn)? else {
        known.is_any.store(false, Ordering::Relaxed);
        return Ok(false);
    };
    if known.is_ahead_due(now) {
        let key = first.0.clone();
        let some = |open: &Open, _: &Txn<'_>| Ok(open.places().take(PART).collect());
        let made = turn(txn, first, some)?;
        if made.is_none() {
            // Nothing that writes parts leaves one like this.
            txn.delete(Tree::FanOut, key);
        }
        locked(&known.ahead).took(now, made.unwrap_or(1));
    }
    Ok(true)
}

/// Makes deliveries for those whom `choose` takes out of a part; returns how many at most. `None`: it takes nobody. What
/// is damaged is logged and left alone.
fn turn(
    txn: &mut Txn<'_>,
    part: Pair,
    choose: impl FnOnce(&Open, &Txn<'_>) -> Result<Vec<u32>, StoreError>,
) -> Result<Option<usize>, StoreError> {
    let mut at = part.0.clone();
    let open = Open::read(txn, part);
    let chosen = open.and_then(|open| Ok((choose(&open, txn)?, open)));
    let (number, worked) = match chosen {
        Ok((places, _)) if places.is_empty() => return Ok(None),
        Ok((places, open)) => (places.len(), deliver(txn, open, places, &mut at)),
        Err(error) => (1, Err(error)),
    };
    match worked {
        Err(error @ StoreError::Damaged { .. }) => {
            tracing::error!(%error, part = hex::encode(&at), "endpoints are not told of an event because a record is damaged; run verify-store");
            locked(&txn.engine().fan_out.skipped).insert(at);
        }
        worked => worked?,
    }
    Ok(Some(number))
}

/// Makes the deliveries of those at these places, or what one of them lacks of an older result of the same user. Ids are
/// in the order of time only as far as clocks go; of one user, results are in the order of their sequence. Those at which
/// something is damaged are left by name; if it is all of those that are named, it fails. `at` becomes the part that is worked off.
fn deliver(
    txn: &mut Txn<'_>,
    open: Open,
    places: Vec<u32>,
    at: &mut IVec,
) -> Result<(), StoreError> {
    let event = open.event(txn)?;
    let (open, places, event) = match older(txn, &event, &open, &places)? {
        Some((older, places)) => {
            at.clone_from(&older.key);
            let event = older.event(txn)?;
            (older, places, event)
        }
        None => (open, places, event),
    };
    let (mut made, mut left, mut why) = (Vec::new(), Vec::new(), None);
    for (place, target) in places
        .iter()
        .filter_map(|place| Some((*place, open.at(*place)?)))
    {
        match txn.scoped(|txn| deliver_one(txn, &event, target)) {
            Ok(()) => made.push(place),
            Err(error @ StoreError::Damaged { .. }) => {
                left.push(target.clone());
                why = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match why {
        Some(_said_in_their_own_turn) if open.is_listed() => {
            set_aside(txn, &open, &places, left)?;
            open.store_without(txn, &places)
        }
        Some(error) if made.is_empty() => Err(error),
        _ => open.store_without(txn, &made),
    }
}

/// The oldest part of the same user's older results in which one of those at these places is left, and who of them is.
fn older(
    txn: &Txn<'_>,
    event: &Event,
    open: &Open,
    places: &[u32],
) -> Result<Option<(Open, Vec<u32>)>, StoreError> {
    let before = results_before(txn, event)?;
    let mut found: Option<(Open, Vec<u32>)> = None;
    for target in places.iter().filter_map(|place| open.at(*place)) {
        let oldest = missing(txn, &before, &target.endpoint, usize::MAX)?.pop();
        match (oldest, &mut found) {
            (Some((open, place)), None) => found = Some((open, vec![place])),
            (Some((open, place)), Some((first, places))) if open.key == first.key => {
                places.push(place);
            }
            (_, _) => {}
        }
    }
    Ok(found)
}

/// Writes down by name those of a list at which something is damaged, out of those at these places.
fn set_aside(
    txn: &mut Txn<'_>,
    open: &Open,
    places: &[u32],
    left: Vec<Target>,
) -> Result<(), StoreError> {
    let split = open.key.split_first_chunk::<16>();
    let number = split.and_then(|(id, number)| Some((*id, <[u8; 4]>::try_from(number).ok()?)));
    let (id, number) = number.ok_or_else(|| damaged(Tree::FanOut, &open.key, "no number"))?;
    let first = places.iter().min().copied().unwrap_or_default();
    let number = u32::from_be_bytes(number).saturating_add(1 + first);
    let key = keys::fan_out(EventId::from_bytes(id), number);
    txn.put(key, Part::Named(left))
}
