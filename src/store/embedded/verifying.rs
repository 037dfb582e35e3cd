//! Use cases of the verify stage: claim what is due, record what the query said.

use std::time::Duration;

use sled::IVec;

use super::accepting::{forget, replace};
use super::codec::damaged;
use super::engine::Engine;
use super::keys::{self, Key, Tree};
use super::orders;
use super::publishing;
use super::txn::Txn;
use super::watching;
use crate::domain::{
    Answer, ApplicationState, CallbackId, Event, EventContent, EventKind, MerchantNo, Observed,
    OperationalEvent, Ordered, QueryFailure, ResultEvent, Settled, Source, Stranger, Timestamp,
    Trust, UserId, UserState, Verification, VerificationState, VerifyLane,
};
use crate::store::{
    AnswerRecorded, AnswerReport, HastenFrom, Hastened, QueryRecord, StoreError, VerifyClaim,
};

/// A lane's places in the order of claiming: run-out leases, then class by class.
fn places(merchant: &MerchantNo, lane: VerifyLane) -> impl Iterator<Item = Key> {
    let classes = keys::classes(lane).iter();
    let waiting = classes.map(move |class| keys::verify_class_prefix(merchant, lane, *class));
    std::iter::once(keys::verify_leased_prefix(merchant, lane)).chain(waiting)
}

/// When the lane's next verification is due.
pub(super) fn next_due(
    engine: &Engine,
    merchant: &MerchantNo,
    lane: VerifyLane,
) -> Result<Option<Timestamp>, StoreError> {
    first_due(engine, places(merchant, lane))
}

/// When the first of those is due that somebody rang for whom we trust.
pub(super) fn next_rung(
    engine: &Engine,
    merchant: &MerchantNo,
) -> Result<Option<Timestamp>, StoreError> {
    let rung = [Trust::Signed, Trust::Token];
    let place = |class| keys::verify_class_prefix(merchant, VerifyLane::Main, class);
    first_due(engine, rung.into_iter().map(place))
}

fn first_due(
    engine: &Engine,
    places: impl Iterator<Item = Key>,
) -> Result<Option<Timestamp>, StoreError> {
    let mut earliest: Option<Timestamp> = None;
    for prefix in places {
        if let Some(due) = first_of(engine, &prefix)? {
            earliest = Some(earliest.map_or(due, |known| known.min(due)));
        }
    }
    Ok(earliest)
}

/// When the first of a place is due.
fn first_of(engine: &Engine, prefix: &[u8]) -> Result<Option<Timestamp>, StoreError> {
    let Some(entry) = engine.prefix(Tree::VerifyDue, prefix)?.next() else {
        return Ok(None);
    };
    let (key, _) = entry?;
    let (due, _) = keys::parse_verify_due(prefix, &key)
        .ok_or_else(|| damaged(Tree::VerifyDue, &key, "not a due time and a user"))?;
    Ok(Some(due))
}

