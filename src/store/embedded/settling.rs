//! Use cases of the deliver stage: record what came of an attempt, and let the next of the line follow.
//!
//! Promise: the attempt, its delivery, the endpoint's health and the news of it are one transaction. It is synced before
//! anything follows from it: a next delivery in the same user's line, another health of the endpoint, news, another
//! attempt. A success of which nothing follows may be written without a sync: should the power fail before the next
//! sync, the receiver hears the same `webhook-id` again, as it may whenever we end between its answer and our record.

use super::codec::damaged;
use super::delivering;
use super::fanout;
use super::keys::{self, Tree};
use super::publishing;
use super::tallies;
use super::txn::Txn;
use crate::domain::{
    Attempt, Delivery, DeliveryState, EndpointName, EventId, Health, HealthChange,
    OperationalEvent, Timestamp,
};
use crate::store::{AttemptRecorded, AttemptReport, DeliveryClaim, Lane, StoreError};

/// Deliveries whose schedule is set aside in one transaction when their endpoint goes down or is resumed: those that
/// failed once or more since it last answered. Any beyond this come by their own schedule.
const SET_ASIDE: usize = 10_000;

/// What a claim is known by.
#[derive(Debug)]
pub(super) struct Claimed {
    event: EventId,
    endpoint: EndpointName,
    attempts: u32,
    /// Its event is a result, and not news of the relay itself.
    is_result: bool,
}

impl Claimed {
    pub(super) fn of(claim: &DeliveryClaim) -> Self {
        let delivery = &claim.delivery;
        Self {
            event: delivery.event,
            endpoint: delivery.endpoint.clone(),
            attempts: delivery.attempts,
            is_result: claim.event.merchant_of_result().is_some(),
        }
    }
}

/// The delivery, if the claim still holds it.
fn held(txn: &Txn<'_>, claim: &Claimed) -> Result<Option<Delivery>, StoreError> {
    let stored: Option<Delivery> = txn.get(&keys::delivery(claim.event, &claim.endpoint))?;
    Ok(stored.filter(|stored| {
        stored.attempts == claim.attempts
            && matches!(stored.state, DeliveryState::Delivering { .. })
    }))
}

pub(super) fn record(
    txn: &mut Txn<'_>,
    claim: &Claimed,
    report: &AttemptReport,
) -> Result<Option<AttemptRecorded>, StoreError> {
    let Some(before) = held(txn, claim)? else {
        return Ok(None);
    };
    let attempt = Attempt {
        number: before.attempts,
        at: report.began,
        took: report.took,
        outcome: report.outcome.clone(),
    };
    let key = keys::attempt(before.event, &before.endpoint, before.attempts);
    txn.put(key, attempt)?;
    // A failure decides when the next attempt is made, and how many are left; a replay was ordered by somebody.
    if report.outcome.failure.is_some() || before.replay {
        txn.require_sync();
    }
    let asked_until = report.outcome.asked_until(report.now);
    let (health, change) = observe_health(txn, &before.endpoint, report)?;
    let after = before.clone().settled(
        &report.outcome,
        report.now,
        report.draw,
        &report.policy,
        // The failure that brings it down was an attempt like any other.
        health.holds() && !matches!(change, HealthChange::Down { .. }),
    );
    let after = if health.holds() {
        // A probe that failed goes behind all that wait by the next one: what is refused for its own sake must not be
        // the only one that is asked with.
        let is_probe = matches!(change, HealthChange::None);
        let next_probe = health.breaker.closed_until().filter(|_| is_probe);
        after.held(next_probe.max(asked_until))
    } else {
        after
    };
    move_place(txn, &before, &after)?;
    if let HealthChange::Down { .. } = change {
        set_aside(txn, &before.endpoint, report.now)?;
    }
    tell(txn, claim, report, &after, change)?;
    let is_as_before = matches!(change, HealthChange::None) && report.outcome.failure.is_none();
    let next = match report.onward.filter(|_| is_as_before) {
        Some(onward) => delivering::claim_next(txn, &after.endpoint, report.now, onward)?,
        None => Vec::new(),
    };
    Ok(Some(AttemptRecorded {
        delivery: after,
        change,
        paused: health.paused,
        held: health.holds(),
        next,
    }))
}

