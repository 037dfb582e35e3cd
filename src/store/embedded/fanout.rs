//! Fan-out in parts: an event that very many endpoints are to hear of gets its deliveries a few at a time, so that
//! nobody waits for all of them.
//!
//! Promise: who is to hear of an event has its delivery, or stands in a part written in the event's own transaction.
//! Making the deliveries of a part and deleting it is one transaction, which says no more than the synced one before it: a
//! power cut takes both back together. Each endpoint hears of one user's results in their order: while a result has parts
//! left, all of the same user's next result is put into parts too, and parts are worked off oldest result first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::codec::{self, damaged};
use super::engine::{Changes, locked};
use super::keys::{self, Tree};
use super::publishing;
use super::txn::{Pair, Txn};
use crate::domain::{
    EndpointName, Event, EventContent, EventId, Health, MerchantNo, Route, UserId,
};
use crate::store::StoreError;

/// Deliveries made at once: as many as cost nobody anything that can be measured, some 10 us each.
const DIRECT: usize = 32;

/// Endpoints in a part. Whatever comes in waits for one part at most; so few cost a quarter of a millisecond.
pub(super) const PART: usize = 16;

/// An endpoint that is to hear of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) endpoint: EndpointName,
    /// Whether a user's results go to it one after the other.
    pub(super) ordered: bool,
}

/// Those whose delivery of an event is still to be made, a bounded number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) targets: Vec<Target>,
}

/// What is kept in memory, so that whoever has nothing to do with fan-outs does not pay for them. All of it can be
/// found out by reading; only the thread that writes asks.
#[derive(Debug)]
pub(super) struct Known {
    /// Parts may be left that can be worked off.
    is_any: AtomicBool,
    /// Whether endpoints are held, of those that were asked about since they last changed.
    held: Mutex<HashMap<Vec<u8>, bool>>,
    /// Parts that are left alone because a record is damaged.
    skipped: Mutex<BTreeSet<Vec<u8>>>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            is_any: AtomicBool::new(true),
            held: Mutex::default(),
            skipped: Mutex::default(),
        }
    }
}

impl Known {
    /// Whether parts may be left. Until somebody has looked, they may.
    pub(super) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    /// These changes are about to be seen.
    pub(super) fn note(&self, changes: &Changes) {
        for (tree, entries) in changes {
            match tree {
                Tree::FanOut => self.is_any.store(true, Ordering::Relaxed),
                Tree::Endpoints => {
                    let mut held = locked(&self.held);
                    for (endpoint, _) in entries {
                        held.remove(endpoint);
                    }
                }
                _ => {}
            }
        }
    }

    /// The store was made again.
    pub(super) fn forget(&self) {
        self.is_any.store(true, Ordering::Relaxed);
        locked(&self.held).clear();
        locked(&self.skipped).clear();
    }
}

/// Whether parts may be left, those of this group included.
fn is_any(txn: &Txn<'_>) -> bool {
    txn.engine().fan_out.is_any() || !txn.changes(Tree::FanOut).is_empty()
}

/// Whether a result of a user after this one has parts left. They are worked off in order and nothing overtakes them, so
/// the newest result has some if any has.
pub(super) fn is_under_way(
    txn: &Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    sequence: u64,
) -> Result<bool, StoreError> {
    if !is_any(txn) {
        return Ok(false);
    }
    let next = keys::event_of_user(merchant, user, sequence.saturating_add(1));
    let end = keys::event_of_user(merchant, user, u64::MAX);
    let newest = txn.last_before(Tree::EventsByUser, &next, &end, 1)?;
    let Some((key, id)) = newest.into_iter().next() else {
        return Ok(false);
    };
    let id = keys::trailing_id(&id)
        .ok_or_else(|| damaged(Tree::EventsByUser, &key, "not an event id"))?;
    Ok(!txn.first(Tree::FanOut, &id, 1)?.is_empty())
}

