//! Use case: a callback is kept, and its user's verification rung for.

use super::keys::{self, Tree};
use super::publishing;
use super::txn::Txn;
use crate::domain::{
    Callback, EventId, MerchantNo, OperationalEvent, Routing, Source, Timestamp, Trust, UserId,
    Verification, VerifyLane,
};
use crate::store::{Lane, StoreError};

/// Unrecognized callbacks kept per merchant, and as many again of those that carried the merchant's token. Enough to
/// learn from, and at 64 KiB each no way to fill a disk. The oldest goes.
const UNRECOGNIZED_KEPT: usize = 200;

pub(super) fn accept(
    txn: &mut Txn<'_>,
    callback: &Callback,
    fresh: EventId,
    routing: &Routing,
) -> Result<(), StoreError> {
    let at = callback.arrival.at;
    txn.put(callback.id.to_bytes().to_vec(), callback.clone())?;
    let Some(user) = &callback.user else {
        return keep_unrecognized(txn, callback, fresh, routing);
    };
    let by_user = keys::callback_of_user(&callback.merchant, user, callback.id);
    txn.put_raw(Tree::CallbacksByUser, by_user, Vec::new());
    ring(
        txn,
        &callback.merchant,
        user,
        Source::Callback,
        callback.trust(),
        at,
    )
}

fn keep_unrecognized(
    txn: &mut Txn<'_>,
    callback: &Callback,
    fresh: EventId,
    routing: &Routing,
) -> Result<(), StoreError> {
    let prefix = keys::unrecognized_prefix(&callback.merchant, callback.token);
    let kept = txn.first(Tree::Unrecognized, &prefix, UNRECOGNIZED_KEPT)?;
    let surplus = (kept.len() + 1).saturating_sub(UNRECOGNIZED_KEPT);
    for (key, _) in kept.into_iter().take(surplus) {
        if let Some(id) = keys::trailing_id(&key) {
            txn.delete(Tree::Callbacks, id.to_vec());
        }
        txn.delete(Tree::Unrecognized, key);
    }
    let mut key = prefix;
    key.extend_from_slice(&callback.id.to_bytes());
    txn.put_raw(Tree::Unrecognized, key, Vec::new());
    let news = OperationalEvent::CallbackUnrecognized {
        merchant: callback.merchant.clone(),
        callback: callback.id,
    };
    publishing::publish_news(txn, fresh, callback.arrival.at, news, routing)
}

/// Starts a verification, or joins the one under way.
pub(super) fn ring(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    source: Source,
    trust: Trust,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = keys::user(merchant, user);
    let before: Option<Verification> = txn.get(&key)?;
    let after = match &before {
        Some(running) => running.clone().joined(source, trust, now),
        None => Verification::new(source, trust, now),
    };
    replace(txn, merchant, user, before.as_ref(), Some(after))
}

/// Puts a verification in the place of another, with its place in the queue.
pub(super) fn replace(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    before: Option<&Verification>,
    after: Option<Verification>,
) -> Result<(), StoreError> {
    let old_place = before.map(|running| keys::verify_due(merchant, user, running));
    let new_place = after
        .as_ref()
        .map(|running| keys::verify_due(merchant, user, running));
    if old_place != new_place {
        if let Some(place) = old_place {
            txn.delete(Tree::VerifyDue, place);
        }
        if let Some(place) = new_place {
            txn.put_raw(Tree::VerifyDue, place, Vec::new());
        }
    }
    let key = keys::user(merchant, user);
    match after {
        Some(running) => {
            txn.ring(Lane::Verify(
                merchant.clone(),
                VerifyLane::of(running.trust),
            ));
            txn.put(key, running)
        }
        None => {
            txn.delete(Tree::Verifications, key);
            Ok(())
        }
    }
}
