//! Fan-out in parts: an event that very many endpoints are to hear of gets its deliveries a few at a time, so that
//! nobody waits for all of them.
//!
//! Promise: who is to hear of an event has its delivery, or stands in a part written in the event's own transaction, by name or on
//! a list (`lists`). Making deliveries and writing who is left, or deleting the part, is one transaction, which says no
//! more than the synced one before it: a power cut takes both back together. Each endpoint hears of one user's results in
//! their order: for whom an older one is left in a part, the newer one is put into a part too, and of what is left for an
//! endpoint the oldest result of a user is made first. Whose turn it is when is in `turns`: endpoints that are held wait for
//! those that are not.

mod counting;
mod hearers;
mod known;
pub(super) mod lists;
mod open;
mod turns;

pub(super) use self::counting::to_come;
use self::hearers::Hearers;
pub(super) use self::known::Known;
use self::lists::{LONGEST, ListId};
use self::open::Open;
pub(super) use self::turns::work;
use super::codec::damaged;
use super::engine::{Engine, locked};
use super::keys::{self, Tree};
use super::publishing;
use super::txn::{Pair, Room, Txn};
use crate::domain::{
    Delivery, EndpointName, Event, EventContent, EventId, MerchantNo, Route, Routing, UserId,
};
use crate::store::StoreError;

/// Deliveries made at once: as many as cost nobody anything that can be measured, some 10 us each.
const DIRECT: usize = 32;

/// Endpoints in a part. Whatever comes in waits for one part at most; so few cost a quarter of a millisecond.
pub(super) const PART: usize = 16;

/// From the number of a list's part to that of the next one's: those at which something is damaged have theirs in between,
/// at most [`LONGEST`] further on.
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

/// Those whose delivery of an event is still to be made, [`PART`] at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// These: [`PART`] at most.
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
    /// And so have those at these places, in their order.
    pub(super) told: Vec<u32>,
}

impl Rest {
    /// Whether whoever is at a place is left.
    fn is_left(&self, place: u32) -> bool {
        place >= self.from && self.told.binary_search(&place).is_err()
    }

    /// The same but for those at these places.
    fn without(mut self, gone: &[u32]) -> Self {
        self.told.extend(gone);
        self.told.sort_unstable();
        let begun = (self.from..).zip(&self.told);
        let begun = begun.take_while(|(place, told)| place == *told).count();
        self.told.drain(..begun);
        self.from += u32::try_from(begun).unwrap_or_default();
        self
    }

    /// The places of those who are left.
    pub(super) fn places(&self, length: usize) -> impl Iterator<Item = u32> {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        (self.from..length).filter(|place| self.is_left(*place))
    }
}

/// Whether parts may be left, those of this group included.
fn is_any(txn: &Txn<'_>) -> bool {
    txn.engine().fan_out.is_any() || !txn.changes(Tree::FanOut).is_empty()
}

/// Parts that are left of an event, but for those that are damaged: these are met, and reported, when their turn comes.
fn left_of(txn: &Txn<'_>, event: &[u8; 16]) -> Result<Vec<Open>, StoreError> {
    let mut left = Vec::new();
    for pair in txn.first(Tree::FanOut, event, usize::MAX)? {
        if locked(&txn.engine().fan_out.skipped).contains(&pair.0) {
            continue;
        }
        match Open::read(txn, pair) {
            Err(StoreError::Damaged { .. }) => {}
            open => left.push(open?),
        }
    }
    Ok(left)
}

/// The part of an event in which an endpoint is left, and its place.
fn part_for(
    txn: &Txn<'_>,
    event: &[u8; 16],
    endpoint: &EndpointName,
) -> Result<Option<(Open, u32)>, StoreError> {
    if !is_any(txn) {
        return Ok(None);
    }
    let mut left = left_of(txn, event)?.into_iter();
    Ok(left.find_map(|open| open.place_of(endpoint).map(|place| (open, place))))
}

