//! Use cases around users known to be waiting: the watch, our own applications, and the note that we are alive.

use super::accepting::replace;
use super::codec::damaged;
use super::engine::Engine;
use super::keys::{self, Tree};
use super::orders;
use super::txn::Txn;
use crate::domain::{
    Application, ApplicationState, Batch, Heard, MerchantNo, Ordered, Source, Timestamp, Trust,
    UserId, UserState, Verification, VerifyPhase,
};
use crate::store::StoreError;

/// The entry of [`Tree::Meta`] that says when the relay was last alive.
const ALIVE: &[u8] = b"alive";

pub(super) fn watch(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    now: Timestamp,
    due: Timestamp,
) -> Result<bool, StoreError> {
    let before: Option<Verification> = txn.get(&keys::user(merchant, user))?;
    if let Some(running) = &before
        && !matches!(running.phase, VerifyPhase::Stuck { .. })
    {
        if running.trust != Trust::Open {
            return Ok(false);
        }
        // Anybody's doorbell so far, ours from now on: not in the small lane, and not forgotten after a day.
        let ours = Verification {
            trust: Trust::Watch,
            since: now,
            ..running.clone()
        };
        replace(txn, merchant, user, before.as_ref(), Some(ours))?;
        return Ok(true);
    }
    let watching = Verification::watching(now, due);
    // A revived one keeps counting its queries: they name its leases.
    let (queries, asked) = before
        .as_ref()
        .map_or((0, None), |running| (running.queries, running.asked));
    replace(
        txn,
        merchant,
        user,
        before.as_ref(),
        Some(Verification {
            queries,
            asked,
            ..watching
        }),
    )?;
    Ok(true)
}

pub(super) fn begin(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    batch: Option<&Batch>,
    now: Timestamp,
    due: Timestamp,
) -> Result<Option<Application>, StoreError> {
    let key = keys::user(merchant, user);
    let state: UserState = txn.get(&key)?.unwrap_or_default();
    if state.application.is_some() {
        return Ok(state.application);
    }
    if let Some(batch) = batch {
        let kept = keys::batch(merchant, user);
        if let Some((at, before)) = batch_of(txn, &kept)?
            && before == batch.as_str().as_bytes()
        {
            // What was declined or never arrived is not kept: this one has had its result.
            return Ok(Some(Application {
                at,
                state: ApplicationState::Accepted,
                heard: Heard::default(),
            }));
        }
        let mut entry = now.as_millis().to_be_bytes().to_vec();
        entry.extend_from_slice(batch.as_str().as_bytes());
        txn.put_raw(Tree::Meta, kept, entry);
    }
    orders::note(txn, &key, Ordered::Applied, now)?;
    txn.put(key, state.applying(now))?;
    watch(txn, merchant, user, now, due)?;
    Ok(None)
}

/// When a user's latest application of a batch was sent, and the batch.
fn batch_of(txn: &Txn<'_>, key: &[u8]) -> Result<Option<(Timestamp, Vec<u8>)>, StoreError> {
    let Some(bytes) = txn.get_raw(Tree::Meta, key)? else {
        return Ok(None);
    };
    let (at, batch) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| damaged(Tree::Meta, key, "not a time and a batch"))?;
    let at = Timestamp::from_millis(u64::from_be_bytes(*at));
    Ok(Some((at, batch.to_vec())))
}

/// An application came to nothing: its batch may send it again. The batch of an older one, which did arrive, stays.
pub(super) fn forget_batch(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    sent: &Application,
) -> Result<(), StoreError> {
    let key = keys::batch(merchant, user);
    if batch_of(txn, &key)?.is_some_and(|(at, _)| at == sent.at) {
        txn.delete(Tree::Meta, key);
    }
    Ok(())
}

pub(super) fn finish(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    accepted: bool,
    look: Option<Timestamp>,
) -> Result<(), StoreError> {
    let key = keys::user(merchant, user);
    let state: UserState = txn.get(&key)?.unwrap_or_default();
    let sent = state.application.map(|application| application.at);
    let fate = if accepted {
        Ordered::Accepted
    } else {
        Ordered::Declined
    };
    orders::settle(txn, &key, fate)?;
    if let Some(sent) = state.application.filter(|_| !accepted) {
        forget_batch(txn, merchant, user, &sent)?;
    }
    txn.put(
        key.clone(),
        if accepted {
            state.applied()
        } else {
            state.declined()
        },
    )?;
    let running: Option<Verification> = txn.get(&key)?;
    let Some(running) = running else {
        // A result came before the answer. Should it have been that of the round before, this finds the new one.
        if let Some(due) = look.filter(|_| accepted) {
            watch(txn, merchant, user, due, due)?;
        }
        return Ok(());
    };
    // Whoever rang meanwhile is not put off, and whoever was watched before stays so.
    let is_for_this_alone = sent.is_none_or(|sent| running.since >= sent)
        && running.trust == Trust::Watch
        && running.source == Source::Reconcile
        && running.queries == 0;
    if !is_for_this_alone {
        return Ok(());
    }
    let watched = running;
    let next = look
        .filter(|_| accepted)
        .map(|due| Verification::watching(watched.since, due));
    replace(txn, merchant, user, Some(&watched), next)
}

/// When the relay was last noted to be alive.
pub(super) fn alive(engine: &Engine) -> Result<Option<Timestamp>, StoreError> {
    let noted = engine.get(Tree::Meta, ALIVE)?;
    noted.map(|bytes| time(&bytes)).transpose()
}

fn time(bytes: &[u8]) -> Result<Timestamp, StoreError> {
    let millis: Result<[u8; 8], _> = bytes.try_into();
    let millis = millis.map_err(|_length| damaged(Tree::Meta, ALIVE, "not a time"))?;
    Ok(Timestamp::from_millis(u64::from_be_bytes(millis)))
}

pub(super) fn beat(txn: &mut Txn<'_>, now: Timestamp) {
    let noted = &now.as_millis().to_be_bytes();
    txn.put_raw(Tree::Meta, ALIVE, noted);
}
