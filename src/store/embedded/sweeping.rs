//! What is settled and old goes, a few at a time. What is old is found by reading, outside of any commit; whether it is
//! settled is decided in the transaction that deletes it, together with everything that refers to it.

use super::codec::{self, damaged};
use super::engine::Engine;
use super::keys::{self, Tree};
use super::orders;
use super::tallies;
use super::txn::{Room, Txn};
use crate::domain::{
    Callback, CallbackId, Delivery, DeliveryState, Event, EventContent, EventId, Job, Timestamp,
};
use crate::store::{Bygone, StoreError, SweepFrom};

/// Events before what caused them: where an event stays, so does what is held of its user.
const STAGES: [Tree; 4] = [Tree::Events, Tree::Callbacks, Tree::Queries, Tree::Jobs];

/// Entries read at a time, during which commits wait.
const PART: usize = 256;

/// Entries looked at for one step: queries stand in the order of users, old beside new.
const LOOKED_AT: usize = 5_000;

/// The tree and key of something old.
pub(super) type Old = (Tree, Vec<u8>);

/// A step of the walk over what is old.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) old: Vec<Old>,
    /// Where the next step begins; `None`: the walk is over.
    pub(super) next: Option<SweepFrom>,
}

/// Whether an entry is from before then; `None`: neither is any that follows.
fn is_old(tree: Tree, key: &[u8], before: Timestamp) -> Result<Option<bool>, StoreError> {
    let id =
        || <[u8; 16]>::try_from(key).map_err(|_length| damaged(tree, key, "its key is not an id"));
    Ok(match tree {
        // Ids begin with the time: their trees are in its order.
        Tree::Events => (EventId::from_bytes(id()?).made_at() < before).then_some(true),
        Tree::Callbacks => (CallbackId::from_bytes(id()?).made_at() < before).then_some(true),
        Tree::Queries => Some(keys::time_of_query(key).is_some_and(|at| at < before)),
        _ => Some(true),
    })
}

/// Looks for the next `limit` entries from before then.
pub(super) fn look(
    engine: &Engine,
    before: Timestamp,
    from: Option<&SweepFrom>,
    limit: usize,
) -> Result<Looked, StoreError> {
    let start = from.and_then(|from| from.0.split_first());
    let (mut stage, mut after) = match start {
        Some((stage, [])) => (usize::from(*stage), None),
        Some((stage, key)) => (usize::from(*stage), Some(key.to_vec())),
        None => (0, None),
    };
    let mut looked = Looked::default();
    let mut looked_at = 0;
    while let Some(tree) = STAGES.get(stage).copied() {
        let part = engine.part(tree, after.as_deref(), PART)?;
        let mut ended = part.len() < PART;
        for (key, _) in part {
            let Some(old) = is_old(tree, &key, before)? else {
                ended = true;
                break;
            };
            after = Some(key.to_vec());
            if old {
                looked.old.push((tree, key.to_vec()));
            }
            looked_at += 1;
            if looked.old.len() >= limit || looked_at >= LOOKED_AT {
                let mut place = vec![u8::try_from(stage).unwrap_or(u8::MAX)];
                place.extend_from_slice(&key);
                looked.next = Some(SweepFrom(place));
                return Ok(looked);
            }
        }
        if ended {
            stage += 1;
            after = None;
        }
    }
    Ok(looked)
}

/// How much would go, were everything from before then looked at now.
pub(super) fn count(engine: &Engine, before: Timestamp) -> Result<Bygone, StoreError> {
    let (mut sum, mut from) = (Bygone::default(), None);
    loop {
        let looked = look(engine, before, from.as_ref(), PART)?;
        // The same as if it were done.
        let mut thrown_away = Txn::new(engine, Room::ANY);
        sum = sum.plus(remove(&mut thrown_away, &looked.old, before)?);
        from = looked.next;
        if from.is_none() {
            return Ok(sum);
        }
    }
}

