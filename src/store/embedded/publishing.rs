//! Making events: the event, its deliveries and their places in line, in the transaction of whatever caused them.

use super::keys::{self, Tree};
use super::tallies;
use super::txn::Txn;
use crate::domain::{
    Delivery, DeliveryState, Event, EventContent, EventId, OperationalEvent, Routing, Timestamp,
};
use crate::store::{Lane, StoreError};

/// Stores an event and a delivery for each endpoint that is to hear of it.
pub(super) fn publish(
    txn: &mut Txn<'_>,
    event: Event,
    routing: &Routing,
) -> Result<(), StoreError> {
    let (line, sequence) = match &event.content {
        EventContent::Result(result) => {
            let key = keys::event_of_user(&result.merchant, &result.user, result.sequence);
            txn.put_raw(Tree::EventsByUser, key, event.id.to_bytes().to_vec());
            (
                Some((result.merchant.clone(), result.user.clone())),
                result.sequence,
            )
        }
        EventContent::Operational(_) => (None, 0),
    };
    for route in routing.targets(&event) {
        let delivery = Delivery {
            endpoint: route.endpoint.clone(),
            event: event.id,
            line: line.clone().filter(|_| route.ordered),
            sequence,
            created: event.at,
            since: event.at,
            attempts: 0,
            spent: 0,
            replay: false,
            last_failure: None,
            state: DeliveryState::Waiting { due: event.at },
        };
        enqueue(txn, delivery)?;
    }
    txn.put(event.id.to_bytes().to_vec(), event)
}

/// Makes an operational event if anybody wants to hear of it.
pub(super) fn publish_news(
    txn: &mut Txn<'_>,
    id: EventId,
    at: Timestamp,
    news: OperationalEvent,
    routing: &Routing,
) -> Result<(), StoreError> {
    let event = Event {
        id,
        at,
        content: EventContent::Operational(news),
    };
    if routing.targets(&event).next().is_none() {
        return Ok(());
    }
    publish(txn, event, routing)
}

/// Stores a pending delivery and puts it in line; the first of its line is due.
pub(super) fn enqueue(txn: &mut Txn<'_>, delivery: Delivery) -> Result<(), StoreError> {
    let mut is_first = true;
    if let Some((merchant, user)) = &delivery.line {
        let line = keys::line_prefix(&delivery.endpoint, merchant, user);
        is_first = txn.first(Tree::DeliveryLine, &line, 1)?.is_empty();
        let place = keys::line(&delivery.endpoint, merchant, user, delivery.sequence);
        txn.put_raw(
            Tree::DeliveryLine,
            place,
            delivery.event.to_bytes().to_vec(),
        );
    }
    if let Some(due) = delivery.due().filter(|_| is_first) {
        let key = keys::delivery_due(&delivery.endpoint, false, due, delivery.event);
        txn.put_raw(Tree::DeliveryDue, key, Vec::new());
        txn.ring(Lane::Deliver(delivery.endpoint.clone()));
    }
    // One that was settled before may be told again.
    let before: Option<Delivery> = txn.get(&keys::delivery(delivery.event, &delivery.endpoint))?;
    tallies::put_delivery(txn, before.as_ref(), delivery)
}
