//! Making events: the event, its deliveries and their places in line, in the transaction of whatever caused them.

use super::codec::damaged;
use super::delivering;
use super::fanout;
use super::keys::{self, Tree};
use super::tallies;
use super::txn::Txn;
use crate::domain::{
    Delivery, DeliveryState, EndpointName, Event, EventContent, EventId, Health, OperationalEvent,
    Routing, Timestamp,
};
use crate::store::{DeliveryClaim, Hand, Lane, StoreError};

/// Stores an event and a delivery for each endpoint that is to hear of it; where there are very many, a few of the
/// deliveries, and who else is to get one.
pub(super) fn publish(
    txn: &mut Txn<'_>,
    event: Event,
    routing: &Routing,
) -> Result<(), StoreError> {
    let now = fanout::divide(txn, &event, routing)?;
    if let EventContent::Result(result) = &event.content {
        let key = keys::event_of_user(&result.merchant, &result.user, result.sequence);
        txn.put_raw(Tree::EventsByUser, key, &event.id.to_bytes());
    }
    for target in now {
        let mut delivery = fresh(&event, target.endpoint, target.ordered);
        let is_first = comes_first(txn, &mut delivery)?;
        match free_hand(txn, &delivery, is_first)? {
            Some(hand) => begin(txn, hand, delivery, &event)?,
            None => {
                join(txn, &delivery, is_first)?;
                tallies::put_delivery(txn, None, delivery)?;
            }
        }
    }
    txn.put(&event.id.to_bytes(), event)
}

/// Whoever would take this delivery next anyway, if they have a hand free: the endpoint is well, and nothing of it is due.
fn free_hand(
    txn: &mut Txn<'_>,
    delivery: &Delivery,
    is_first: bool,
) -> Result<Option<Hand<DeliveryClaim>>, StoreError> {
    let endpoint = &delivery.endpoint;
    let Some(hand) = txn.deliverer(endpoint).filter(|_| is_first) else {
        return Ok(None);
    };
    let now = hand.from;
    let health: Health = txn.get(endpoint.as_str().as_bytes())?.unwrap_or_default();
    let is_well = !health.holds() && health.resumed.is_none() && health.later(now) <= now;
    Ok((is_well && delivering::is_nothing_due(txn, endpoint, now)?).then_some(hand))
}

/// Stores a first delivery as claimed, and begins it.
fn begin(
    txn: &mut Txn<'_>,
    hand: Hand<DeliveryClaim>,
    delivery: Delivery,
    event: &Event,
) -> Result<(), StoreError> {
    let begun = delivery.begun(hand.from, hand.lease);
    line_up(txn, &begun);
    delivering::put_claimed(txn, &begun);
    tallies::put_delivery(txn, None, begun.clone())?;
    let claim = DeliveryClaim {
        delivery: begun,
        event: event.clone(),
        alone: false,
    };
    txn.begin(hand, claim);
    Ok(())
}

/// A first delivery of an event, whenever it is made.
pub(super) fn fresh(event: &Event, endpoint: EndpointName, ordered: bool) -> Delivery {
    let (line, sequence) = match &event.content {
        EventContent::Result(result) => {
            let line = ordered.then(|| (result.merchant.clone(), result.user.clone()));
            (line, result.sequence)
        }
        EventContent::Operational(_) => (None, 0),
    };
    Delivery {
        endpoint,
        event: event.id,
        line,
        sequence,
        is_last: false,
        created: event.at,
        since: event.at,
        attempts: 0,
        spent: 0,
        replay: false,
        last_failure: None,
        state: DeliveryState::Waiting { due: event.at },
    }
}

