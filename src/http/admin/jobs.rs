//! What operators order of many deliveries at once: counted first, then done in the background, to be watched and
//! cancelled.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::api::{Answer, Failed, Parts, body, invalid};
use super::auth::Operator;
use super::endpoints::{named, no_such_endpoint};
use super::query::{one_of, time};
use super::views;
use crate::domain::{EndpointName, EventKind, InvalidId, JobKind, JobOrder, Standing, Timestamp};
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobBody {
    since: Option<String>,
    until: Option<String>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    states: Vec<String>,
    #[serde(default)]
    dry_run: bool,
}

/// The order that a body describes.
fn described(
    kind: JobKind,
    endpoint: EndpointName,
    asked: &JobBody,
    now: Timestamp,
) -> Result<JobOrder, Failed> {
    let since = match (&asked.since, kind) {
        (Some(text), _) => time("since", text)?,
        // Telling everything again that was ever told is hardly what somebody means who says nothing.
        (None, JobKind::Replay) => {
            return Err(invalid("since", &InvalidId("a replay needs a beginning")));
        }
        (None, JobKind::Retry | JobKind::Discard) => Timestamp::from_millis(0),
    };
    let until = asked.until.as_deref();
    let types = asked.types.iter();
    let types = types.map(|name| one_of("types", name, &EventKind::ALL, EventKind::as_str));
    let states = asked.states.iter();
    let states = states.map(|name| one_of("states", name, kind.standings(), Standing::as_str));
    Ok(JobOrder {
        kind,
        endpoint,
        since,
        until: until.map_or(Ok(now), |text| time("until", text))?,
        types: types.collect::<Result<_, _>>()?,
        states: states.collect::<Result<_, _>>()?,
    })
}

pub(super) async fn replay(
    _: Operator,
    parts: Parts,
    name: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    ordered(&parts, JobKind::Replay, &name, &bytes).await
}

pub(super) async fn retry(
    _: Operator,
    parts: Parts,
    name: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    ordered(&parts, JobKind::Retry, &name, &bytes).await
}

pub(super) async fn discard(
    _: Operator,
    parts: Parts,
    name: web::Path<String>,
    bytes: web::Bytes,
) -> Answer {
    ordered(&parts, JobKind::Discard, &name, &bytes).await
}

async fn ordered(parts: &Parts, kind: JobKind, name: &str, bytes: &web::Bytes) -> Answer {
    let asked: JobBody = body(bytes)?;
    let endpoint: EndpointName = name.parse().map_err(|error| invalid("endpoint", &error))?;
    let order = described(kind, endpoint, &asked, parts.clock.now())?;
    if kind == JobKind::Replay && !parts.routing.load().knows(&order.endpoint) {
        return Err(no_such_endpoint());
    }
    let total = parts.jobs.count(&order).await?;
    // One that is not in the configuration may still have something; one that has nothing may be a slip of the pen.
    if total == 0 {
        named(parts, name).await?;
    }
    if asked.dry_run {
        return Ok(HttpResponse::Ok().json(json!({ "total": total, "job": null })));
    }
    let begun = parts.jobs.begin(order, total).await?;
    Ok(HttpResponse::Accepted().json(json!({ "total": begun.total, "job": views::job(&begun) })))
}

pub(super) async fn list(_: Operator, parts: Parts) -> Answer {
    let all = parts.store.jobs().await?;
    let newest_first: Vec<_> = all.iter().rev().map(views::job).collect();
    Ok(HttpResponse::Ok().json(json!({ "jobs": newest_first })))
}

fn no_such_job() -> Failed {
    let detail = "there is no job of this number";
    Failed(Problem::new(StatusCode::NOT_FOUND, "no_such_job", detail))
}

pub(super) async fn show(_: Operator, parts: Parts, id: web::Path<u64>) -> Answer {
    let all = parts.store.jobs().await?;
    let found = all.iter().find(|job| job.id == *id);
    Ok(HttpResponse::Ok().json(views::job(found.ok_or_else(no_such_job)?)))
}

pub(super) async fn cancel(_: Operator, parts: Parts, id: web::Path<u64>) -> Answer {
    let cancelled = parts.store.cancel_job(*id, parts.clock.now()).await?;
    let job = cancelled.ok_or_else(no_such_job)?;
    tracing::info!(job = job.id, "job {} is {}", job.id, job.progress.as_str());
    Ok(HttpResponse::Ok().json(views::job(&job)))
}
