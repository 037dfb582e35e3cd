//! Use cases of the deliver stage: claim what is due, record what came of it, let the next of the line follow.

use std::time::Duration;

use super::codec::damaged;
use super::engine::Engine;
use super::keys::{self, Tree};
use super::publishing;
use super::txn::Txn;
use super::verifying::DAMAGED_AGAIN;
use crate::domain::{
    Attempt, Delivery, DeliveryState, EndpointName, Event, EventId, OperationalEvent, Outcome,
    Timestamp,
};
use crate::store::{AttemptReport, DeliveryClaim, Lane, StoreError};

/// When the endpoint's next delivery is due.
pub(super) fn next_due(
    engine: &Engine,
    endpoint: &EndpointName,
) -> Result<Option<Timestamp>, StoreError> {
    let mut earliest: Option<Timestamp> = None;
    for leased in [true, false] {
        let prefix = keys::delivery_due_prefix(endpoint, leased);
        if let Some(entry) = engine.prefix(Tree::DeliveryDue, &prefix)?.next() {
            let (key, _) = entry?;
            let (due, _) = keys::parse_delivery_due(&key)
                .ok_or_else(|| damaged(Tree::DeliveryDue, &key, "not a due time and an event"))?;
            earliest = Some(earliest.map_or(due, |known| known.min(due)));
        }
    }
    Ok(earliest)
}

pub(super) fn any_due(
    engine: &Engine,
    endpoint: &EndpointName,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(next_due(engine, endpoint)?.is_some_and(|due| due <= now))
}

pub(super) fn claim(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    now: Timestamp,
    lease: Duration,
    limit: usize,
) -> Result<Vec<DeliveryClaim>, StoreError> {
    let mut claims = Vec::new();
    // Leases that ran out first: those are the oldest.
    for leased in [true, false] {
        let prefix = keys::delivery_due_prefix(endpoint, leased);
        let open = limit.saturating_sub(claims.len());
        for (key, _) in txn.first(Tree::DeliveryDue, &prefix, open)? {
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
                    let later =
                        keys::delivery_due(endpoint, leased, now.plus(DAMAGED_AGAIN), event);
                    txn.put_raw(Tree::DeliveryDue, later, Vec::new());
                    txn.delete(Tree::DeliveryDue, key);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(claims)
}

fn claim_one(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    id: EventId,
    now: Timestamp,
    lease: Duration,
) -> Result<Option<DeliveryClaim>, StoreError> {
    let key = keys::delivery(id, endpoint);
    let delivery: Option<Delivery> = txn.get(&key)?;
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
    let delivery = delivery.begun(now, lease);
    let until = now.plus(lease);
    txn.put_raw(
        Tree::DeliveryDue,
        keys::delivery_due(endpoint, true, until, id),
        Vec::new(),
    );
    txn.put(key, delivery.clone())?;
    Ok(Some(DeliveryClaim { delivery, event }))
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

/// The delivery, if the claim still holds it.
fn held(txn: &Txn<'_>, claim: &DeliveryClaim) -> Result<Option<Delivery>, StoreError> {
    let claimed = &claim.delivery;
    let stored: Option<Delivery> = txn.get(&keys::delivery(claimed.event, &claimed.endpoint))?;
    Ok(stored.filter(|stored| {
        stored.attempts == claimed.attempts
            && matches!(stored.state, DeliveryState::Delivering { .. })
    }))
}

pub(super) fn record(
    txn: &mut Txn<'_>,
    claim: &DeliveryClaim,
    report: &AttemptReport,
) -> Result<Option<Delivery>, StoreError> {
    let Some(before) = held(txn, claim)? else {
        return Ok(None);
    };
    let attempt = Attempt {
        number: before.attempts,
        at: report.began,
        took: report.took,
        outcome: report.outcome.clone(),
    };
    txn.put(
        keys::attempt(before.event, &before.endpoint, before.attempts),
        attempt,
    )?;
    let after = before
        .clone()
        .settled(&report.outcome, report.now, report.draw, &report.policy);
    move_place(txn, &before, &after)?;
    if let DeliveryState::Abandoned { reason, .. } = after.state
        && claim.event.merchant_of_result().is_some()
    {
        // News of the relay itself make no further news when they are not heard.
        let news = OperationalEvent::DeliveryAbandoned {
            endpoint: after.endpoint.clone(),
            event: after.event,
            attempts: after.attempts,
            reason,
            last_failure: after.last_failure,
        };
        publishing::publish_news(txn, report.fresh, report.now, news, &report.routing)?;
    }
    Ok(Some(after))
}

pub(super) fn release(
    txn: &mut Txn<'_>,
    claim: &DeliveryClaim,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(before) = held(txn, claim)? else {
        return Ok(());
    };
    let after = before.clone().released(now);
    move_place(txn, &before, &after)
}

/// Stores a delivery that was first in its line in its new state; once it is settled, the next of the line is due.
pub(super) fn move_place(
    txn: &mut Txn<'_>,
    before: &Delivery,
    after: &Delivery,
) -> Result<(), StoreError> {
    let endpoint = &after.endpoint;
    if let Some(due) = before.due() {
        let leased = matches!(before.state, DeliveryState::Delivering { .. });
        txn.delete(
            Tree::DeliveryDue,
            keys::delivery_due(endpoint, leased, due, before.event),
        );
    }
    match after.due() {
        Some(due) => {
            let leased = matches!(after.state, DeliveryState::Delivering { .. });
            let key = keys::delivery_due(endpoint, leased, due, after.event);
            txn.put_raw(Tree::DeliveryDue, key, Vec::new());
            txn.ring(Lane::Deliver(endpoint.clone()));
        }
        None => leave_line(txn, after)?,
    }
    txn.put(keys::delivery(after.event, endpoint), after.clone())
}

fn leave_line(txn: &mut Txn<'_>, settled: &Delivery) -> Result<(), StoreError> {
    let Some((merchant, user)) = &settled.line else {
        return Ok(());
    };
    let endpoint = &settled.endpoint;
    txn.delete(
        Tree::DeliveryLine,
        keys::line(endpoint, merchant, user, settled.sequence),
    );
    let line = keys::line_prefix(endpoint, merchant, user);
    let Some((key, event)) = txn.first(Tree::DeliveryLine, &line, 1)?.into_iter().next() else {
        return Ok(());
    };
    let event = keys::trailing_id(&event)
        .map(EventId::from_bytes)
        .ok_or_else(|| damaged(Tree::DeliveryLine, &key, "not an event id"))?;
    let next: Option<Delivery> = txn.get(&keys::delivery(event, endpoint))?;
    let due = next.as_ref().and_then(Delivery::due).ok_or_else(|| {
        damaged(
            Tree::DeliveryLine,
            &key,
            "the delivery next in line is not pending",
        )
    })?;
    txn.put_raw(
        Tree::DeliveryDue,
        keys::delivery_due(endpoint, false, due, event),
        Vec::new(),
    );
    txn.ring(Lane::Deliver(endpoint.clone()));
    Ok(())
}