/// Whether an endpoint's delivery of a newer result of a user is still to be made.
pub(super) fn is_newer_to_come(
    txn: &Txn<'_>,
    endpoint: &EndpointName,
    (merchant, user): (&MerchantNo, &UserId),
    sequence: u64,
) -> Result<bool, StoreError> {
    if !is_any(txn) {
        return Ok(false);
    }
    let from = keys::event_of_user(merchant, user, sequence.saturating_add(1));
    let results = keys::user_prefix(merchant, user);
    for place in txn.first_from(Tree::EventsByUser, &from, &results, usize::MAX)? {
        if part_for(txn, &event_at(&place)?, endpoint)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn event_at((key, id): &Pair) -> Result<[u8; 16], StoreError> {
    keys::trailing_id(id).ok_or_else(|| damaged(Tree::EventsByUser, key, "not an event id"))
}

/// The results of the same user before this one of which something may be left to be made, the newest first.
fn results_before(txn: &Txn<'_>, event: &Event) -> Result<Vec<[u8; 16]>, StoreError> {
    let mut before = Vec::new();
    let EventContent::Result(result) = &event.content else {
        return Ok(before);
    };
    if result.sequence <= 1 || !is_any(txn) {
        return Ok(before);
    }
    // Whatever is older than all that is left has nothing left.
    let Some((oldest, _)) = first(txn)? else {
        return Ok(before);
    };
    let place = |sequence| keys::event_of_user(&result.merchant, &result.user, sequence);
    let (first, own) = (place(0), place(result.sequence));
    for place in txn.last_before(Tree::EventsByUser, &first, &own, usize::MAX)? {
        let id = event_at(&place)?;
        if *oldest < id[..] || oldest.starts_with(&id) {
            before.push(id);
        }
    }
    Ok(before)
}

/// The first part that is not left alone.
fn first(txn: &Txn<'_>) -> Result<Option<Pair>, StoreError> {
    let skipped = locked(&txn.engine().fan_out.skipped).clone();
    let found = txn.first(Tree::FanOut, &[], skipped.len() + 1)?;
    Ok(found.into_iter().find(|(key, _)| !skipped.contains(key)))
}

/// What is still to be made for an endpoint of these results of a user: part and place, at most so many, the newest first.
/// Deliveries for an endpoint are made in the order of results: where one is there, nothing older is missing.
fn missing(
    txn: &Txn<'_>,
    results: &[[u8; 16]],
    endpoint: &EndpointName,
    limit: usize,
) -> Result<Vec<(Open, u32)>, StoreError> {
    let mut missing = Vec::new();
    for id in results {
        let delivery = keys::delivery(EventId::from_bytes(*id), endpoint);
        if missing.len() == limit || txn.get_raw(Tree::Deliveries, &delivery)?.is_some() {
            break;
        }
        missing.extend(part_for(txn, id, endpoint)?);
    }
    Ok(missing)
}

/// Those who get their delivery of an event at once; who else is to hear is written down. The event is not stored yet.
pub(super) fn divide(
    txn: &mut Txn<'_>,
    event: &Event,
    routing: &Routing,
) -> Result<Vec<Target>, StoreError> {
    let before = results_before(txn, event)?;
    let waits = |txn: &Txn<'_>, target: &Target| -> Result<bool, StoreError> {
        Ok(!missing(txn, &before, &target.endpoint, 1)?.is_empty())
    };
    let lists = match hearers::of(txn, event, routing)? {
        Hearers::Few(targets) => {
            let (mut wait, mut now) = (Vec::new(), Vec::new());
            for target in targets {
                let side = if waits(txn, &target)? {
                    &mut wait
                } else {
                    &mut now
                };
                side.push(target);
            }
            for (number, some) in (0..).zip(wait.chunks(PART)) {
                txn.put(keys::fan_out(event.id, number), Part::Named(some.to_vec()))?;
            }
            return Ok(now);
        }
        Hearers::Listed(lists) => lists,
    };
    let (mut now, mut waiting) = (Vec::with_capacity(DIRECT), 0);
    for (first, used) in (0..).step_by(BETWEEN).zip(lists.iter()) {
        let mut told = Vec::new();
        for place in used.up(txn)?.iter().copied() {
            // Who waits is looked for too, and costs as much.
            if now.len() + waiting == 2 * DIRECT || now.len() == DIRECT {
                break;
            }
            let Some(target) = used.list.at(place) else {
                continue;
            };
            if waits(txn, target)? {
                waiting += 1;
            } else {
                now.push(target.clone());
                told.push(place);
            }
        }
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

/// The deliveries of an event that are still to be made, as they will be: all, or that of one endpoint.
///
/// # Errors
/// The store cannot be read.
pub(super) fn deliveries_to_come(
    engine: &Engine,
    event: &Event,
    only: Option<&EndpointName>,
) -> Result<Vec<Delivery>, StoreError> {
    if !engine.fan_out.is_any() {
        return Ok(Vec::new());
    }
    let left = left_of(&Txn::new(engine, Room::ANY), &event.id.to_bytes())?;
    let targets = left.iter().flat_map(Open::targets);
    let wanted = targets.filter(|target| only.is_none_or(|only| target.endpoint == *only));
    let delivery =
        |target: &Target| publishing::fresh(event, target.endpoint.clone(), target.ordered);
    Ok(wanted.map(delivery).collect())
}

/// Makes an endpoint's delivery of an event now, because somebody wants something of it, and what the endpoint lacks of
/// the same user's older results. `false`: it is not one that is still to be made.
pub(super) fn make_for(
    txn: &mut Txn<'_>,
    event: EventId,
    endpoint: &EndpointName,
) -> Result<bool, StoreError> {
    let Some((open, place)) = part_for(txn, &event.to_bytes(), endpoint)? else {
        return Ok(false);
    };
    let event = open.event(txn)?;
    make_older(txn, &event, endpoint)?;
    make_at(txn, open, place, &event)?;
    Ok(true)
}

/// Makes what an endpoint lacks of the same user's results before this one, but for what is damaged.
pub(super) fn make_older(
    txn: &mut Txn<'_>,
    event: &Event,
    endpoint: &EndpointName,
) -> Result<(), StoreError> {
    let before = results_before(txn, event)?;
    for (open, place) in missing(txn, &before, endpoint, usize::MAX)?
        .into_iter()
        .rev()
    {
        match open.event(txn) {
            Err(StoreError::Damaged { .. }) => {}
            older => make_at(txn, open, place, &older?)?,
        }
    }
    Ok(())
}

fn make_at(txn: &mut Txn<'_>, open: Open, place: u32, event: &Event) -> Result<(), StoreError> {
    if let Some(target) = open.at(place) {
        deliver_one(txn, event, target)?;
    }
    open.store_without(txn, &[place])
}

fn deliver_one(txn: &mut Txn<'_>, event: &Event, target: &Target) -> Result<(), StoreError> {
    let delivery = keys::delivery(event.id, &target.endpoint);
    // An operator may have had it told already.
    if txn.get_raw(Tree::Deliveries, &delivery)?.is_some() {
        return Ok(());
    }
    let endpoint = target.endpoint.clone();
    let delivery = publishing::fresh(event, endpoint, target.ordered);
    publishing::enqueue(txn, None, delivery)
}

#[cfg(test)]
mod tests;
