//! Use cases of operators: endpoints paused and resumed, deliveries retried and discarded, endpoints tested.

use super::codec::damaged;
use super::fanout;
use super::keys::{self, Tree};
use super::publishing;
use super::settling::{move_place, set_aside};
use super::tallies;
use super::txn::Txn;
use crate::domain::{
    AbandonReason, Delivery, DeliveryState, EndpointName, Event, EventContent, EventId, Health,
    OperationalEvent, PauseReason, Routing, Timestamp,
};
use crate::store::{Lane, Refused, StoreError};

pub(super) fn pause(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    now: Timestamp,
) -> Result<Health, StoreError> {
    let key = endpoint.as_str().as_bytes();
    let health: Health = txn.get(key)?.unwrap_or_default();
    if health.paused.is_some() {
        return Ok(health);
    }
    let paused = health.paused(now, PauseReason::Operator);
    txn.put(key, paused)?;
    Ok(paused)
}

pub(super) fn resume(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    now: Timestamp,
) -> Result<Health, StoreError> {
    let key = endpoint.as_str().as_bytes();
    let health: Health = txn.get(key)?.unwrap_or_default();
    let resumed = health.resumed();
    if resumed != health {
        txn.put(key, resumed)?;
    }
    if health.holds() {
        set_aside(txn, endpoint, now)?;
    }
    txn.ring(Lane::Deliver(endpoint.clone()));
    Ok(resumed)
}

/// Tries again what was abandoned, or at once what waits.
pub(super) fn retry(
    txn: &mut Txn<'_>,
    event: EventId,
    endpoint: &EndpointName,
    now: Timestamp,
) -> Result<Result<Delivery, Refused>, StoreError> {
    let before = match steerable(txn, event, endpoint)? {
        Ok(before) => before,
        Err(why) => return Ok(Err(why)),
    };
    let waits = matches!(before.state, DeliveryState::Waiting { .. });
    if waits && !is_first(txn, &before)? {
        return Ok(Err(Refused::BehindAnother));
    }
    retry_one(txn, before, now).map(Ok)
}

/// Gives up what is pending; what is out is not called back.
pub(super) fn discard(
    txn: &mut Txn<'_>,
    event: EventId,
    endpoint: &EndpointName,
    now: Timestamp,
) -> Result<Result<Delivery, Refused>, StoreError> {
    match steerable(txn, event, endpoint)? {
        Ok(before) => discard_one(txn, before, now).map(Ok),
        Err(why) => Ok(Err(why)),
    }
}

/// A delivery that waits or was abandoned; nothing can be wanted of another.
fn steerable(
    txn: &mut Txn<'_>,
    event: EventId,
    endpoint: &EndpointName,
) -> Result<Result<Delivery, Refused>, StoreError> {
    let Some(delivery) = made(txn, event, endpoint)? else {
        return Ok(Err(Refused::NotThere));
    };
    Ok(match delivery.state {
        DeliveryState::Waiting { .. } | DeliveryState::Abandoned { .. } => Ok(delivery),
        DeliveryState::Delivering { .. } => Err(Refused::UnderWay),
        DeliveryState::Delivered { .. } => Err(Refused::Delivered),
    })
}

/// A delivery; if it is still to be made, it is made now.
pub(super) fn made(
    txn: &mut Txn<'_>,
    event: EventId,
    endpoint: &EndpointName,
) -> Result<Option<Delivery>, StoreError> {
    let key = keys::delivery(event, endpoint);
    let found: Option<Delivery> = txn.get(&key)?;
    if found.is_some() || !fanout::make_for(txn, event, endpoint)? {
        return Ok(found);
    }
    txn.get(&key)
}

