//! Reads: stories, counts, lists. None of them holds anything up.

use super::codec::{self, Record, damaged};
use super::engine::Engine;
use super::keys::{self, Tree};
use crate::domain::{
    Attempt, Callback, Delivery, EndpointName, Event, EventId, MerchantNo, UserId, UserState,
    Verification,
};
use crate::store::{Pending, QueryRecord, StoreError, Story, Told};

fn get<R: Record>(engine: &Engine, key: &[u8]) -> Result<Option<R>, StoreError> {
    engine
        .get(R::TREE, key)?
        .map(|bytes| codec::decode(key, &bytes))
        .transpose()
}

fn all<R: Record>(engine: &Engine, prefix: &[u8]) -> Result<Vec<R>, StoreError> {
    let entries = engine.prefix(R::TREE, prefix)?;
    entries
        .map(|entry| entry.and_then(|(key, bytes)| codec::decode(&key, &bytes)))
        .collect()
}

/// The records that an index points at by the id at the end of its keys (or in its values).
fn by_index<R: Record>(
    engine: &Engine,
    index: Tree,
    prefix: &[u8],
    id_of: impl Fn(&[u8], &[u8]) -> Option<[u8; 16]>,
) -> Result<Vec<R>, StoreError> {
    let mut found = Vec::new();
    for entry in engine.prefix(index, prefix)? {
        let (key, value) = entry?;
        let id = id_of(&key, &value).ok_or_else(|| damaged(index, &key, "no id in it"))?;
        let record = get(engine, &id)?
            .ok_or_else(|| damaged(index, &key, "what it points at is not there"))?;
        found.push(record);
    }
    Ok(found)
}

pub(super) fn story(
    engine: &Engine,
    merchant: &MerchantNo,
    user: &UserId,
) -> Result<Story, StoreError> {
    let key = keys::user(merchant, user);
    let prefix = keys::user_prefix(merchant, user);
    let callbacks: Vec<Callback> = by_index(engine, Tree::CallbacksByUser, &prefix, |key, _| {
        keys::trailing_id(key)
    })?;
    let told: Vec<Event> = by_index(engine, Tree::EventsByUser, &prefix, |_, value| {
        keys::trailing_id(value)
    })?;
    let mut events = Vec::with_capacity(told.len());
    for event in told {
        let deliveries: Vec<Delivery> = all(engine, &event.id.to_bytes())?;
        let mut with_attempts = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let attempts: Vec<Attempt> =
                all(engine, &keys::attempt_prefix(event.id, &delivery.endpoint))?;
            with_attempts.push((delivery, attempts));
        }
        events.push((event, with_attempts));
    }
    Ok(Story {
        callbacks,
        queries: all::<QueryRecord>(engine, &prefix)?,
        events,
        state: get::<UserState>(engine, &key)?.unwrap_or_default(),
        verification: get::<Verification>(engine, &key)?,
    })
}

/// A delivery with its event and its attempts.
pub(super) fn delivery(
    engine: &Engine,
    event: EventId,
    endpoint: &EndpointName,
) -> Result<Option<(Event, Told)>, StoreError> {
    let found: Option<Delivery> = get(engine, &keys::delivery(event, endpoint))?;
    let told: Option<Event> = get(engine, &event.to_bytes())?;
    let (Some(found), Some(told)) = (found, told) else {
        return Ok(None);
    };
    let attempts = all(engine, &keys::attempt_prefix(event, endpoint))?;
    Ok(Some((told, (found, attempts))))
}

pub(super) fn pending(engine: &Engine) -> Result<Pending, StoreError> {
    let verifications = engine.prefix(Tree::VerifyDue, &[])?.count();
    let mut deliveries: Vec<(EndpointName, u64)> = Vec::new();
    // What stands in a line is counted there, what does not in the queue.
    for entry in engine.prefix(Tree::DeliveryLine, &[])? {
        count(&mut deliveries, Tree::DeliveryLine, &entry?.0)?;
    }
    for entry in engine.prefix(Tree::DeliveryDue, &[])? {
        let (key, _) = entry?;
        let Some((_, event)) = keys::parse_delivery_due(&key) else {
            return Err(damaged(
                Tree::DeliveryDue,
                &key,
                "not a due time and an event",
            ));
        };
        let endpoint = keys::parse_endpoint(&key);
        let delivery: Option<Delivery> = match &endpoint {
            Some(endpoint) => get(engine, &keys::delivery(event, endpoint))?,
            None => None,
        };
        if delivery.is_some_and(|delivery| delivery.line.is_none()) {
            count(&mut deliveries, Tree::DeliveryDue, &key)?;
        }
    }
    deliveries.sort();
    Ok(Pending {
        verifications: u64::try_from(verifications).unwrap_or(u64::MAX),
        deliveries,
    })
}

fn count(counts: &mut Vec<(EndpointName, u64)>, tree: Tree, key: &[u8]) -> Result<(), StoreError> {
    let endpoint = keys::parse_endpoint(key).ok_or_else(|| damaged(tree, key, "no endpoint"))?;
    match counts.iter_mut().rev().find(|(name, _)| *name == endpoint) {
        Some((_, number)) => *number += 1,
        None => counts.push((endpoint, 1)),
    }
    Ok(())
}

pub(super) fn unrecognized(engine: &Engine, limit: usize) -> Result<Vec<Callback>, StoreError> {
    let mut ids = Vec::new();
    for entry in engine.prefix(Tree::Unrecognized, &[])? {
        let (key, _) = entry?;
        ids.push(
            keys::trailing_id(&key).ok_or_else(|| damaged(Tree::Unrecognized, &key, "no id"))?,
        );
    }
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids.truncate(limit);
    ids.iter()
        .filter_map(|id| get(engine, id).transpose())
        .collect()
}
