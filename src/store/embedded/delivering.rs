//! Use cases of the deliver stage: claim what is due and what the endpoint's health allows.
//!
//! Promises: an endpoint that is down gets one probe at a time, one that is paused gets nothing, and neither uses up
//! anybody's attempts; behind a backlog fresh results still get their turn. What came of an attempt is recorded in
//! `settling`.

use std::time::Duration;

use super::codec::{self, damaged};
use super::engine::Engine;
use super::keys::{self, Key, Tree};
use super::settling::move_place;
use super::tallies;
use super::txn::{Pair, Txn};
use super::verifying::DAMAGED_AGAIN;
use crate::domain::{
    Attempt, Delivery, DeliveryState, EndpointName, Event, EventId, Health, Outcome, Timestamp,
};
use crate::store::{DeliveryClaim, Onward, StoreError};

/// How an endpoint is.
pub(super) fn health(engine: &Engine, endpoint: &EndpointName) -> Result<Health, StoreError> {
    let key = endpoint.as_str().as_bytes();
    let stored = engine.get(Tree::Endpoints, key)?;
    Ok(stored
        .map(|bytes| codec::decode(key, &bytes))
        .transpose()?
        .unwrap_or_default())
}

fn first_due(
    engine: &Engine,
    endpoint: &EndpointName,
    leased: bool,
) -> Result<Option<Timestamp>, StoreError> {
    let prefix = keys::delivery_due_prefix(endpoint, leased);
    let Some(entry) = engine.prefix(Tree::DeliveryDue, &prefix)?.next() else {
        return Ok(None);
    };
    let (key, _) = entry?;
    let (due, _) = keys::parse_delivery_due(&key)
        .ok_or_else(|| damaged(Tree::DeliveryDue, &key, "not a due time and an event"))?;
    Ok(Some(due))
}

/// When the endpoint's next delivery may go: its due time, or the next probe while the endpoint is down.
pub(super) fn next_due(
    engine: &Engine,
    endpoint: &EndpointName,
) -> Result<Option<Timestamp>, StoreError> {
    Ok(look(engine, endpoint)?.next)
}

/// For whoever is about to claim.
pub(super) fn any_due(
    engine: &Engine,
    endpoint: &EndpointName,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let found = look(engine, endpoint)?;
    if let Some(probe) = found.probe
        && found.waiting.is_none_or(|due| due > probe.max(now))
    {
        // What it could be probed with may still have to be made.
        engine.fan_out.want(endpoint);
    }
    Ok(found.next.is_some_and(|due| due <= now))
}

/// What may go when.
struct Found {
    next: Option<Timestamp>,
    /// The next probe, if nothing is out.
    probe: Option<Timestamp>,
    /// The first that waits; not looked for where none may go.
    waiting: Option<Timestamp>,
}

fn look(engine: &Engine, endpoint: &EndpointName) -> Result<Found, StoreError> {
    let health = health(engine, endpoint)?;
    let probe_at = health.breaker.closed_until();
    let alone = probe_at.is_some() || health.resumed.is_some();
    let out = first_due(engine, endpoint, true)?;
    if health.paused.is_some() || (alone && out.is_some()) {
        // What is out may still come back, or its lease run out.
        return Ok(Found {
            next: out.map(|due| health.later(due)),
            probe: None,
            waiting: None,
        });
    }
    let waiting = first_due(engine, endpoint, false)?;
    let due = match probe_at {
        Some(probe_at) => waiting.map(|due| due.max(probe_at)),
        None => out.into_iter().chain(waiting).min(),
    };
    Ok(Found {
        next: due.map(|due| health.later(due)),
        probe: probe_at.map(|probe_at| health.later(probe_at)),
        waiting,
    })
}

/// A backlog is worked off from both ends once its oldest has waited this long: fresh results do not wait behind a
/// day's worth of other users'.
const BACKLOG: Duration = Duration::from_secs(10);

