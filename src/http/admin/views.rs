//! What the API answers, as JSON. Times are RFC 3339 in UTC; ids are those of headers and logs.

use serde_json::{Value, json};

use crate::domain::{
    Answer, ApplicationState, Attempt, Breaker, Callback, Delivery, DeliveryState, EndpointName,
    Event, EventContent, EventId, FailureClass, Health, Job, MerchantNo, Ordered, Timestamp,
    UserId, Verification, VerificationState, VerifyPhase,
};
use crate::retention::Swept;
use crate::store::{Bygone, EndpointTally, QueryRecord, Story};
use crate::verify::Applied;

/// How an application went.
pub(super) fn applied(applied: &Applied) -> Value {
    let result = applied.as_str();
    match applied {
        Applied::Already(out) => json!({
            "result": result,
            "since": out.at.to_string(),
            "known": out.state == ApplicationState::Accepted,
        }),
        Applied::Unknown(cause) => json!({ "result": result, "cause": cause }),
        // The last two are answered as problems.
        Applied::Accepted | Applied::Declined(_) | Applied::NotSent(_) => {
            json!({ "result": result })
        }
    }
}

/// Everything that happened to a user, in order, and how it stands.
pub(super) fn story(merchant: &MerchantNo, user: &UserId, story: &Story) -> Value {
    let mut timeline: Vec<(Timestamp, Value)> = Vec::new();
    timeline.extend(
        story
            .callbacks
            .iter()
            .map(|one| (one.arrival.at, callback(one))),
    );
    timeline.extend(story.recognized.iter().map(|(id, at)| {
        let found =
            json!({ "kind": "recognized", "at": at.to_string(), "callback": id.to_string() });
        (*at, found)
    }));
    timeline.extend(
        story
            .orders
            .iter()
            .map(|(at, one)| (*at, ordered(*at, *one))),
    );
    for one in &story.queries {
        let before = |callback: &&Callback| callback.arrival.at <= one.at;
        let latest = story.callbacks.iter().rev().find(before);
        let claim = latest.and_then(|callback| callback.claim.as_deref());
        timeline.push((one.at, query(one, claim)));
    }
    for (event, deliveries) in &story.events {
        timeline.push((event.at, event_made(event)));
        for (delivery, attempts) in deliveries {
            let made = attempts.iter();
            timeline.extend(made.map(|one| (one.at, attempt(event, delivery, one))));
        }
    }
    // Stable: what happened in the same millisecond keeps the order cause before effect.
    timeline.sort_by_key(|(at, _)| *at);
    let deliveries = story.events.iter().flat_map(|(_, deliveries)| deliveries);
    json!({
        "merchant": merchant.as_str(),
        "userId": user.as_str(),
        "sequence": story.state.sequence,
        "status": story.state.last.as_ref().map(|last| last.verdict.status().word()),
        "failReason": story.state.last.as_ref().and_then(|last| last.verdict.reason()),
        "application": story.state.application.map(|out| json!({
            "since": out.at.to_string(),
            "known": out.state == ApplicationState::Accepted,
        })),
        "verification": story.verification.as_ref().map(verification),
        "deliveries": deliveries.map(|(one, _)| delivery(one)).collect::<Vec<_>>(),
        "timeline": timeline.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>(),
    })
}

fn callback(callback: &Callback) -> Value {
    json!({
        "kind": "callback",
        "at": callback.arrival.at.to_string(),
        "id": callback.id.to_string(),
        "claim": callback.claim,
        "sign": callback.sign.as_str(),
        "token": callback.token,
        "peer": callback.arrival.peer.map(|peer| peer.to_string()),
        "bytes": callback.arrival.body.len(),
    })
}

/// What was ordered; of an application also what came of it.
fn ordered(at: Timestamp, ordered: Ordered) -> Value {
    let at = at.to_string();
    match ordered.fate() {
        Some(fate) => json!({ "kind": ordered.what(), "at": at, "result": fate }),
        None => json!({ "kind": ordered.what(), "at": at }),
    }
}

/// `claim`: what the latest callback before it claimed; shown where the query says otherwise.
fn query(query: &QueryRecord, claim: Option<&str>) -> Value {
    let (outcome, reason) = match &query.answer {
        Answer::Verdict(verdict) => (verdict.status().word(), verdict.reason()),
        Answer::Failed(failure) => (failure.class(), None),
    };
    let code = match &query.answer {
        Answer::Verdict(verdict) => Some(verdict.status().code()),
        Answer::Failed(_) => None,
    };
    json!({
        "kind": "query",
        "at": query.at.to_string(),
        "tookMs": millis(query.took),
        "outcome": outcome,
        "authenticationStatus": code,
        "failReason": reason,
        "claimed": claim.filter(|claim| code.is_some_and(|code| code != *claim)),
    })
}

pub(super) fn event_made(event: &Event) -> Value {
    let sequence = match &event.content {
        EventContent::Result(result) => Some(result.sequence),
        EventContent::Operational(_) => None,
    };
    json!({
        "kind": "event",
        "at": event.at.to_string(),
        "id": event.id.to_string(),
        "type": event.kind().as_str(),
        "sequence": sequence,
    })
}