/// Whether a delivery of an event that is being made is to be the first of its line; if so it notes whether it is the last, too.
fn comes_first(txn: &mut Txn<'_>, delivery: &mut Delivery) -> Result<bool, StoreError> {
    // Nobody is before the first that is ever told of a user, and nobody waits behind it yet.
    if delivery.sequence <= 1 {
        delivery.is_last = true;
        return Ok(true);
    }
    is_oldest(txn, delivery)
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

/// Stores a pending delivery in the place of what was stored of it before, as one that was settled may be told again, and puts it
/// in line; the first of its line is due. Nothing newer in its line is under way.
pub(super) fn enqueue(
    txn: &mut Txn<'_>,
    before: Option<&Delivery>,
    mut delivery: Delivery,
) -> Result<(), StoreError> {
    let is_first = is_oldest(txn, &mut delivery)?;
    join(txn, &delivery, is_first)?;
    tallies::put_delivery(txn, before, delivery)
}

/// Whether a delivery is to be the first of its line; whoever was that makes way. It notes whether it is the only one there,
/// and whoever it comes to stand behind is no longer the last.
fn is_oldest(txn: &mut Txn<'_>, delivery: &mut Delivery) -> Result<bool, StoreError> {
    delivery.is_last = false;
    let Some((merchant, user)) = &delivery.line else {
        return Ok(true);
    };
    let line = keys::line_prefix(&delivery.endpoint, merchant, user);
    let place = keys::line(&delivery.endpoint, merchant, user, delivery.sequence);
    let Some((first, event)) = txn.first(Tree::DeliveryLine, &line, 1)?.pop() else {
        delivery.is_last = true;
        return Ok(true);
    };
    let first = First::of(&delivery.endpoint, &first, &event)?;
    let is_oldest = *place < *first.place;
    if is_oldest {
        first.makes_way(txn)?;
    } else {
        first.is_followed(txn)?;
    }
    Ok(is_oldest)
}

/// Puts a delivery in its line, and the first of a line in the queue.
fn join(txn: &mut Txn<'_>, delivery: &Delivery, is_first: bool) -> Result<(), StoreError> {
    let endpoint = &delivery.endpoint;
    line_up(txn, delivery);
    if let Some(due) = delivery.due().filter(|_| is_first) {
        let place = keys::delivery_due(endpoint, false, due, delivery.event);
        txn.put_raw(Tree::DeliveryDue, &place, Vec::new());
        if is_awaited(txn, endpoint, &place)? {
            txn.ring(Lane::Deliver(endpoint.clone()));
        }
    }
    Ok(())
}

/// Puts a delivery in its line.
fn line_up(txn: &mut Txn<'_>, delivery: &Delivery) {
    if let Some((merchant, user)) = &delivery.line {
        let place = keys::line(&delivery.endpoint, merchant, user, delivery.sequence);
        txn.put_raw(Tree::DeliveryLine, place, &delivery.event.to_bytes());
    }
}

/// Whether a new place in the queue may be the next that its endpoint's worker takes. Of an endpoint that is paused it
/// takes none, and of one that is down the first, as a probe.
fn is_awaited(txn: &Txn<'_>, endpoint: &EndpointName, place: &[u8]) -> Result<bool, StoreError> {
    let health: Health = txn.get(endpoint.as_str().as_bytes())?.unwrap_or_default();
    if health.paused.is_some() {
        return Ok(false);
    }
    if !health.holds() {
        return Ok(true);
    }
    let waiting = keys::delivery_due_prefix(endpoint, false);
    let first = txn.first(Tree::DeliveryDue, &waiting, 1)?;
    Ok(first.first().is_none_or(|(first, _)| first == place))
}

/// Whoever is the first of a line while another one joins it.
struct First<'a> {
    endpoint: &'a EndpointName,
    place: &'a [u8],
    event: EventId,
}

impl<'a> First<'a> {
    fn of(endpoint: &'a EndpointName, place: &'a [u8], event: &[u8]) -> Result<Self, StoreError> {
        let event = keys::trailing_id(event)
            .map(EventId::from_bytes)
            .ok_or_else(|| damaged(Tree::DeliveryLine, place, "not an event id"))?;
        Ok(Self {
            endpoint,
            place,
            event,
        })
    }

    fn delivery(&self, txn: &Txn<'_>) -> Result<Option<Delivery>, StoreError> {
        txn.get(&keys::delivery(self.event, self.endpoint))
    }

    /// Something older has come before it, and it waits for its turn again. By then others may stand behind it.
    fn makes_way(&self, txn: &mut Txn<'_>) -> Result<(), StoreError> {
        let Some(first) = self.delivery(txn)? else {
            return Ok(());
        };
        if let Some(due) = first.due() {
            let key = keys::delivery_due(self.endpoint, false, due, self.event);
            txn.delete(Tree::DeliveryDue, key);
        }
        is_not_last(txn, first)
    }

    /// Something newer has come behind it. What is wrong with it is for whoever claims it to report.
    fn is_followed(&self, txn: &mut Txn<'_>) -> Result<(), StoreError> {
        match self.delivery(txn) {
            Ok(Some(first)) => is_not_last(txn, first),
            Ok(None) | Err(StoreError::Damaged { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn is_not_last(txn: &mut Txn<'_>, first: Delivery) -> Result<(), StoreError> {
    if !first.is_last {
        return Ok(());
    }
    let after = Delivery {
        is_last: false,
        ..first.clone()
    };
    tallies::put_delivery(txn, Some(&first), after)
}
