//! Everything as JSON Lines, for people and other tools; the shape is in `docs/export.md`.
//!
//! Each line stands for itself: one record, with its kind. A record that does not parse is a line of kind `damaged`
//! with its tree and key: an export of a store in trouble is when it is wanted most.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::codec::{self, Record};
use super::engine::Engine;
use super::fanout::{Part, lists};
use super::keys::{self, Tree};
use super::orders;
use crate::domain::{
    Answer, Attempt, Callback, Delivery, DeliveryState, Event, EventContent, EventId, Job,
    OperationalEvent, Ordered, QueryFailure, Timestamp, UserState, Verification, VerificationState,
    VerifyPhase,
};
use crate::store::{QueryRecord, StoreError};

/// Entries read between two writes, while commits wait.
const PART: usize = 256;

/// Writes every record; returns how many lines.
pub(super) fn write(engine: &Engine, out: &mut dyn Write) -> Result<u64, StoreError> {
    let callbacks = Tree::Callbacks;
    let callbacks = lines(engine, out, (callbacks, &[]), |key, value| {
        let callback = codec::decode(key, value)?;
        let recognized = recognized(engine, &callback)?;
        Ok(vec![self::callback(callback, recognized)])
    })?;
    let orders = lines(engine, out, (Tree::Meta, keys::ORDERS), orders)?;
    Ok(callbacks
        + orders
        + each::<UserState>(engine, out, user)?
        + each::<Verification>(engine, out, verification)?
        + each::<QueryRecord>(engine, out, query)?
        + each::<Event>(engine, out, event)?
        + lines(engine, out, (Tree::FanOut, &[]), |key, value| {
            let part = codec::decode(key, value)?;
            Ok(fan_out(engine, key, part)?.into_iter().collect())
        })?
        + each::<Delivery>(engine, out, delivery)?
        + each::<Attempt>(engine, out, attempt)?
        + each::<Job>(engine, out, job)?)
}

/// A line for each record of a kind.
fn each<R: Record>(
    engine: &Engine,
    out: &mut dyn Write,
    shape: impl Fn(&[u8], R) -> Value,
) -> Result<u64, StoreError> {
    lines(engine, out, (R::TREE, &[]), |key, value| {
        Ok(vec![shape(key, codec::decode(key, value)?)])
    })
}

/// The lines of each entry of a tree whose key begins so.
fn lines(
    engine: &Engine,
    out: &mut dyn Write,
    (tree, prefix): (Tree, &[u8]),
    shape: impl Fn(&[u8], &[u8]) -> Result<Vec<Value>, StoreError>,
) -> Result<u64, StoreError> {
    let failed = |error: io::Error| StoreError::Write(error.into());
    // No key is empty or a prefix alone.
    let (mut after, mut written) = (prefix.to_vec(), 0);
    loop {
        let part = engine.part(tree, Some(&after), PART)?;
        for (key, value) in &part {
            if !key.starts_with(prefix) {
                return Ok(written);
            }
            let shaped = match shape(key, value) {
                Err(error @ StoreError::Damaged { .. }) => vec![json!({
                    "kind": "damaged", "tree": tree.name(), "key": hex::encode(key), "why": error.to_string(),
                })],
                shaped => shaped?,
            };
            for line in shaped {
                writeln!(out, "{line}").map_err(failed)?;
                written += 1;
            }
        }
        let Some((last, _)) = part.last() else {
            return Ok(written);
        };
        after = last.to_vec();
    }
}

/// Bytes as text where they are text, in base64 where not.
fn bytes(line: &mut Map<String, Value>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => line.insert("body".into(), text.into()),
        Err(_not_text) => line.insert("bodyBase64".into(), STANDARD.encode(bytes).into()),
    };
}

fn with_body(line: Value, body: &[u8]) -> Value {
    match line {
        Value::Object(mut fields) => {
            bytes(&mut fields, body);
            Value::Object(fields)
        }
        other => other,
    }
}

/// Merchant and user of a key that begins with them.
fn owner(key: &[u8]) -> (String, String) {
    let (merchant, rest) = key.split_at_checked(10).unwrap_or((key, &[]));
    let user = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(merchant), text(user))
}

