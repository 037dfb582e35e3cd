//! What the lists answer, as JSON. Times are RFC 3339 in UTC.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::views;
use crate::deliver::standard_payload;
use crate::domain::{Callback, Event, EventContent};
use crate::store::{ListedDelivery, ListedVerification, Page, Told};

/// A page: the rows under the list's name, and where the next page begins.
pub(super) fn page<T>(name: &str, page: &Page<T>, row: impl Fn(&T) -> Value) -> Value {
    let mut answer = Map::new();
    let rows = page.items.iter().map(row).collect();
    answer.insert(name.to_owned(), Value::Array(rows));
    let next = page.next.as_ref().map(ToString::to_string);
    answer.insert("next".to_owned(), json!(next));
    Value::Object(answer)
}

/// A callback without its body.
pub(super) fn callback(callback: &Callback) -> Value {
    let arrival = &callback.arrival;
    json!({
        "id": callback.id.to_string(),
        "at": arrival.at.to_string(),
        "merchant": callback.merchant.as_str(),
        "userId": callback.user.as_ref().map(|user| user.as_str()),
        "state": if callback.user.is_some() { "accepted" } else { "unrecognized" },
        "sign": callback.sign.as_str(),
        "token": callback.token,
        "claim": callback.claim,
        "peer": arrival.peer.map(|peer| peer.to_string()),
        "bytes": arrival.body.len(),
    })
}

/// A callback byte for byte.
pub(super) fn whole_callback(one: &Callback) -> Value {
    let arrival = &one.arrival;
    let (body, encoding) = match std::str::from_utf8(&arrival.body) {
        Ok(text) => (text.to_owned(), "utf-8"),
        Err(_) => (BASE64_STANDARD.encode(&arrival.body), "base64"),
    };
    let more = json!({
        "contentType": arrival.content_type,
        "query": arrival.query,
        "body": body,
        "bodyEncoding": encoding,
    });
    joined(callback(one), more)
}

fn joined(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut one), Value::Object(other)) => {
            one.extend(other);
            Value::Object(one)
        }
        (one, _) => one,
    }
}

/// An event; `data` is what its receivers are told.
pub(super) fn event(event: &Event) -> Value {
    let user = match &event.content {
        EventContent::Result(result) => Some(result.user.as_str()),
        EventContent::Operational(_) => None,
    };
    let told: Value = serde_json::from_slice(&standard_payload(event)).unwrap_or_default();
    json!({
        "id": event.id.to_string(),
        "at": event.at.to_string(),
        "type": event.kind().as_str(),
        "merchant": event.merchant().map(|merchant| merchant.as_str()),
        "userId": user,
        "data": told.get("data"),
    })
}

/// An event with its deliveries and their attempts.
pub(super) fn whole_event(made: &Event, told: &[Told]) -> Value {
    let deliveries = told.iter().map(|(delivery, attempts)| {
        let attempts = attempts.iter();
        let attempts = attempts.map(|one| views::attempt(made, delivery, one));
        json!({
            "delivery": views::delivery(delivery),
            "attempts": attempts.collect::<Vec<_>>(),
        })
    });
    let deliveries: Vec<Value> = deliveries.collect();
    joined(event(made), json!({ "deliveries": deliveries }))
}

/// A delivery with what it tells.
pub(super) fn delivery(row: &ListedDelivery) -> Value {
    let user = match &row.event.content {
        EventContent::Result(result) => Some(result.user.as_str()),
        EventContent::Operational(_) => None,
    };
    let more = json!({
        "type": row.event.kind().as_str(),
        "made": row.event.at.to_string(),
        "merchant": row.event.merchant().map(|merchant| merchant.as_str()),
        "userId": user,
        "held": row.held,
    });
    joined(views::delivery(&row.delivery), more)
}

/// A verification under way.
pub(super) fn verification(row: &ListedVerification) -> Value {
    let about = json!({ "merchant": row.merchant.as_str(), "userId": row.user.as_str() });
    joined(about, views::verification(&row.verification))
}