pub(super) fn claim(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    now: Timestamp,
    lease: Duration,
    limit: usize,
) -> Result<Vec<DeliveryClaim>, StoreError> {
    let health: Health = txn.get(endpoint.as_str().as_bytes())?.unwrap_or_default();
    let mut claims = Vec::new();
    if health.later(now) > now {
        return Ok(claims);
    }
    // Whether one that was resumed is well is for a single delivery to find out.
    let alone = health.resumed.is_some();
    let limit = if alone { limit.min(1) } else { limit };
    // Leases that ran out first: those are the oldest.
    let leased = keys::delivery_due_prefix(endpoint, true);
    let out = if !alone && txn.is_nothing_due(Tree::DeliveryDue, &leased, now)? {
        Places::new()
    } else {
        txn.first(Tree::DeliveryDue, &leased, limit)?
    };
    let is_out = !out.is_empty();
    if health.holds() {
        give_back(txn, endpoint, &out, now)?;
    } else {
        claim_due(txn, endpoint, out, now, lease, &mut claims)?;
    }
    if health.paused.is_some() {
        return Ok(claims);
    }
    let waiting = keys::delivery_due_prefix(endpoint, false);
    match health.breaker.closed_until() {
        // One probe at a time: the oldest of what is held and has not been tried since. What failed as a probe is due with
        // the next, behind whatever came before that.
        Some(probe_at) => {
            if now >= probe_at && txn.first(Tree::DeliveryDue, &leased, 1)?.is_empty() {
                let probe = txn.first(Tree::DeliveryDue, &waiting, 1)?;
                claim_due(txn, endpoint, probe, now, lease, &mut claims)?;
            }
        }
        None if alone && is_out => {}
        None => {
            let open = limit.saturating_sub(claims.len());
            let due = both_ends(txn, endpoint, &waiting, now, open)?;
            claim_due(txn, endpoint, due, now, lease, &mut claims)?;
        }
    }
    for claim in &mut claims {
        claim.alone = alone || health.holds();
    }
    Ok(claims)
}

/// What is due next, for whoever has room for it; without a look where it is known that there is nothing.
pub(super) fn claim_next(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    now: Timestamp,
    onward: Onward,
) -> Result<Vec<DeliveryClaim>, StoreError> {
    let mut queues = queues(endpoint).into_iter();
    if queues.all(|queue| txn.knows_nothing_due(Tree::DeliveryDue, &queue, now)) {
        return Ok(Vec::new());
    }
    claim(txn, endpoint, now, onward.lease, onward.limit)
}

/// What is leased, and what waits.
fn queues(endpoint: &EndpointName) -> [Key; 2] {
    [true, false].map(|leased| keys::delivery_due_prefix(endpoint, leased))
}

type Places = Vec<Pair>;

/// Leases that ran out while the endpoint is held: back to those that wait for it. Claimed at once, they would go out to
/// an endpoint that is paused, and beside the probe to one that is down.
fn give_back(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    out: &Places,
    now: Timestamp,
) -> Result<(), StoreError> {
    for (key, _) in out {
        let (until, event) = keys::parse_delivery_due(key)
            .ok_or_else(|| damaged(Tree::DeliveryDue, key, "not a due time and an event"))?;
        if until > now {
            break;
        }
        let before: Option<Delivery> = txn.get(&keys::delivery(event, endpoint))?;
        let Some(before) = before.filter(Delivery::is_pending) else {
            txn.delete(Tree::DeliveryDue, key.clone());
            continue;
        };
        record_interrupted(txn, &before, until)?;
        let state = DeliveryState::Waiting {
            due: before.created,
        };
        let after = Delivery {
            state,
            ..before.clone()
        };
        move_place(txn, &before, &after)?;
    }
    Ok(())
}

