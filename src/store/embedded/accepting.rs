//! Use case: a callback is kept, and its user's verification rung for.

use std::time::Duration;

use sled::IVec;

use super::codec::damaged;
use super::keys::{self, Tree};
use super::publishing;
use super::tallies;
use super::txn::Txn;
use super::verifying;
use crate::domain::{
    Callback, CallbackId, EventId, MerchantNo, OperationalEvent, Reception, Routing, Source,
    Stranger, Timestamp, Trust, UserId, UserState, Verification, VerificationState, VerifyLane,
};
use crate::store::{Hand, Lane, StoreError, VerifyClaim};

/// Unrecognized callbacks kept per merchant, and as many again of those that carried the merchant's token. Enough to
/// learn from, and at 64 KiB each no way to fill a disk. The oldest goes.
const UNRECOGNIZED_KEPT: usize = 200;

pub(super) fn accept(
    txn: &mut Txn<'_>,
    mut callback: Callback,
    fresh: EventId,
    routing: &Routing,
) -> Result<(), StoreError> {
    let Some(user) = callback.user.clone() else {
        txn.put(&callback.id.to_bytes(), callback.clone())?;
        return keep_unrecognized(txn, &callback, fresh, routing);
    };
    let (at, trust) = (callback.arrival.at, callback.trust());
    let (id, merchant) = (callback.id, callback.merchant.clone());
    let key = keys::user(&merchant, &user);
    let running: Option<Verification> = txn.get(&key)?;
    let state: Option<UserState> = txn.get(&key)?;
    let open = open_count(txn, &merchant)?;
    match Stranger::receive(&callback, state.is_some(), running.as_ref(), open) {
        Reception::Refused => return Err(StoreError::Overloaded),
        Reception::Compact => {
            callback.arrival.body.truncate(Stranger::BODY_KEPT);
            drop_callbacks(txn, &merchant, &user, Stranger::CALLBACKS_KEPT - 1)?;
        }
        Reception::Whole if trust == Trust::Open => {
            drop_untrusted(txn, &merchant, &user, Stranger::UNTRUSTED_KEPT - 1)?;
        }
        Reception::Whole => {}
    }
    if let Some(state) = state {
        hear_claim(txn, &callback, &user, state)?;
    }
    txn.put(&id.to_bytes(), callback)?;
    let by_user = keys::callback_of_user(&merchant, &user, id);
    txn.put_raw(Tree::CallbacksByUser, by_user, Vec::new());
    let after = rung(running.as_ref(), Source::Callback, trust, at);
    match free_hand(txn, &merchant, &after, at)? {
        Some(hand) => {
            let verification = after.claimed(hand.from, hand.lease);
            let claimed = Some(verification.clone());
            replace(txn, &merchant, &user, running.as_ref(), claimed)?;
            let claim = VerifyClaim {
                merchant,
                user,
                verification,
            };
            txn.begin(hand, claim);
            Ok(())
        }
        None => replace(txn, &merchant, &user, running.as_ref(), Some(after)),
    }
}

/// Whoever would ask about this user next anyway, if they have a hand free: nothing that goes before it is due.
fn free_hand(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    after: &Verification,
    now: Timestamp,
) -> Result<Option<Hand<VerifyClaim>>, StoreError> {
    let is_due = matches!(after.state, VerificationState::Waiting { due } if due <= now);
    let lane = VerifyLane::of(after.trust);
    if !is_due || lane != VerifyLane::Main {
        return Ok(None);
    }
    let Some(hand) = txn.verifier(merchant) else {
        return Ok(None);
    };
    Ok(verifying::is_nothing_due(txn, merchant, lane, hand.from)?.then_some(hand))
}

/// How far back a callback is compared with those before it: the provider sends one nine times.
const COMPARED: usize = 64;

/// Takes note of what a trusted callback claims while an application's result is out. One that is byte for byte like
/// one before the application speaks of the round before.
fn hear_claim(
    txn: &mut Txn<'_>,
    callback: &Callback,
    user: &UserId,
    state: UserState,
) -> Result<(), StoreError> {
    let (Some(sent), Some(claim)) = (state.application, &callback.claim) else {
        return Ok(());
    };
    if callback.trust() > Trust::Token {
        return Ok(());
    }
    let prefix = keys::user_prefix(&callback.merchant, user);
    let from = sent.at.minus(PROVIDER_RETRIES);
    for (key, _) in txn.first_from(
        Tree::CallbacksByUser,
        &keys::callbacks_from(&callback.merchant, user, from),
        &prefix,
        COMPARED,
    )? {
        let id = keys::trailing_id(&key).unwrap_or_default();
        let before: Option<Callback> = txn.get(&id)?;
        let repeats = |before: &Callback| {
            before.arrival.at < sent.at && before.arrival.body == callback.arrival.body
        };
        if before.as_ref().is_some_and(repeats) {
            return Ok(());
        }
    }
    let after = state.claimed(claim);
    txn.put(keys::user(&callback.merchant, user), after)
}

/// Deletes the oldest callbacks of a user until no more than `keep` are left.
fn drop_callbacks(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    keep: usize,
) -> Result<(), StoreError> {
    let prefix = keys::user_prefix(merchant, user);
    let found = txn.first(Tree::CallbacksByUser, &prefix, usize::MAX)?;
    let surplus = found.len().saturating_sub(keep);
    for (key, _) in found.into_iter().take(surplus) {
        drop_callback(txn, Tree::CallbacksByUser, key);
    }
    Ok(())
}

