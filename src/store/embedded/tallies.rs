//! What is unsettled, kept in an index and counted, so that lists of it and the status page never walk over what is
//! settled.
//!
//! Promise: every delivery is stored through [`put_delivery`] (and goes through [`drop_delivery`]), every verification
//! through `accepting::replace`; index and counts change in the same transaction. `verify-store` compares them.

use std::collections::BTreeMap;

use sled::IVec;

use super::codec::{self, damaged};
use super::engine::Engine;
use super::fanout;
use super::keys::{self, Key, Standing, Tree};
use super::txn::Txn;
use crate::domain::{Delivery, EndpointName, MerchantNo, UserId, Verification, VerifyPhase};
use crate::store::{EndpointTally, StoreError, Tallies};

/// The entry of [`Tree::Meta`] that says that index and counts are kept. A store without it may have been written by a
/// version that did not keep them.
const KEPT: &[u8] = b"tally:kept";

const VERIFICATIONS: &[u8] = b"tally:verifications";
const STUCK: &[u8] = b"tally:stuck";

/// What the counts of endpoints begin with; an endpoint and a standing follow as in [`Tree::Unsettled`].
const ENDPOINTS: &[u8] = b"tally:endpoint:";

fn of_endpoint(endpoint: &EndpointName, standing: Standing) -> Key {
    Key::of([ENDPOINTS, &keys::unsettled_prefix(endpoint, standing)])
}

