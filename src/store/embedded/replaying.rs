//! Replays: counted by reading, then worked off a part at a time, each part with its progress in one transaction.

use super::codec;
use super::engine::Engine;
use super::keys::{self, Tree};
use super::publishing;
use super::txn::Txn;
use crate::domain::{
    Delivery, DeliveryState, Event, EventContent, EventId, Replay, ReplayOrder, ReplayProgress,
    Routing, Timestamp,
};
use crate::store::StoreError;

/// Events read at a time while counting, during which commits wait.
const PART: usize = 256;

/// The first key that events of an order can have.
fn first_key(order: &ReplayOrder) -> Vec<u8> {
    EventId::new(order.since, 0).to_bytes().to_vec()
}

fn read<R: codec::Record>(engine: &Engine, key: &[u8]) -> Result<Option<R>, StoreError> {
    let stored = engine.get(R::TREE, key)?;
    stored.map(|bytes| codec::decode(key, &bytes)).transpose()
}

/// How many events an order is about.
pub(super) fn count(
    engine: &Engine,
    order: &ReplayOrder,
    routing: &Routing,
) -> Result<u64, StoreError> {
    let mut number = 0;
    let mut after = before(&first_key(order));
    loop {
        let part = engine.part(Tree::Events, after.as_deref(), PART)?;
        let Some((last, _)) = part.last() else {
            return Ok(number);
        };
        after = Some(last.to_vec());
        for (key, bytes) in &part {
            let event: Event = codec::decode(key, bytes)?;
            if event.id.made_at() >= order.until {
                return Ok(number);
            }
            let delivery: Option<Delivery> =
                read(engine, &keys::delivery(event.id, &order.endpoint))?;
            number += u64::from(order.wants(&event, delivery.as_ref(), routing));
        }
    }
}

/// A key after which `key` itself comes next among keys of this length.
fn before(key: &[u8]) -> Option<Vec<u8>> {
    let mut one_less = key.to_vec();
    for byte in one_less.iter_mut().rev() {
        if let Some(less) = byte.checked_sub(1) {
            *byte = less;
            return Some(one_less);
        }
        *byte = u8::MAX;
    }
    None
}

pub(super) fn all(engine: &Engine) -> Result<Vec<Replay>, StoreError> {
    let entries = engine.prefix(Tree::Jobs, &[])?;
    entries
        .map(|entry| entry.and_then(|(key, bytes)| codec::decode(&key, &bytes)))
        .collect()
}

pub(super) fn begin(
    txn: &mut Txn<'_>,
    order: ReplayOrder,
    total: u64,
    now: Timestamp,
) -> Result<Replay, StoreError> {
    let last = txn.last_before(Tree::Jobs, &[], &u64::MAX.to_be_bytes(), 1)?;
    let last = last.first().map(|(key, _)| key.as_slice());
    let last = last
        .and_then(|key| key.try_into().ok())
        .map(u64::from_be_bytes);
    let replay = Replay {
        id: last.unwrap_or(0) + 1,
        order,
        ordered: now,
        total,
        done: 0,
        progress: ReplayProgress::Running { after: None },
    };
    put(txn, &replay)?;
    Ok(replay)
}

pub(super) fn cancel(
    txn: &mut Txn<'_>,
    id: u64,
    now: Timestamp,
) -> Result<Option<Replay>, StoreError> {
    let Some(mut replay): Option<Replay> = txn.get(&id.to_be_bytes())? else {
        return Ok(None);
    };
    if replay.progress.is_running() {
        replay.progress = ReplayProgress::Cancelled { at: now };
        put(txn, &replay)?;
    }
    Ok(Some(replay))
}

/// Looks at the next `limit` events and hands on those that are wanted. Returns how it now stands.
pub(super) fn advance(
    txn: &mut Txn<'_>,
    id: u64,
    limit: usize,
    now: Timestamp,
    routing: &Routing,
) -> Result<Option<Replay>, StoreError> {
    let Some(mut replay): Option<Replay> = txn.get(&id.to_be_bytes())? else {
        return Ok(None);
    };
    let ReplayProgress::Running { after } = replay.progress else {
        return Ok(Some(replay));
    };
    let from = match after {
        Some(event) => event.successor().to_bytes().to_vec(),
        None => first_key(&replay.order),
    };
    let part = txn.first_from(Tree::Events, &from, &[], limit)?;
    let mut ended = part.len() < limit;
    for (key, bytes) in part {
        let event: Event = codec::decode(&key, &bytes)?;
        if event.id.made_at() >= replay.order.until {
            ended = true;
            break;
        }
        replay.progress = ReplayProgress::Running {
            after: Some(event.id),
        };
        let delivery: Option<Delivery> =
            txn.get(&keys::delivery(event.id, &replay.order.endpoint))?;
        if replay.order.wants(&event, delivery.as_ref(), routing) {
            again(txn, &replay.order, &event, delivery, now, routing)?;
            replay.done += 1;
        }
    }
    if ended {
        replay.progress = ReplayProgress::Done { at: now };
    }
    put(txn, &replay)?;
    Ok(Some(replay))
}

fn put(txn: &mut Txn<'_>, replay: &Replay) -> Result<(), StoreError> {
    txn.put(replay.id.to_be_bytes().to_vec(), replay.clone())
}

fn again(
    txn: &mut Txn<'_>,
    order: &ReplayOrder,
    event: &Event,
    delivery: Option<Delivery>,
    now: Timestamp,
    routing: &Routing,
) -> Result<(), StoreError> {
    let ordered = routing
        .targets(event)
        .any(|route| route.endpoint == order.endpoint && route.ordered);
    let (line, sequence) = match &event.content {
        EventContent::Result(result) => (
            ordered.then(|| (result.merchant.clone(), result.user.clone())),
            result.sequence,
        ),
        EventContent::Operational(_) => (None, 0),
    };
    // At the end of its user's line. Where something newer stands already, it is late, and goes beside the line.
    let line = match line {
        Some((merchant, user)) => {
            let prefix = keys::line_prefix(&order.endpoint, &merchant, &user);
            let own = keys::line(&order.endpoint, &merchant, &user, sequence);
            let is_last = txn
                .first_from(Tree::DeliveryLine, &own, &prefix, 1)?
                .is_empty();
            is_last.then_some((merchant, user))
        }
        None => None,
    };
    let delivery = delivery.unwrap_or_else(|| Delivery {
        endpoint: order.endpoint.clone(),
        event: event.id,
        line: None,
        sequence,
        created: now,
        since: now,
        attempts: 0,
        spent: 0,
        replay: true,
        last_failure: None,
        state: DeliveryState::Waiting { due: now },
    });
    publishing::enqueue(txn, delivery.replayed(now, line))
}
