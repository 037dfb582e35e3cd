//! `/api/v1/status`: what needs someone first, each with what to do about it; then counts and lags.
//!
//! Promise: it costs the same whatever is stored: counts are kept, and of each queue only the first is looked at.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::endpoints::{Known, known};
use super::{AdminParts, readiness, views};
use crate::domain::{Health, Timestamp, VerifyLane};
use crate::store::{Lane, StoreError, Tallies};

/// Something that needs someone.
fn item(
    what: &str,
    about: Option<&str>,
    count: Option<u64>,
    since: Option<Timestamp>,
    remedy: String,
) -> Value {
    json!({
        "what": what,
        "about": about,
        "count": count,
        "since": since.map(|at| at.to_string()),
        "do": remedy,
    })
}

fn millis(late: Duration) -> u64 {
    u64::try_from(late.as_millis()).unwrap_or(u64::MAX)
}

pub(super) async fn status(parts: &AdminParts) -> Result<Value, StoreError> {
    let now = parts.clock.now();
    let tallies = parts.store.tallies().await?;
    let reasons = readiness::reasons(parts).await;
    let mut attention: Vec<Value> = reasons
        .iter()
        .map(|reason| {
            let remedy = "see /readyz in docs/api.md and the service's log".to_owned();
            item("not_ready", Some(reason), None, None, remedy)
        })
        .collect();
    let (mut pending, mut abandoned, mut late) = (Map::new(), Map::new(), Map::new());
    let mut orphaned: Vec<String> = Vec::new();
    for one in known(parts).await? {
        let health = parts.store.health(&one.name).await?;
        attention.extend(of_endpoint(&one, &health));
        let name = one.name.to_string();
        if one.tally.pending > 0 {
            pending.insert(name.clone(), json!(one.tally.pending));
        }
        if one.tally.given_up > 0 {
            abandoned.insert(name.clone(), json!(one.tally.given_up));
        }
        let lane = Lane::Deliver(one.name.clone());
        if let Some(due) = parts.store.next_due(&lane).await?.filter(|due| *due < now) {
            late.insert(name.clone(), json!(millis(now.since(due))));
        }
        if !one.configured && one.tally.pending > 0 {
            orphaned.push(name);
        }
    }
    attention.extend(of_all(&tallies));
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": now.to_string(),
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "attention": attention,
        "pending": { "verifications": tallies.verifications, "deliveries": pending },
        "counts": {
            "stuck": tallies.stuck,
            "unrecognized": tallies.unrecognized,
            "abandoned": abandoned,
        },
        "lateMs": { "verifications": millis(verify_lag(parts, now).await?), "deliveries": late },
        "orphaned": orphaned,
    }))
}

/// For how long the oldest verification has been due.
async fn verify_lag(parts: &AdminParts, now: Timestamp) -> Result<Duration, StoreError> {
    let mut late = Duration::ZERO;
    for known in parts.applications.merchants.load().iter() {
        for lane in [VerifyLane::Main, VerifyLane::Open] {
            let lane = Lane::Verify(known.merchant.clone(), lane);
            if let Some(due) = parts.store.next_due(&lane).await? {
                late = late.max(now.since(due));
            }
        }
    }
    Ok(late)
}

fn of_endpoint(one: &Known, health: &Health) -> Vec<Value> {
    let name = one.name.as_str();
    let mut found = Vec::new();
    let held = Some(one.tally.pending);
    match views::standing(health) {
        ("down", since) => {
            let remedy = format!(
                "look at the receiver; `vexora-relay endpoints` shows the next probe, `vexora-relay resume {name}` sends what is held at once"
            );
            found.push(item("endpoint_down", Some(name), held, since, remedy));
        }
        ("paused", since) => {
            let remedy = format!("`vexora-relay resume {name}` when the receiver is ready");
            found.push(item("endpoint_paused", Some(name), held, since, remedy));
        }
        _ => {}
    }
    if one.tally.given_up > 0 {
        let remedy = format!(
            "`vexora-relay deliveries --state given_up --endpoint {name}` shows them; `vexora-relay retry --endpoint {name}` tries them again, `vexora-relay discard --endpoint {name} --state abandoned` gives them up"
        );
        let count = Some(one.tally.given_up);
        found.push(item("abandoned", Some(name), count, None, remedy));
    }
    if !one.configured && one.tally.pending > 0 {
        let remedy = format!(
            "put the endpoint back into the configuration, or `vexora-relay discard --endpoint {name}`"
        );
        found.push(item("orphaned", Some(name), held, None, remedy));
    }
    found
}

fn of_all(tallies: &Tallies) -> Vec<Value> {
    let mut found = Vec::new();
    if tallies.stuck > 0 {
        let remedy = "`vexora-relay watched --state stuck` shows who; `vexora-relay query USER` asks Vexora, `vexora-relay watch USER` begins anew";
        let count = Some(tallies.stuck);
        found.push(item("stuck", None, count, None, remedy.to_owned()));
    }
    if tallies.unrecognized > 0 {
        let remedy = "`vexora-relay callbacks --state unrecognized` shows them; GET /api/v1/callbacks/{id} what was sent, `vexora-relay reprocess CALLBACK` reads it again";
        let count = Some(tallies.unrecognized);
        found.push(item("unrecognized", None, count, None, remedy.to_owned()));
    }
    found
}