pub(super) fn any_due(
    engine: &Engine,
    merchant: &MerchantNo,
    lane: VerifyLane,
    now: Timestamp,
) -> Result<bool, StoreError> {
    for prefix in places(merchant, lane) {
        if first_of(engine, &prefix)?.is_some_and(|due| due <= now) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether nothing of the lane is due, by what the group has come to.
pub(super) fn is_nothing_due(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    lane: VerifyLane,
    now: Timestamp,
) -> Result<bool, StoreError> {
    for queue in places(merchant, lane) {
        if !txn.is_nothing_due(Tree::VerifyDue, &queue, now)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn claim(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    lane: VerifyLane,
    now: Timestamp,
    lease: Duration,
    limit: usize,
) -> Result<Vec<VerifyClaim>, StoreError> {
    let mut claims = Vec::new();
    for prefix in places(merchant, lane) {
        let open = limit.saturating_sub(claims.len());
        if open == 0 {
            break;
        }
        for (key, _) in txn.first(Tree::VerifyDue, &prefix, open)? {
            let Some((due, user)) = keys::parse_verify_due(&prefix, &key) else {
                return Err(damaged(Tree::VerifyDue, &key, "not a due time and a user"));
            };
            if due > now {
                break;
            }
            let user_key = keys::user(merchant, &user);
            let before: Verification = match txn.get(&user_key) {
                Ok(Some(running)) => running,
                Ok(None) => {
                    tracing::error!(merchant = %merchant, key = hex::encode(&key), "a place in the verify queue has no verification; removed");
                    txn.delete(Tree::VerifyDue, key);
                    continue;
                }
                Err(error) => {
                    postpone_damaged(txn, &prefix, key, now, &error);
                    continue;
                }
            };
            let after = before.clone().claimed(now, lease);
            replace(txn, merchant, &user, Some(&before), Some(after.clone()))?;
            claims.push(VerifyClaim {
                merchant: merchant.clone(),
                user,
                verification: after,
            });
        }
    }
    Ok(claims)
}

/// One record that does not parse must not stop its lane: it is reported, kept, and looked at again later.
fn postpone_damaged(
    txn: &mut Txn<'_>,
    prefix: &[u8],
    key: IVec,
    now: Timestamp,
    error: &StoreError,
) {
    tracing::error!(%error, "a verification is left alone for an hour because its record is damaged; run verify-store");
    if let Some(user) = key.get(prefix.len() + 8..) {
        let due = now.plus(DAMAGED_AGAIN).as_millis().to_be_bytes();
        let later = Key::of([prefix, &due, user]);
        txn.put_raw(Tree::VerifyDue, later, Vec::new());
    }
    txn.delete(Tree::VerifyDue, key);
}

/// Often enough to be noticed in a log, too seldom to fill it.
pub(super) const DAMAGED_AGAIN: Duration = Duration::from_secs(3600);

/// The verification, if the claim still holds it.
fn held(txn: &Txn<'_>, claim: &VerifyClaim) -> Result<Option<Verification>, StoreError> {
    let running: Option<Verification> = txn.get(&keys::user(&claim.merchant, &claim.user))?;
    Ok(running.filter(|running| {
        running.queries == claim.verification.queries
            && matches!(running.state, VerificationState::Querying { .. })
    }))
}

pub(super) fn record(
    txn: &mut Txn<'_>,
    claim: &VerifyClaim,
    report: &AnswerReport,
) -> Result<AnswerRecorded, StoreError> {
    let Some(before) = held(txn, claim)? else {
        return Ok(AnswerRecorded::default());
    };
    let (merchant, user, now) = (&claim.merchant, &claim.user, report.now);
    let record = QueryRecord {
        at: now,
        took: report.took,
        answer: report.answer.clone(),
    };
    txn.put(keys::query(merchant, user, now, before.queries), record)?;

    let user_key = keys::user(merchant, user);
    let state: Option<UserState> = txn.get(&user_key)?;
    let is_heard_of = state.is_some();
    let told_before = state
        .as_ref()
        .and_then(|state| state.last.as_ref())
        .map(|last| last.at);
    let rung = match before.source {
        Source::Callback => first_callback(txn, merchant, user, told_before)?,
        Source::Reconcile | Source::Operator => None,
    };
    let mut recorded = AnswerRecorded {
        counted: true,
        rung,
        ..AnswerRecorded::default()
    };
    let mut over = false;
    match (&report.answer, state) {
        (Answer::Verdict(verdict), state) => {
            let kind = EventKind::of_status(verdict.status());
            let tell = report.routing.wanted(kind, Some(merchant));
            let window = report.policy.duplicate_window;
            let sent = state.as_ref().and_then(|known| known.application);
            let (state, observed) = state
                .unwrap_or_default()
                .observe(verdict, now, window, tell);
            over = verdict.status().is_final() && observed != Observed::Older;
            let is_borne_out = match state.application {
                Some(known) => known.state == ApplicationState::Accepted,
                None => observed == Observed::News,
            };
            if is_borne_out && sent.is_some_and(|sent| sent.state == ApplicationState::Unknown) {
                orders::settle(txn, &user_key, Ordered::Accepted)?;
            }
            if observed == Observed::News {
                let content = EventContent::Result(ResultEvent {
                    merchant: merchant.clone(),
                    user: user.clone(),
                    verdict: verdict.clone(),
                    sequence: state.sequence,
                    source: before.source,
                });
                let event = Event {
                    id: report.fresh,
                    at: now,
                    content,
                };
                publishing::publish(txn, event, &report.routing)?;
                recorded.event = Some(report.fresh);
            }
            txn.put(user_key, state)?;
        }
        (Answer::Failed(QueryFailure::Refused(_)), Some(state)) => {
            let sent = state.application;
            let state = state.unheard_of(now);
            if let Some(sent) = sent.filter(|_| state.application.is_none()) {
                watching::forget_batch(txn, merchant, user, &sent)?;
                orders::settle(txn, &user_key, Ordered::Declined)?;
            }
            txn.put(user_key, state)?;
        }
        (Answer::Failed(_), _) => {}
    }
    if Stranger::is_forgotten(is_heard_of, &before, &report.answer, now) {
        forget(txn, merchant, user, &before)?;
        return Ok(recorded);
    }

    let settled = before
        .clone()
        .answered_as(&report.answer, over, now, &report.policy);
    match settled {
        Settled::Done => replace(txn, merchant, user, Some(&before), None)?,
        Settled::Goes { next, newly_stuck } => {
            recorded.next_due = Some(next.due());
            recorded.newly_stuck = newly_stuck;
            if newly_stuck {
                let news = OperationalEvent::VerificationStuck {
                    merchant: merchant.clone(),
                    user: user.clone(),
                    since: next.since,
                    tries: next.queries,
                };
                publishing::publish_news(txn, report.fresh_too, now, news, &report.routing)?;
            }
            replace(txn, merchant, user, Some(&before), Some(next))?;
        }
    }
    Ok(recorded)
}

/// The first callback of a user that came after `told`.
fn first_callback(
    txn: &Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    told: Option<Timestamp>,
) -> Result<Option<CallbackId>, StoreError> {
    let prefix = keys::user_prefix(merchant, user);
    let after = told.map_or(Timestamp::from_millis(0), |told| {
        told.plus(Duration::from_millis(1))
    });
    let start = keys::callbacks_from(merchant, user, after);
    let first = txn.first_from(Tree::CallbacksByUser, &start, &prefix, 1)?;
    let id = first.first().and_then(|(key, _)| keys::trailing_id(key));
    Ok(id.map(CallbackId::from_bytes))
}

pub(super) fn release(
    txn: &mut Txn<'_>,
    claim: &VerifyClaim,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(before) = held(txn, claim)? else {
        return Ok(());
    };
    let after = before.clone().released(now);
    replace(
        txn,
        &claim.merchant,
        &claim.user,
        Some(&before),
        Some(after),
    )
}

/// A step of the walk over a lane's classes. What is moved goes to an earlier place, behind the walk, so that it ends.
pub(super) fn hasten(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    lane: VerifyLane,
    back: Timestamp,
    from: Option<&HastenFrom>,
    limit: usize,
) -> Result<Hastened, StoreError> {
    let start = from.map_or(&[][..], |from| &from.0);
    let mut hastened = Hastened::default();
    let mut seen = 0;
    for class in keys::classes(lane) {
        let prefix = keys::verify_class_prefix(merchant, lane, *class);
        if keys::end_of(&prefix).is_some_and(|end| *start >= *end) {
            continue;
        }
        let first: &[u8] = start.max(&prefix);
        for (key, _) in txn.first_from(Tree::VerifyDue, first, &prefix, limit - seen)? {
            seen += 1;
            if let Some((_, user)) = keys::parse_verify_due(&prefix, &key) {
                hastened.moved += usize::from(hasten_one(txn, merchant, &user, back)?);
            }
            hastened.next = Some(HastenFrom(keys::after(&key).to_vec()));
        }
        if seen == limit {
            return Ok(hastened);
        }
    }
    hastened.next = None;
    Ok(hastened)
}

fn hasten_one(
    txn: &mut Txn<'_>,
    merchant: &MerchantNo,
    user: &UserId,
    back: Timestamp,
) -> Result<bool, StoreError> {
    // A damaged or missing record is met, reported and put aside when its place is claimed.
    let Ok(Some(before)) = txn.get::<Verification>(&keys::user(merchant, user)) else {
        return Ok(false);
    };
    let Some(after) = before.clone().hastened(back) else {
        return Ok(false);
    };
    replace(txn, merchant, user, Some(&before), Some(after))?;
    Ok(true)
}
