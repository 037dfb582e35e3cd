//! Fan-out in parts: an event that very many endpoints are to hear of gets its deliveries a few at a time, so that
//! nobody waits for all of them.
//!
//! Promise: who is to hear of an event has its delivery, or stands in a part written in the event's own transaction, by name or on
//! a list (`lists`). Making deliveries and writing how far that is, or deleting the part, is one transaction, which says no
//! more than the synced one before it: a power cut takes both back together. Each endpoint hears of one user's results in their order: while a result has parts
//! left, all of the same user's next result is put into parts too, and parts are worked off oldest result first.

mod counting;
mod hearers;
mod known;
pub(super) mod lists;

use std::sync::atomic::Ordering;

pub(super) use self::counting::to_come;
use self::hearers::Hearers;
pub(super) use self::known::Known;
use self::lists::{LONGEST, ListId};
use super::codec::{self, damaged};
use super::engine::locked;
use super::keys::{self, Tree};
use super::publishing;
use super::txn::{Pair, Txn};
use crate::domain::{
    EndpointName, Event, EventContent, EventId, MerchantNo, Route, Routing, UserId,
};
use crate::store::StoreError;

/// Deliveries made at once: as many as cost nobody anything that can be measured, some 10 us each.
const DIRECT: usize = 32;

/// Endpoints in a part. Whatever comes in waits for one part at most; so few cost a quarter of a millisecond.
pub(super) const PART: usize = 16;

/// From the number of a list's part to that of the next one's: those that are left behind of it have theirs in between, at
/// most [`LONGEST`] further on.
const BETWEEN: usize = 2 * LONGEST;

/// An endpoint that is to hear of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) endpoint: EndpointName,
    /// Whether a user's results go to it one after the other.
    pub(super) ordered: bool,
}

impl Target {
    fn of(route: &Route) -> Self {
        Self {
            endpoint: route.endpoint.clone(),
            ordered: route.ordered,
        }
    }
}

/// Those whose delivery of an event is still to be made. They are worked off [`PART`] at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// These: few, or those that damage left behind.
    Named(Vec<Target>),
    /// Those who are left of a list.
    Of(Rest),
}

/// Who is left of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// The list.
    pub(super) list: ListId,
    /// All before this place have their delivery.
    pub(super) from: u32,
    /// And so have those at these places.
    pub(super) told: Vec<u32>,
}

impl Rest {
    /// The places of those who are left.
    pub(super) fn places(&self, length: usize) -> impl Iterator<Item = u32> {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        (self.from..length).filter(|place| !self.told.contains(place))
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
        // What is damaged is met, and reported, when its turn comes.
        let left = match codec::decode(&key, &bytes).and_then(|part| left(txn, &part)) {
            Err(StoreError::Damaged { .. }) => continue,
            left => left?,
        };
        if left.iter().any(|target| target.endpoint == *endpoint) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Who is left of a part.
fn left(txn: &Txn<'_>, part: &Part) -> Result<Vec<Target>, StoreError> {
    match part {
        Part::Named(targets) => Ok(targets.clone()),
        Part::Of(rest) => Ok(lists::read(txn, &rest.list)?.list.left(rest)),
    }
}

/// Those who get their delivery of an event at once; who else is to hear is written down. The event is not stored yet.
pub(super) fn divide(
    txn: &mut Txn<'_>,
    event: &Event,
    routing: &Routing,
) -> Result<Vec<Target>, StoreError> {
    let waits = match &event.content {
        EventContent::Result(result) if result.sequence > 1 => {
            is_under_way(txn, &result.merchant, &result.user, 0)?
        }
        _ => false,
    };
    let lists = match hearers::of(txn, event, routing)? {
        Hearers::Few(targets) => {
            if !waits {
                return Ok(targets);
            }
            for (number, some) in (0..).zip(targets.chunks(PART)) {
                txn.put(keys::fan_out(event.id, number), Part::Named(some.to_vec()))?;
            }
            return Ok(Vec::new());
        }
        Hearers::Listed(lists) => lists,
    };
    let mut now = Vec::with_capacity(DIRECT);
    for (first, used) in (0..).step_by(BETWEEN).zip(lists.iter()) {
        let mut told = if waits { Vec::new() } else { used.up(txn)? };
        told.truncate(DIRECT - now.len());
        now.extend(used.list.at(&told));
        let rest = Rest {
            list: used.id,
            from: 0,
            told,
        };
        if rest.places(used.list.targets.len()).next().is_some() {
            used.store(txn)?;
            txn.put(keys::fan_out(event.id, first), Part::Of(rest))?;
        }
    }
    Ok(now)
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

/// Makes the next deliveries of a part. Those at which something is damaged stay, by name; if nobody else is left, it fails.
fn deliver(txn: &mut Txn<'_>, (key, bytes): &Pair, event: &Event) -> Result<(), StoreError> {
    match codec::decode(key, bytes)? {
        Part::Named(targets) => deliver_named(txn, key, targets, event),
        Part::Of(rest) => deliver_some(txn, key, rest, event),
    }
}

fn deliver_named(
    txn: &mut Txn<'_>,
    key: &[u8],
    targets: Vec<Target>,
    event: &Event,
) -> Result<(), StoreError> {
    let all = targets.len();
    match make(txn, event, targets)? {
        (left, Some(error)) if left.len() == all => return Err(error),
        (left, Some(_said_in_the_next_turn)) => txn.put(key.to_vec(), Part::Named(left))?,
        (_, None) => txn.delete(Tree::FanOut, key.to_vec()),
    }
    Ok(())
}

fn deliver_some(
    txn: &mut Txn<'_>,
    key: &[u8],
    rest: Rest,
    event: &Event,
) -> Result<(), StoreError> {
    let used = lists::read(txn, &rest.list)?;
    let mut now: Vec<u32> = rest
        .places(used.list.targets.len())
        .take(PART + 1)
        .collect();
    let next = if now.len() > PART { now.pop() } else { None };
    let (left, why) = make(txn, event, used.list.at(&now))?;
    if why.is_some() {
        let beside = beside(key, rest.from)?;
        txn.put(beside, Part::Named(left))?;
    }
    match next {
        Some(from) => txn.put(key.to_vec(), Part::Of(Rest { from, ..rest }))?,
        None => txn.delete(Tree::FanOut, key.to_vec()),
    }
    Ok(())
}

/// The key for those that are left behind of a list whose part has this one, from this place on.
fn beside(key: &[u8], place: u32) -> Result<Vec<u8>, StoreError> {
    let split = key.split_first_chunk::<16>();
    let number = split.and_then(|(id, number)| Some((*id, <[u8; 4]>::try_from(number).ok()?)));
    let (id, number) = number.ok_or_else(|| damaged(Tree::FanOut, key, "no number"))?;
    let number = u32::from_be_bytes(number).saturating_add(1 + place);
    Ok(keys::fan_out(EventId::from_bytes(id), number))
}

/// Makes deliveries. Returns those at which something is damaged, and what.
fn make(
    txn: &mut Txn<'_>,
    event: &Event,
    targets: Vec<Target>,
) -> Result<(Vec<Target>, Option<StoreError>), StoreError> {
    let (mut left, mut why) = (Vec::new(), None);
    for target in targets {
        match txn.scoped(|txn| deliver_one(txn, event, &target)) {
            Ok(()) => {}
            Err(error @ StoreError::Damaged { .. }) => {
                left.push(target);
                why = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((left, why))
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
