//! Reads: stories, counts, lists. None of them holds anything up.

use std::collections::BTreeMap;

use super::codec::{self, Record, damaged};
use super::engine::Engine;
use super::fanout;
use super::keys::{self, Tree};
use super::orders;
use super::tallies;
use crate::domain::{
    Callback, CallbackId, Delivery, EndpointName, Event, EventId, MerchantNo, UserId, UserState,
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
        match get(engine, &id)? {
            Some(record) => found.push(record),
            None if engine.get(index, &key)?.is_some() => {
                return Err(damaged(index, &key, "what it points at is not there"));
            }
            // Both went by their age in between.
            None => {}
        }
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
    let mut recognized = Vec::new();
    for entry in engine.prefix(Tree::CallbacksByUser, &prefix)? {
        let (key, noted) = entry?;
        if let (Some(id), Some(at)) = (keys::trailing_id(&key), keys::recognized(&noted)) {
            recognized.push((CallbackId::from_bytes(id), at));
        }
    }
    let results: Vec<Event> = by_index(engine, Tree::EventsByUser, &prefix, |_, value| {
        keys::trailing_id(value)
    })?;
    let mut events = Vec::with_capacity(results.len());
    for event in results {
        let deliveries = told(engine, &event)?;
        events.push((event, deliveries));
    }
    Ok(Story {
        callbacks,
        recognized,
        orders: orders::of(engine, &key)?,
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
    let Some(of) = get::<Event>(engine, &event.to_bytes())? else {
        return Ok(None);
    };
    let Some(found) = made_or_to_come(engine, &of, endpoint)? else {
        return Ok(None);
    };
    let attempts = all(engine, &keys::attempt_prefix(event, endpoint))?;
    Ok(Some((of, (found, attempts))))
}

/// An endpoint's delivery of an event; one that is still to be made as it will be.
pub(super) fn made_or_to_come(
    engine: &Engine,
    event: &Event,
    endpoint: &EndpointName,
) -> Result<Option<Delivery>, StoreError> {
    let key = keys::delivery(event.id, endpoint);
    if let Some(made) = get(engine, &key)? {
        return Ok(Some(made));
    }
    let to_come = fanout::deliveries_to_come(engine, event, Some(endpoint))?.pop();
    // It may have been made in between.
    to_come.map_or_else(|| get(engine, &key), |found| Ok(Some(found)))
}

/// An event with its deliveries and their attempts.
pub(super) fn event(
    engine: &Engine,
    id: EventId,
) -> Result<Option<(Event, Vec<Told>)>, StoreError> {
    let Some(event) = get::<Event>(engine, &id.to_bytes())? else {
        return Ok(None);
    };
    let told = told(engine, &event)?;
    Ok(Some((event, told)))
}

/// The deliveries of an event with their attempts, those that are still to be made as they will be, by endpoint.
fn told(engine: &Engine, event: &Event) -> Result<Vec<Told>, StoreError> {
    // First: what is made meanwhile is met twice, and not missed.
    let to_come = fanout::deliveries_to_come(engine, event, None)?;
    let made: Vec<Delivery> = all(engine, &event.id.to_bytes())?;
    let mut told: BTreeMap<EndpointName, Told> = (to_come.into_iter())
        .map(|one| (one.endpoint.clone(), (one, Vec::new())))
        .collect();
    for delivery in made {
        let endpoint = delivery.endpoint.clone();
        let attempts = all(engine, &keys::attempt_prefix(event.id, &endpoint))?;
        told.insert(endpoint, (delivery, attempts));
    }
    Ok(told.into_values().collect())
}

pub(super) fn pending(engine: &Engine) -> Result<Pending, StoreError> {
    let tallies = tallies::read(engine)?;
    let deliveries = tallies.endpoints.into_iter();
    Ok(Pending {
        verifications: tallies.verifications,
        deliveries: deliveries
            .filter(|(_, tally)| tally.pending > 0)
            .map(|(endpoint, tally)| (endpoint, tally.pending))
            .collect(),
    })
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

#[cfg(test)]
mod tests;