/// Deletes the oldest callbacks of a user that anybody could have sent, until no more than `keep` of those are left.
fn drop_untrusted(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    keep: usize,
) -> Result<(), StoreError> {
    let prefix = keys::user_prefix(merchant, user);
    let found = txn.first(Tree::CallbacksByUser, &prefix, usize::MAX)?;
    if found.len() <= keep {
        return Ok(());
    }
    let mut untrusted = 0;
    for (key, _) in found.into_iter().rev() {
        let Some(id) = keys::trailing_id(&key) else {
            continue;
        };
        let kept: Option<Callback> = txn.get(&id)?;
        if kept.is_none_or(|kept| kept.trust() != Trust::Open) {
            continue;
        }
        untrusted += 1;
        if untrusted > keep {
            drop_callback(txn, Tree::CallbacksByUser, key);
        }
    }
    Ok(())
}

/// Deletes the callback that an entry of this index ends with, and the entry.
fn drop_callback(txn: &mut Txn<'_>, index: Tree, entry: IVec) {
    if let Some(id) = keys::trailing_id(&entry) {
        txn.delete(Tree::Callbacks, &id);
    }
    txn.delete(index, entry);
}

/// Deletes everything that is held of a user of whom nothing was ever told.
pub(super) fn forget(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    running: &Verification,
) -> Result<(), StoreError> {
    drop_callbacks(txn, merchant, user, 0)?;
    txn.delete(Tree::Meta, keys::orders(&keys::user(merchant, user)));
    let prefix = keys::user_prefix(merchant, user);
    for (key, _) in txn.first(Tree::Queries, &prefix, usize::MAX)? {
        txn.delete(Tree::Queries, key);
    }
    replace(txn, merchant, user, Some(running), None)
}

/// How many of a merchant's verifications anybody could have started.
fn open_count(txn: &Txn<'_>, merchant: &MerchantNo) -> Result<u64, StoreError> {
    let key = keys::open_count(merchant);
    let Some(bytes) = txn.get_raw(Tree::Meta, &key)? else {
        return Ok(0);
    };
    let bytes: Result<[u8; 8], _> = bytes.as_ref().try_into();
    let bytes = bytes.map_err(|_length| damaged(Tree::Meta, &key, "not a count"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Keeps the count in step with one verification that takes another's place.
fn count_open(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    before: Option<&Verification>,
    after: Option<&Verification>,
) -> Result<(), StoreError> {
    let is_open = |one: Option<&Verification>| one.is_some_and(|one| one.trust == Trust::Open);
    let (was, is) = (is_open(before), is_open(after));
    if was == is {
        return Ok(());
    }
    let count = open_count(txn, merchant)?;
    let count = if is {
        count.saturating_add(1)
    } else {
        count.saturating_sub(1)
    };
    let key = keys::open_count(merchant);
    txn.put_raw(Tree::Meta, key, &count.to_be_bytes());
    Ok(())
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
        drop_callback(txn, Tree::Unrecognized, key);
    }
    let key = prefix.and(&callback.id.to_bytes());
    txn.put_raw(Tree::Unrecognized, key, Vec::new());
    let news = OperationalEvent::CallbackUnrecognized {
        merchant: callback.merchant.clone(),
        callback: callback.id,
    };
    publishing::publish_news(txn, fresh, callback.arrival.at, news, routing)
}

/// A callback that was kept as unrecognized is now known to speak of a user: it stands among that user's callbacks from
/// here on, and the user is asked about. `false`: there is no such callback any more.
pub(super) fn recognize(
    txn: &mut Txn<'_>,
    id: CallbackId,
    user: &UserId,
    claim: Option<String>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let key = id.to_bytes();
    let Some(mut callback) = txn.get::<Callback>(&key)? else {
        return Ok(false);
    };
    let merchant = callback.merchant.clone();
    // Who was found first stays: the same bytes do not speak of two.
    let user = match &callback.user {
        Some(known) => known.clone(),
        None => {
            let before = keys::unrecognized_prefix(&merchant, callback.token).and(&key);
            txn.delete(Tree::Unrecognized, before);
            let by_user = keys::callback_of_user(&merchant, user, id);
            let noted = &now.as_millis().to_be_bytes();
            txn.put_raw(Tree::CallbacksByUser, by_user, noted);
            callback.user = Some(user.clone());
            callback.claim = claim;
            txn.put(&key, callback)?;
            user.clone()
        }
    };
    let (source, trust) = (Source::Operator, Trust::Token);
    ring(txn, &merchant, &user, source, trust, now)?;
    Ok(true)
}

/// How long the provider repeats a callback: 10 h and 47 s by its pages, with room to spare.
const PROVIDER_RETRIES: Duration = Duration::from_secs(12 * 3600);

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
    let after = rung(before.as_ref(), source, trust, now);
    replace(txn, merchant, user, before.as_ref(), Some(after))
}

/// A verification that begins, or the one under way that somebody joins.
fn rung(
    before: Option<&Verification>,
    source: Source,
    trust: Trust,
    now: Timestamp,
) -> Verification {
    match before {
        Some(running) => running.clone().joined(source, trust, now),
        None => Verification::new(source, trust, now),
    }
}

/// Puts a verification in the place of another, with its place in the queue.
pub(super) fn replace(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    before: Option<&Verification>,
    after: Option<Verification>,
) -> Result<(), StoreError> {
    count_open(txn, merchant, before, after.as_ref())?;
    tallies::verification_moved(txn, merchant, user, before, after.as_ref())?;
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
            let is_out =
                |one: &Verification| matches!(one.state, VerificationState::Querying { .. });
            // Whoever has claimed it knows.
            if !is_out(&running) || before.is_some_and(is_out) {
                let lane = VerifyLane::of(running.trust);
                txn.ring(Lane::Verify(merchant.clone(), lane));
            }
            txn.put(key, running)
        }
        None => {
            txn.delete(Tree::Verifications, key);
            Ok(())
        }
    }
}