fn number(key: &[u8], bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes: Result<[u8; 8], _> = bytes.try_into();
    let bytes = bytes.map_err(|_length| damaged(Tree::Meta, key, "not a count"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Adds one, or takes one away. A count of nothing is not kept.
fn change(txn: &mut Txn<'_>, key: &[u8], more: bool) -> Result<(), StoreError> {
    let stored = txn.get_raw(Tree::Meta, key)?;
    let before = stored.map_or(Ok(0), |bytes| number(key, &bytes))?;
    if before == 0 {
        txn.put_raw(Tree::Meta, KEPT, Vec::new());
    }
    let after = if more {
        before.saturating_add(1)
    } else {
        before.saturating_sub(1)
    };
    if after == 0 {
        txn.delete(Tree::Meta, key);
    } else {
        txn.put_raw(Tree::Meta, key, &after.to_be_bytes());
    }
    Ok(())
}

/// Stores a delivery in the place of what was stored of it before.
pub(super) fn put_delivery(
    txn: &mut Txn<'_>,
    before: Option<&Delivery>,
    after: Delivery,
) -> Result<(), StoreError> {
    let was = before.and_then(|before| Standing::of(&before.state));
    stand(txn, &after, was, Standing::of(&after.state))?;
    txn.put(keys::delivery(after.event, &after.endpoint), after)
}

/// Deletes a delivery; its attempts are the caller's.
pub(super) fn drop_delivery(txn: &mut Txn<'_>, delivery: &Delivery) -> Result<(), StoreError> {
    stand(txn, delivery, Standing::of(&delivery.state), None)?;
    let key = keys::delivery(delivery.event, &delivery.endpoint);
    txn.delete(Tree::Deliveries, key);
    Ok(())
}

fn stand(
    txn: &mut Txn<'_>,
    delivery: &Delivery,
    was: Option<Standing>,
    is: Option<Standing>,
) -> Result<(), StoreError> {
    if was == is {
        return Ok(());
    }
    let (endpoint, event) = (&delivery.endpoint, delivery.event);
    if let Some(was) = was {
        txn.delete(Tree::Unsettled, keys::unsettled(endpoint, was, event));
        change(txn, &of_endpoint(endpoint, was), false)?;
    }
    if let Some(is) = is {
        let place = keys::unsettled(endpoint, is, event);
        txn.put_raw(Tree::Unsettled, place, Vec::new());
        change(txn, &of_endpoint(endpoint, is), true)?;
    }
    Ok(())
}

/// One verification takes another's place.
pub(super) fn verification_moved(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    before: Option<&Verification>,
    after: Option<&Verification>,
) -> Result<(), StoreError> {
    if before.is_some() != after.is_some() {
        change(txn, VERIFICATIONS, after.is_some())?;
    }
    let was = before.and_then(|running| keys::stuck(merchant, user, running));
    let is = after.and_then(|running| keys::stuck(merchant, user, running));
    if was == is {
        return Ok(());
    }
    if let Some(place) = was {
        txn.delete(Tree::Stuck, place);
        change(txn, STUCK, false)?;
    }
    if let Some(place) = is {
        txn.put_raw(Tree::Stuck, place, Vec::new());
        change(txn, STUCK, true)?;
    }
    Ok(())
}

/// Everything that index and counts must hold, found out by looking at every record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recount {
    /// Entries of the index trees.
    pub(super) places: Vec<(Tree, Key)>,
    /// Counts by their key in [`Tree::Meta`].
    pub(super) counts: BTreeMap<IVec, u64>,
}

impl Recount {
    pub(super) fn of(engine: &Engine) -> Result<Self, StoreError> {
        let mut found = Self::default();
        for entry in engine.prefix(Tree::Verifications, &[])? {
            let (key, bytes) = entry?;
            let running: Verification = codec::decode(&key, &bytes)?;
            found.count(VERIFICATIONS);
            if matches!(running.phase, VerifyPhase::Stuck { .. }) {
                let (merchant, user) = keys::parse_user(&key)
                    .ok_or_else(|| damaged(Tree::Verifications, &key, "no merchant and user"))?;
                let place = keys::stuck(&merchant, &user, &running);
                found.places.extend(place.map(|key| (Tree::Stuck, key)));
                found.count(STUCK);
            }
        }
        for entry in engine.prefix(Tree::Deliveries, &[])? {
            let (key, bytes) = entry?;
            let delivery: Delivery = codec::decode(&key, &bytes)?;
            if let Some(standing) = Standing::of(&delivery.state) {
                let place = keys::unsettled(&delivery.endpoint, standing, delivery.event);
                found.places.push((Tree::Unsettled, place));
                found.count(of_endpoint(&delivery.endpoint, standing));
            }
        }
        Ok(found)
    }

    fn count(&mut self, key: impl Into<IVec>) {
        *self.counts.entry(key.into()).or_default() += 1;
    }
}

/// Whether index and counts are kept in this store.
pub(super) fn are_kept(engine: &Engine) -> Result<bool, StoreError> {
    Ok(engine.get(Tree::Meta, KEPT)?.is_some())
}

/// The counts as they are stored.
pub(super) fn stored(engine: &Engine) -> Result<BTreeMap<IVec, u64>, StoreError> {
    let mut found = BTreeMap::new();
    let exact = [VERIFICATIONS, STUCK];
    for prefix in exact.into_iter().chain([ENDPOINTS]) {
        for entry in engine.prefix(Tree::Meta, prefix)? {
            let (key, bytes) = entry?;
            let count = number(&key, &bytes)?;
            found.insert(key, count);
        }
    }
    Ok(found)
}

/// Makes index and counts for a store that has none: written by a version that did not keep them.
pub(super) fn build(txn: &mut Txn<'_>, engine: &Engine) -> Result<(), StoreError> {
    if are_kept(engine)? {
        return Ok(());
    }
    let found = Recount::of(engine)?;
    if found.counts.is_empty() {
        return Ok(());
    }
    tracing::info!(
        entries = found.places.len(),
        "the index of what is unsettled is made: the store was written by a version without one"
    );
    for (tree, key) in found.places {
        txn.put_raw(tree, key, Vec::new());
    }
    for (key, count) in found.counts {
        txn.put_raw(Tree::Meta, key, &count.to_be_bytes());
    }
    txn.put_raw(Tree::Meta, KEPT, Vec::new());
    Ok(())
}

/// The counts, for people. A delivery that is still to be made is pending.
pub(super) fn read(engine: &Engine) -> Result<Tallies, StoreError> {
    let mut tallies = Tallies::default();
    let mut endpoints: BTreeMap<EndpointName, EndpointTally> = BTreeMap::new();
    // First: what is made meanwhile is counted twice, and not missed.
    let to_come = fanout::to_come(engine)?;
    for (key, count) in stored(engine)? {
        match key.as_ref() {
            VERIFICATIONS => tallies.verifications = count,
            STUCK => tallies.stuck = count,
            other => {
                let place = other.strip_prefix(ENDPOINTS).unwrap_or_default();
                let endpoint = keys::parse_endpoint(place)
                    .ok_or_else(|| damaged(Tree::Meta, other, "no endpoint"))?;
                let of = endpoints.entry(endpoint.clone()).or_default();
                let prefix = |standing| keys::unsettled_prefix(&endpoint, standing);
                if *place == *prefix(Standing::Pending) {
                    of.pending = count;
                } else if *place == *prefix(Standing::GivenUp) {
                    of.given_up = count;
                } else {
                    of.discarded = count;
                }
            }
        }
    }
    for (endpoint, number) in to_come {
        endpoints.entry(endpoint).or_default().pending += number;
    }
    tallies.endpoints = endpoints.into_iter().collect();
    // Bounded by what is kept of them: some hundreds for each merchant.
    let unrecognized = engine.prefix(Tree::Unrecognized, &[])?.count();
    tallies.unrecognized = u64::try_from(unrecognized).unwrap_or(u64::MAX);
    Ok(tallies)
}