pub(super) fn attempt(event: &Event, delivery: &Delivery, attempt: &Attempt) -> Value {
    json!({
        "kind": "attempt",
        "at": attempt.at.to_string(),
        "tookMs": millis(attempt.took),
        "event": event.id.to_string(),
        "endpoint": delivery.endpoint.as_str(),
        "attempt": attempt.number,
        "outcome": attempt.outcome.failure.map_or("delivered", FailureClass::as_str),
        "status": attempt.outcome.status,
        "detail": attempt.outcome.detail,
    })
}

pub(super) fn delivery(delivery: &Delivery) -> Value {
    let (at, reason) = match delivery.state {
        DeliveryState::Waiting { due } | DeliveryState::Delivering { until: due } => (due, None),
        DeliveryState::Delivered { at } => (at, None),
        DeliveryState::Abandoned { at, reason } => (at, Some(reason.as_str())),
    };
    json!({
        "event": delivery.event.to_string(),
        "endpoint": delivery.endpoint.as_str(),
        "sequence": delivery.sequence,
        "state": delivery.state.as_str(),
        "at": at.to_string(),
        "attempts": delivery.attempts,
        "reason": reason,
        "lastFailure": delivery.last_failure.map(FailureClass::as_str),
    })
}

pub(super) fn verification(verification: &Verification) -> Value {
    let (state, due) = match verification.state {
        VerificationState::Waiting { due } => ("waiting", due),
        VerificationState::Querying { until, .. } => ("querying", until),
    };
    let stuck = match verification.phase {
        VerifyPhase::Stuck { at } => Some(at.to_string()),
        VerifyPhase::Seeking { .. } => None,
    };
    json!({
        "state": state,
        "due": due.to_string(),
        "since": verification.since.to_string(),
        "queries": verification.queries,
        "source": verification.source.as_str(),
        "stuckSince": stuck,
    })
}

fn millis(took: std::time::Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// `up`, `down` or `paused`, and since when.
pub(super) const fn standing(health: &Health) -> (&'static str, Option<Timestamp>) {
    match (health.paused, health.breaker) {
        (Some(pause), _) => ("paused", Some(pause.at)),
        (None, Breaker::Open { since, .. }) => ("down", Some(since)),
        (None, Breaker::Fine | Breaker::Shaky { .. }) => ("up", None),
    }
}

/// The next probe of an endpoint that is down.
fn next_probe(health: &Health) -> Option<String> {
    let probe = health.breaker.closed_until();
    let probe = probe.filter(|_| health.paused.is_none());
    probe.map(|at| health.later(at).to_string())
}

/// A test event, and what keeps it from going out at once.
pub(super) fn tested(event: EventId, health: &Health, now: Timestamp) -> Value {
    let (state, since) = standing(health);
    let held = health.holds().then(|| {
        json!({
            "state": state,
            "since": since.map(|at| at.to_string()),
            "pausedBy": health.paused.map(|pause| pause.reason.as_str()),
            "nextProbe": next_probe(health),
        })
    });
    let not_before = health.not_before.filter(|until| *until > now);
    json!({
        "result": "sent",
        "event": event.to_string(),
        "held": held,
        "notBefore": not_before.map(|until| until.to_string()),
    })
}

/// How an endpoint is.
pub(super) fn endpoint(
    name: &EndpointName,
    health: &Health,
    tally: EndpointTally,
    known: bool,
) -> Value {
    let (state, since) = standing(health);
    json!({
        "name": name.as_str(),
        "state": state,
        "since": since.map(|at| at.to_string()),
        "pausedBy": health.paused.map(|pause| pause.reason.as_str()),
        "nextProbe": next_probe(health),
        "pending": tally.pending,
        "abandoned": tally.given_up,
        "orphaned": !known,
    })
}

/// How far a job is.
pub(super) fn job(job: &Job) -> Value {
    let order = &job.order;
    json!({
        "id": job.id,
        "kind": order.kind.as_str(),
        "endpoint": order.endpoint.as_str(),
        "since": (order.since.as_millis() > 0).then(|| order.since.to_string()),
        "until": order.until.to_string(),
        "types": order.types.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "states": order.standings().iter().map(|state| state.as_str()).collect::<Vec<_>>(),
        "ordered": job.ordered.to_string(),
        "state": job.progress.as_str(),
        "ended": job.progress.ended().map(|at| at.to_string()),
        "total": job.total,
        "done": job.done,
    })
}

/// What is settled and old.
pub(super) fn retention(
    keep: std::time::Duration,
    before: Timestamp,
    would_go: Bygone,
    last: Option<Swept>,
) -> Value {
    json!({
        "keepSeconds": keep.as_secs(),
        "before": before.to_string(),
        "wouldGo": bygone(would_go),
        "lastPass": last.map(|last| json!({ "at": last.at.to_string(), "gone": bygone(last.gone) })),
    })
}

fn bygone(some: Bygone) -> Value {
    let kinds = some.kinds().into_iter();
    kinds
        .map(|(kind, number)| (kind.to_owned(), Value::from(number)))
        .collect()
}