/// Whether an endpoint's delivery of an event is still to be made.
pub(super) fn is_to_come(
    txn: &Txn<'_>,
    event: EventId,
    endpoint: &EndpointName,
) -> Result<bool, StoreError> {
    if !is_any(txn) {
        return Ok(false);
    }
    for (key, bytes) in txn.first(Tree::FanOut, &event.to_bytes(), usize::MAX)? {
        if locked(&txn.engine().fan_out.skipped).contains(&key) {
            continue;
        }
        // One that does not parse is met, and reported, when its turn comes.
        let part: Option<Part> = codec::decode(&key, &bytes).ok();
        let targets = part.map_or_else(Vec::new, |part| part.targets);
        if targets.iter().any(|target| target.endpoint == *endpoint) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an endpoint is held. One whose record is damaged is: it waits for nobody but itself.
fn is_held(txn: &Txn<'_>, endpoint: &EndpointName) -> Result<bool, StoreError> {
    let key = endpoint.as_str().as_bytes();
    let read = || match txn.get::<Health>(key) {
        Ok(health) => Ok(health.unwrap_or_default().holds()),
        Err(StoreError::Damaged { .. }) => Ok(true),
        Err(error) => Err(error),
    };
    if txn.changes(Tree::Endpoints).contains_key(key) {
        return read();
    }
    let mut known = locked(&txn.engine().fan_out.held);
    if let Some(held) = known.get(key) {
        return Ok(*held);
    }
    let held = read()?;
    known.insert(key.to_vec(), held);
    Ok(held)
}

/// Those of an event's targets that get their delivery at once, and the others. The event is not stored yet.
pub(super) fn divided<'r>(
    txn: &Txn<'_>,
    event: &Event,
    targets: Vec<&'r Route>,
) -> Result<(Vec<&'r Route>, Vec<&'r Route>), StoreError> {
    if let EventContent::Result(result) = &event.content
        && result.sequence > 1
        && is_under_way(txn, &result.merchant, &result.user, 0)?
    {
        return Ok((Vec::new(), targets));
    }
    if targets.len() <= DIRECT {
        return Ok((targets, Vec::new()));
    }
    let (mut now, mut later) = (Vec::with_capacity(DIRECT), Vec::new());
    for route in targets {
        if now.len() < DIRECT && !is_held(txn, &route.endpoint)? {
            now.push(route);
        } else {
            later.push(route);
        }
    }
    Ok((now, later))
}

/// Writes down who else is to hear of an event.
pub(super) fn defer(txn: &mut Txn<'_>, event: EventId, later: &[&Route]) -> Result<(), StoreError> {
    for (number, part) in (0..).zip(later.chunks(PART)) {
        let targets = part.iter().map(|route| Target {
            endpoint: route.endpoint.clone(),
            ordered: route.ordered,
        });
        let part = Part {
            targets: targets.collect(),
        };
        txn.put(keys::fan_out(event, number), part)?;
    }
    Ok(())
}

/// Works off the next part, in a transaction of its own. `false`: there is none.
///
/// # Errors
/// The store cannot be read. One part in which something is damaged stops no other.
pub(super) fn work(txn: &mut Txn<'_>) -> Result<bool, StoreError> {
    let known = &txn.engine().fan_out;
    if !known.is_any() {
        return Ok(false);
    }
    let Some(mut part) = next(txn, &[])? else {
        known.is_any.store(false, Ordering::Relaxed);
        return Ok(false);
    };
    match turn(txn, &mut part) {
        Err(error @ StoreError::Damaged { .. }) => {
            let (key, _) = part;
            tracing::error!(%error, part = hex::encode(&key), "endpoints are not told of an event because a record is damaged; run verify-store");
            locked(&known.skipped).insert(key);
            Ok(true)
        }
        worked => worked.map(|()| true),
    }
}

/// The first part whose key begins so, but for those that are left alone.
fn next(txn: &Txn<'_>, prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
    let skipped = locked(&txn.engine().fan_out.skipped);
    let found = txn.first(Tree::FanOut, prefix, skipped.len() + 1)?;
    Ok(found.into_iter().find(|(key, _)| !skipped.contains(key)))
}

/// Works off a part, or one of an older result of the same user, which is then in its place. Ids are in the order of time
/// only as far as clocks go; of one user, results are in the order of their sequence.
fn turn(txn: &mut Txn<'_>, part: &mut Pair) -> Result<(), StoreError> {
    let mut event = event_of(txn, &part.0)?;
    while let Some(older) = older(txn, &event)? {
        *part = older;
        let before = event_of(txn, &part.0)?;
        if sequence(&before) >= sequence(&event) {
            let why = "a user's results are not in order";
            return Err(damaged(Tree::EventsByUser, &part.0, why));
        }
        event = before;
    }
    deliver(txn, part, &event)
}

fn event_of(txn: &Txn<'_>, part: &[u8]) -> Result<Event, StoreError> {
    let id = part.first_chunk::<16>();
    let id = id.ok_or_else(|| damaged(Tree::FanOut, part, "no event id"))?;
    let event: Option<Event> = txn.get(id)?;
    event.ok_or_else(|| damaged(Tree::Events, id, "the event of a fan-out is not there"))
}

const fn sequence(event: &Event) -> u64 {
    match &event.content {
        EventContent::Result(result) => result.sequence,
        EventContent::Operational(_) => 0,
    }
}

/// A part of the same user's result before this one.
fn older(txn: &Txn<'_>, event: &Event) -> Result<Option<Pair>, StoreError> {
    let EventContent::Result(result) = &event.content else {
        return Ok(None);
    };
    let before = result.sequence.saturating_sub(1);
    let place = keys::event_of_user(&result.merchant, &result.user, before);
    let Some(id) = txn.get_raw(Tree::EventsByUser, &place)? else {
        return Ok(None);
    };
    let id = keys::trailing_id(&id)
        .ok_or_else(|| damaged(Tree::EventsByUser, &place, "not an event id"))?;
    next(txn, &id)
}

/// Makes the deliveries of a part. Those at which something is damaged stay in it; if that is all of it, it fails.
fn deliver(txn: &mut Txn<'_>, (key, bytes): &Pair, event: &Event) -> Result<(), StoreError> {
    let part: Part = codec::decode(key, bytes)?;
    let all = part.targets.len();
    let (mut left, mut why) = (Vec::new(), None);
    for target in part.targets {
        match txn.scoped(|txn| deliver_one(txn, event, &target)) {
            Ok(()) => {}
            Err(error @ StoreError::Damaged { .. }) => {
                left.push(target);
                why = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match why {
        Some(error) if left.len() == all => Err(error),
        Some(_said_in_the_next_turn) => txn.put(key.clone(), Part { targets: left }),
        None => {
            txn.delete(Tree::FanOut, key.clone());
            Ok(())
        }
    }
}

fn deliver_one(txn: &mut Txn<'_>, event: &Event, target: &Target) -> Result<(), StoreError> {
    let delivery = keys::delivery(event.id, &target.endpoint);
    // An operator may have had it told already.
    if txn.get_raw(Tree::Deliveries, &delivery)?.is_some() {
        return Ok(());
    }
    let endpoint = target.endpoint.clone();
    let delivery = publishing::fresh(event, endpoint, target.ordered);
    publishing::enqueue_fresh(txn, delivery)
}

#[cfg(test)]
mod tests;