fn observe_health(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    report: &AttemptReport,
) -> Result<(Health, HealthChange), StoreError> {
    let key = endpoint.as_str().as_bytes();
    let before: Health = txn.get(key)?.unwrap_or_default();
    let outcome = &report.outcome;
    let (after, change) = before.observe(outcome, report.now);
    if after != before {
        txn.require_sync();
        txn.put(key, after)?;
    }
    Ok((after, change))
}

/// An attempt has at most one thing to tell of; its endpoint's going down comes before its own abandonment.
fn tell(
    txn: &mut Txn<'_>,
    claim: &Claimed,
    report: &AttemptReport,
    after: &Delivery,
    change: HealthChange,
) -> Result<(), StoreError> {
    let endpoint = after.endpoint.clone();
    let news = match change {
        HealthChange::Down { since } => Some(OperationalEvent::EndpointDown { endpoint, since }),
        HealthChange::Up { since } => Some(OperationalEvent::EndpointRecovered { endpoint, since }),
        HealthChange::Resumed | HealthChange::None => None,
    };
    if let Some(news) = news {
        publishing::publish_news(txn, report.fresh, report.now, news, &report.routing)?;
    }
    if let DeliveryState::Abandoned { reason, .. } = after.state
        && claim.is_result
    {
        // News of the relay itself make no further news when they are not heard.
        let news = OperationalEvent::DeliveryAbandoned {
            endpoint: after.endpoint.clone(),
            event: after.event,
            attempts: after.attempts,
            reason,
            last_failure: after.last_failure,
        };
        publishing::publish_news(txn, report.fresh_too, report.now, news, &report.routing)?;
    }
    Ok(())
}

/// The endpoint is down, or no longer: nobody waits out a schedule of their own; all wait for it, the oldest first. Who
/// met a `Retry-After` still waits that long.
pub(super) fn set_aside(
    txn: &mut Txn<'_>,
    endpoint: &EndpointName,
    now: Timestamp,
) -> Result<(), StoreError> {
    let waiting = keys::delivery_due_prefix(endpoint, false);
    let from = keys::delivery_due_until(endpoint, false, now);
    for (key, _) in txn.first_from(Tree::DeliveryDue, &from, &waiting, SET_ASIDE)? {
        let (_, event) = keys::parse_delivery_due(&key)
            .ok_or_else(|| damaged(Tree::DeliveryDue, &key, "not a due time and an event"))?;
        let before: Option<Delivery> = txn.get(&keys::delivery(event, endpoint))?;
        let Some(before) = before else { continue };
        let last: Option<Attempt> = txn.get(&keys::attempt(event, endpoint, before.attempts))?;
        let asked = last.and_then(|one| one.outcome.asked_until(one.at.plus(one.took)));
        let after = before.clone().held(asked);
        if after != before {
            move_place(txn, &before, &after)?;
        }
    }
    Ok(())
}

pub(super) fn release(
    txn: &mut Txn<'_>,
    claim: &Claimed,
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
    tallies::put_delivery(txn, Some(before), after.clone())
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
    let next = if settled.is_last {
        None
    } else {
        txn.first(Tree::DeliveryLine, &line, 1)?.pop()
    };
    let Some((key, event)) = next else {
        // The newer result may be on its way to this line.
        if fanout::is_newer_to_come(txn, endpoint, (merchant, user), settled.sequence)? {
            txn.require_sync();
        }
        return Ok(());
    };
    // The newer result is on its way from here: after a power cut nobody may think that the older one is still to go.
    txn.require_sync();
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