/// Deletes those that are settled. A record that does not parse stays, and stops nobody.
pub(super) fn remove(
    txn: &mut Txn<'_>,
    old: &[Old],
    before: Timestamp,
) -> Result<Bygone, StoreError> {
    let mut gone = Bygone::default();
    for (tree, key) in old {
        let removed = match tree {
            Tree::Events => event(txn, key, before),
            Tree::Callbacks => callback(txn, key, before),
            Tree::Queries => query(txn, key, before),
            _ => job(txn, key, before),
        };
        match removed {
            Ok(removed) => gone = gone.plus(removed),
            Err(StoreError::Damaged { tree, key, .. }) => {
                tracing::debug!(tree, key, "a damaged record is kept whatever its age");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

/// The deliveries of an event, if it is settled: each was made, and told, or given up, before then.
fn settled(
    txn: &Txn<'_>,
    event: EventId,
    before: Timestamp,
) -> Result<Option<Vec<Delivery>>, StoreError> {
    if !txn.first(Tree::FanOut, &event.to_bytes(), 1)?.is_empty() {
        return Ok(None);
    }
    let entries = txn.first(Tree::Deliveries, &event.to_bytes(), usize::MAX)?;
    let mut deliveries = Vec::with_capacity(entries.len());
    for (key, bytes) in entries {
        let delivery: Delivery = codec::decode(&key, &bytes)?;
        match delivery.state {
            DeliveryState::Delivered { at } | DeliveryState::Abandoned { at, .. }
                if at < before => {}
            _ => return Ok(None),
        }
        deliveries.push(delivery);
    }
    Ok(Some(deliveries))
}

fn event(txn: &mut Txn<'_>, key: &[u8], before: Timestamp) -> Result<Bygone, StoreError> {
    let mut gone = Bygone::default();
    let Some(event) = txn.get::<Event>(key)? else {
        return Ok(gone);
    };
    let Some(deliveries) = settled(txn, event.id, before)? else {
        return Ok(gone);
    };
    for delivery in deliveries {
        let attempts = keys::attempt_prefix(event.id, &delivery.endpoint);
        for (attempt, _) in txn.first(Tree::Attempts, &attempts, usize::MAX)? {
            txn.delete(Tree::Attempts, attempt);
            gone.attempts += 1;
        }
        tallies::drop_delivery(txn, &delivery)?;
        gone.deliveries += 1;
    }
    if let EventContent::Result(result) = &event.content {
        let index = keys::event_of_user(&result.merchant, &result.user, result.sequence);
        txn.delete(Tree::EventsByUser, index);
    }
    txn.delete(Tree::Events, key);
    gone.events += 1;
    Ok(gone)
}

/// Whether something of a user is not settled: it is being asked about, or an old event of it stays. `user` is what the
/// user's keys begin with.
fn is_open(txn: &Txn<'_>, user: &[u8], before: Timestamp) -> Result<bool, StoreError> {
    if txn.get_raw(Tree::Verifications, user)?.is_some() {
        return Ok(true);
    }
    let mut events = user.to_vec();
    events.push(0);
    for (key, id) in txn.first(Tree::EventsByUser, &events, usize::MAX)? {
        let id = keys::trailing_id(&id)
            .map(EventId::from_bytes)
            .ok_or_else(|| damaged(Tree::EventsByUser, &key, "not an event id"))?;
        if id.made_at() >= before {
            return Ok(false);
        }
        if settled(txn, id, before)?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn callback(txn: &mut Txn<'_>, key: &[u8], before: Timestamp) -> Result<Bygone, StoreError> {
    let Some(callback) = txn.get::<Callback>(key)? else {
        return Ok(Bygone::default());
    };
    let merchant = &callback.merchant;
    let (tree, index) = match &callback.user {
        Some(user) if is_open(txn, &keys::user(merchant, user), before)? => {
            return Ok(Bygone::default());
        }
        Some(user) => (
            Tree::CallbacksByUser,
            keys::callback_of_user(merchant, user, callback.id),
        ),
        None => {
            let index = keys::unrecognized_prefix(merchant, callback.token);
            (Tree::Unrecognized, index.and(key))
        }
    };
    txn.delete(tree, index);
    txn.delete(Tree::Callbacks, key);
    Ok(Bygone {
        callbacks: 1,
        ..Bygone::default()
    })
}

fn query(txn: &mut Txn<'_>, key: &[u8], before: Timestamp) -> Result<Bygone, StoreError> {
    let user = keys::user_of_query(key)
        .ok_or_else(|| damaged(Tree::Queries, key, "not a user and a time"))?;
    if is_open(txn, user, before)? {
        return Ok(Bygone::default());
    }
    orders::forget(txn, user, before)?;
    txn.delete(Tree::Queries, key);
    Ok(Bygone {
        queries: 1,
        ..Bygone::default()
    })
}

fn job(txn: &mut Txn<'_>, key: &[u8], before: Timestamp) -> Result<Bygone, StoreError> {
    let last = txn.last_before(Tree::Jobs, &[], &u64::MAX.to_be_bytes(), 1)?;
    // The newest stays: the numbers go on from it.
    if last.first().is_some_and(|(last, _)| last == key) {
        return Ok(Bygone::default());
    }
    let job: Option<Job> = txn.get(key)?;
    let ended = job.and_then(|job| job.progress.ended());
    if ended.is_none_or(|at| at >= before) {
        return Ok(Bygone::default());
    }
    txn.delete(Tree::Jobs, key);
    Ok(Bygone {
        jobs: 1,
        ..Bygone::default()
    })
}