/// Enums by the names that the code has for them: stable, since the records' numbers hang on them.
fn word(value: impl std::fmt::Debug) -> String {
    let mut word = String::new();
    for (at, letter) in format!("{value:?}").chars().enumerate() {
        if letter.is_ascii_uppercase() && at > 0 {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

fn job(_: &[u8], job: Job) -> Value {
    let order = job.order;
    json!({
        "kind": "job", "id": job.id, "job": order.kind.as_str(), "endpoint": order.endpoint.to_string(),
        "since": order.since.to_string(), "until": order.until.to_string(),
        "types": order.types.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "states": order.standings().iter().map(|state| state.as_str()).collect::<Vec<_>>(),
        "ordered": job.ordered.to_string(), "total": job.total, "done": job.done,
        "state": job.progress.as_str(),
    })
}

/// When an operator had it read again, if it was kept as unrecognized until then.
fn recognized(engine: &Engine, callback: &Callback) -> Result<Option<Timestamp>, StoreError> {
    let Some(user) = &callback.user else {
        return Ok(None);
    };
    let by_user = keys::callback_of_user(&callback.merchant, user, callback.id);
    let noted = engine.get(Tree::CallbacksByUser, &by_user)?;
    Ok(noted.as_deref().and_then(keys::recognized))
}

/// One for each order, oldest first.
fn orders(key: &[u8], bytes: &[u8]) -> Result<Vec<Value>, StoreError> {
    let (merchant, user) = owner(key.strip_prefix(keys::ORDERS).unwrap_or(key));
    let noted = orders::all(key, bytes)?.into_iter();
    let line = |(at, ordered): (Timestamp, Ordered)| {
        json!({
            "kind": "order", "merchantNo": merchant, "userId": user, "at": at.to_string(),
            "order": ordered.what(), "result": ordered.fate(),
        })
    };
    Ok(noted.map(line).collect())
}

fn callback(callback: Callback, recognized: Option<Timestamp>) -> Value {
    let arrival = callback.arrival;
    let line = json!({
        "kind": "callback", "id": callback.id.to_string(), "merchantNo": callback.merchant.to_string(),
        "userId": callback.user.map(|user| user.to_string()), "claim": callback.claim, "sign": word(callback.sign),
        "token": callback.token, "contentType": arrival.content_type, "query": arrival.query, "peer": arrival.peer,
        "at": arrival.at.to_string(), "recognizedAt": recognized.map(|at| at.to_string()),
    });
    with_body(line, &arrival.body)
}

fn user(key: &[u8], state: UserState) -> Value {
    let (merchant, user) = owner(key);
    json!({
        "kind": "user", "merchantNo": merchant, "userId": user, "sequence": state.sequence, "waited": state.waited,
        "status": state.last.as_ref().map(|last| last.verdict.status().code()),
        "failReason": state.last.as_ref().and_then(|last| last.verdict.reason()),
        "at": state.last.as_ref().map(|last| last.at.to_string()),
    })
}

fn verification(key: &[u8], running: Verification) -> Value {
    let (merchant, user) = owner(key);
    let stuck = match running.phase {
        VerifyPhase::Seeking { .. } => None,
        VerifyPhase::Stuck { at } => Some(at.to_string()),
    };
    json!({
        "kind": "verification", "merchantNo": merchant, "userId": user, "source": word(running.source),
        "trust": word(running.trust), "since": running.since.to_string(), "queries": running.queries,
        "stuckAt": stuck, "due": running.due().to_string(),
        "querying": matches!(running.state, VerificationState::Querying { .. }),
    })
}

fn query(key: &[u8], query: QueryRecord) -> Value {
    let (merchant, user) = owner(key);
    let (status, reason, failure) = match &query.answer {
        Answer::Verdict(verdict) => (Some(verdict.status().code()), verdict.reason(), None),
        Answer::Failed(failure) => (None, None, Some(why(failure))),
    };
    json!({
        "kind": "query", "merchantNo": merchant, "userId": user, "at": query.at.to_string(),
        "tookMicros": u64::try_from(query.took.as_micros()).unwrap_or(u64::MAX),
        "status": status, "failReason": reason, "failure": failure,
    })
}

/// With the number that the provider gave, where it gave one: `http 502`, `refused 1004`.
fn why(failure: &QueryFailure) -> String {
    match failure {
        QueryFailure::Http(status) => format!("http {status}"),
        QueryFailure::Refused(code) => format!("refused {code}"),
        other => word(other),
    }
}

fn news(news: &OperationalEvent) -> Value {
    match news {
        OperationalEvent::DeliveryAbandoned {
            endpoint,
            event,
            attempts,
            ..
        } => {
            json!({"endpoint": endpoint.to_string(), "event": event.to_string(), "attempts": attempts})
        }
        OperationalEvent::VerificationStuck {
            merchant,
            user,
            since,
            tries,
        } => json!({
            "merchantNo": merchant.to_string(), "userId": user.to_string(), "since": since.to_string(), "tries": tries,
        }),
        OperationalEvent::CallbackUnrecognized { merchant, callback } => {
            json!({"merchantNo": merchant.to_string(), "callback": callback.to_string()})
        }
        OperationalEvent::EndpointDown { endpoint, since }
        | OperationalEvent::EndpointRecovered { endpoint, since } => {
            json!({"endpoint": endpoint.to_string(), "since": since.to_string()})
        }
        OperationalEvent::ProviderDown { address, since }
        | OperationalEvent::ProviderRecovered { address, since } => {
            json!({"provider": address, "since": since.to_string()})
        }
        OperationalEvent::Test { endpoint } => json!({"endpoint": endpoint.to_string()}),
    }
}

fn event(_: &[u8], event: Event) -> Value {
    let kind = event.kind().as_str().to_owned();
    let data = match &event.content {
        EventContent::Result(result) => json!({
            "merchantNo": result.merchant.to_string(), "userId": result.user.to_string(),
            "status": result.verdict.status().code(), "failReason": result.verdict.reason(),
            "sequence": result.sequence, "source": word(result.source),
        }),
        EventContent::Operational(told) => news(told),
    };
    json!({"kind": "event", "id": event.id.to_string(), "at": event.at.to_string(), "type": kind, "data": data})
}

/// Walked over before the deliveries: what becomes one meanwhile is in both, and none is in neither.
fn fan_out(engine: &Engine, key: &[u8], part: Part) -> Result<Option<Value>, StoreError> {
    let targets = match part {
        Part::Named(targets) => targets,
        Part::Of(rest) => match engine.get(Tree::FanOutLists, &rest.list)? {
            Some(record) => lists::decode(&rest.list, &record)?.left(&rest),
            // Lists go when no part is left: it has become deliveries meanwhile.
            None if engine.get(Tree::FanOut, key)?.is_none() => return Ok(None),
            None => return Err(codec::damaged(Tree::FanOut, key, "its list is not there")),
        },
    };
    let event = key.first_chunk::<16>().copied().map(EventId::from_bytes);
    let endpoints = targets.iter().map(|target| target.endpoint.to_string());
    Ok(Some(json!({
        "kind": "fan_out", "event": event.map(|id| id.to_string()), "endpoints": endpoints.collect::<Vec<_>>(),
    })))
}

fn delivery(_: &[u8], delivery: Delivery) -> Value {
    let (state, at, reason) = match delivery.state {
        DeliveryState::Waiting { due } => ("waiting", due, None),
        DeliveryState::Delivering { until } => ("delivering", until, None),
        DeliveryState::Delivered { at } => ("delivered", at, None),
        DeliveryState::Abandoned { at, reason } => ("abandoned", at, Some(word(reason))),
    };
    json!({
        "kind": "delivery", "event": delivery.event.to_string(), "endpoint": delivery.endpoint.to_string(),
        "ordered": delivery.line.is_some(), "sequence": delivery.sequence, "created": delivery.created.to_string(),
        "attempts": delivery.attempts, "lastFailure": delivery.last_failure.map(word), "state": state,
        "at": at.to_string(), "reason": reason,
    })
}

fn attempt(key: &[u8], attempt: Attempt) -> Value {
    let event = key.first_chunk::<16>().copied().map(EventId::from_bytes);
    let endpoint = key.get(16..key.len().saturating_sub(5)).unwrap_or_default();
    let line = json!({
        "kind": "attempt", "event": event.map(|id| id.to_string()), "endpoint": String::from_utf8_lossy(endpoint),
        "number": attempt.number, "at": attempt.at.to_string(),
        "tookMicros": u64::try_from(attempt.took.as_micros()).unwrap_or(u64::MAX),
        "failure": attempt.outcome.failure.map(word), "status": attempt.outcome.status, "detail": attempt.outcome.detail,
    });
    with_body(line, &attempt.outcome.body)
}