/// Retries one that waits or was abandoned.
pub(super) fn retry_one(
    txn: &mut Txn<'_>,
    before: Delivery,
    now: Timestamp,
) -> Result<Delivery, StoreError> {
    if matches!(before.state, DeliveryState::Abandoned { .. }) {
        return revive(txn, before, now);
    }
    let state = DeliveryState::Waiting { due: now };
    let after = Delivery {
        state,
        ..before.clone()
    };
    if is_first(txn, &before)? {
        move_place(txn, &before, &after)?;
    } else {
        // It is due as soon as those before it are settled.
        tallies::put_delivery(txn, Some(&before), after.clone())?;
    }
    Ok(after)
}

/// Puts what was abandoned back to its place in its user's line, before whatever is newer and waits. Beside one that is
/// newer and under way it goes beside the line: nobody can tell which of them arrives first.
fn revive(txn: &mut Txn<'_>, before: Delivery, now: Timestamp) -> Result<Delivery, StoreError> {
    let (mut line, mut late) = (before.line.clone(), false);
    if let Some((merchant, user)) = &before.line {
        let newer = keys::event_of_user(merchant, user, before.sequence.saturating_add(1));
        let results = keys::user_prefix(merchant, user);
        let newer = txn.first_from(Tree::EventsByUser, &newer, &results, usize::MAX)?;
        for (key, event) in newer {
            let event = keys::trailing_id(&event)
                .map(EventId::from_bytes)
                .ok_or_else(|| damaged(Tree::EventsByUser, &key, "not an event id"))?;
            let newer: Option<Delivery> = txn.get(&keys::delivery(event, &before.endpoint))?;
            match newer.map(|newer| newer.state) {
                Some(DeliveryState::Delivering { .. }) => (line, late) = (None, true),
                Some(DeliveryState::Delivered { .. }) => late = true,
                Some(DeliveryState::Waiting { .. } | DeliveryState::Abandoned { .. }) | None => {}
            }
        }
    }
    let after = before.clone().revived(now, line, late);
    publishing::enqueue(txn, Some(&before), after.clone())?;
    Ok(after)
}

/// Discards one that waits or was abandoned: nobody needs to look after it any more.
pub(super) fn discard_one(
    txn: &mut Txn<'_>,
    before: Delivery,
    now: Timestamp,
) -> Result<Delivery, StoreError> {
    if let DeliveryState::Abandoned {
        reason: AbandonReason::Discarded,
        ..
    } = before.state
    {
        return Ok(before);
    }
    let after = before.clone().discarded(now);
    if matches!(before.state, DeliveryState::Waiting { .. }) {
        if is_first(txn, &before)? {
            move_place(txn, &before, &after)?;
            return Ok(after);
        }
        // Nobody follows it: the first of its line has its place in the queue, or is out.
        if let Some((merchant, user)) = &before.line {
            let place = keys::line(&before.endpoint, merchant, user, before.sequence);
            txn.delete(Tree::DeliveryLine, place);
        }
    }
    tallies::put_delivery(txn, Some(&before), after.clone())?;
    Ok(after)
}

/// Whether a waiting delivery is the first of its line, and so has a place in the queue.
fn is_first(txn: &Txn<'_>, delivery: &Delivery) -> Result<bool, StoreError> {
    let Some((merchant, user)) = &delivery.line else {
        return Ok(true);
    };
    let line = keys::line_prefix(&delivery.endpoint, merchant, user);
    let first = txn.first(Tree::DeliveryLine, &line, 1)?.into_iter().next();
    let own = keys::line(&delivery.endpoint, merchant, user, delivery.sequence);
    Ok(first.is_some_and(|(key, _)| key == own))
}

/// Sends an endpoint a test event, whatever it subscribes to.
pub(super) fn test(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    fresh: EventId,
    now: Timestamp,
    routing: &Routing,
) -> Result<bool, StoreError> {
    let news = OperationalEvent::Test {
        endpoint: endpoint.clone(),
    };
    let event = Event {
        id: fresh,
        at: now,
        content: EventContent::Operational(news),
    };
    if routing.targets(&event).next().is_none() {
        return Ok(false);
    }
    publishing::publish(txn, event, routing)?;
    Ok(true)
}