/// The oldest that are due; behind a backlog every second one is the freshest instead.
fn both_ends(
    txn: &Txn<'_>,
    endpoint: &EndpointName,
    waiting: &[u8],
    now: Timestamp,
    limit: usize,
) -> Result<Places, StoreError> {
    let mut oldest = txn.first(Tree::DeliveryDue, waiting, limit)?;
    let behind = oldest
        .first()
        .and_then(|(key, _)| keys::parse_delivery_due(key));
    if oldest.len() < limit || behind.is_none_or(|(due, _)| now.since(due) < BACKLOG) {
        return Ok(oldest);
    }
    let end = keys::delivery_due_until(endpoint, false, now);
    let freshest = txn.last_before(Tree::DeliveryDue, waiting, &end, (limit / 2).max(1))?;
    // With room for one only, the random ends of both ids are the coin that is tossed: whichever goes, the next toss is a
    // new one. The time would not do, as an endpoint with a rate is looked at in even steps of it.
    let bit = |place: Option<&Pair>| {
        let last = place.and_then(|(key, _)| key.last());
        last.map_or(0, |byte| byte % 2)
    };
    if limit == 1 && bit(oldest.first()) == bit(freshest.first()) {
        return Ok(oldest);
    }
    oldest.truncate(limit - freshest.len());
    for place in freshest {
        if !oldest.contains(&place) {
            oldest.push(place);
        }
    }
    Ok(oldest)
}

fn claim_due(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    places: Places,
    now: Timestamp,
    lease: Duration,
    claims: &mut Vec<DeliveryClaim>,
) -> Result<(), StoreError> {
    for (key, _) in places {
        let (due, event) = keys::parse_delivery_due(&key)
            .ok_or_else(|| damaged(Tree::DeliveryDue, &key, "not a due time and an event"))?;
        if due > now {
            break;
        }
        match claim_one(txn, endpoint, event, now, lease) {
            Ok(claim) => {
                txn.delete(Tree::DeliveryDue, key);
                claims.extend(claim);
            }
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(%error, endpoint = %endpoint, "a delivery is left alone for an hour because a record is damaged; run verify-store");
                let later = keys::delivery_due(endpoint, false, now.plus(DAMAGED_AGAIN), event);
                txn.put_raw(Tree::DeliveryDue, later, Vec::new());
                txn.delete(Tree::DeliveryDue, key);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn claim_one(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    id: EventId,
    now: Timestamp,
    lease: Duration,
) -> Result<Option<DeliveryClaim>, StoreError> {
    let delivery: Option<Delivery> = txn.get(&keys::delivery(id, endpoint))?;
    let Some(delivery) = delivery.filter(Delivery::is_pending) else {
        tracing::error!(event = %id, endpoint = %endpoint, "a place in the delivery queue has no pending delivery; removed");
        return Ok(None);
    };
    let event: Event = txn.get(&id.to_bytes())?.ok_or_else(|| {
        damaged(
            Tree::Events,
            &id.to_bytes(),
            "a delivery's event is not there",
        )
    })?;
    if let DeliveryState::Delivering { until } = delivery.state {
        record_interrupted(txn, &delivery, until)?;
    }
    let begun = delivery.clone().begun(now, lease);
    put_claimed(txn, &begun);
    tallies::put_delivery(txn, Some(&delivery), begun.clone())?;
    Ok(Some(DeliveryClaim {
        delivery: begun,
        event,
        alone: false,
    }))
}

/// The place of a delivery that is claimed.
pub(super) fn put_claimed(txn: &mut Txn<'_>, begun: &Delivery) {
    if let Some(until) = begun.due() {
        let place = keys::delivery_due(&begun.endpoint, true, until, begun.event);
        txn.put_raw(Tree::DeliveryDue, place, Vec::new());
    }
}

/// Whether neither a delivery that waits is due, nor a lease has run out, by what the group has come to.
pub(super) fn is_nothing_due(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    now: Timestamp,
) -> Result<bool, StoreError> {
    for queue in queues(endpoint) {
        if !txn.is_nothing_due(Tree::DeliveryDue, &queue, now)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An attempt that nobody lived to see the end of.
pub(super) fn record_interrupted(
    txn: &mut Txn<'_>,
    delivery: &Delivery,
    at: Timestamp,
) -> Result<(), StoreError> {
    let attempt = Attempt {
        number: delivery.attempts,
        at,
        took: Duration::ZERO,
        outcome: Outcome::interrupted(),
    };
    txn.put(
        keys::attempt(delivery.event, &delivery.endpoint, delivery.attempts),
        attempt,
    )
}
