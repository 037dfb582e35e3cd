//! Endpoints and their deliveries, as operators see and order them.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::api::{Answer, Failed, Parts, invalid};
use super::auth::Operator;
use super::{AdminParts, views};
use crate::domain::{EndpointName, EventId, Health};
use crate::http::problem::Problem;
use crate::store::{EndpointTally, Refused, StoreError};

pub(super) fn no_such_endpoint() -> Failed {
    let detail = "no endpoint of this name is configured or has deliveries";
    Failed(Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_endpoint",
        detail,
    ))
}

/// An endpoint that is configured, or is not and has something unsettled.
pub(super) struct Known {
    pub(super) name: EndpointName,
    pub(super) tally: EndpointTally,
    pub(super) configured: bool,
}

/// All of them; those that are not configured any more last.
pub(super) async fn known(parts: &AdminParts) -> Result<Vec<Known>, StoreError> {
    let tallies = parts.store.tallies().await?.endpoints;
    let of = |name: &EndpointName| {
        let found = tallies.iter().find(|(other, _)| other == name);
        found.map(|(_, tally)| *tally).unwrap_or_default()
    };
    let routing = parts.routing.load();
    let configured = routing.endpoints().map(|name| Known {
        name: name.clone(),
        tally: of(name),
        configured: true,
    });
    let orphaned = tallies
        .iter()
        .filter(|(name, tally)| !routing.knows(name) && tally.pending + tally.given_up > 0)
        .map(|(name, tally)| Known {
            name: name.clone(),
            tally: *tally,
            configured: false,
        });
    Ok(configured.chain(orphaned).collect())
}

pub(super) async fn named(parts: &Parts, name: &str) -> Result<Known, Failed> {
    let name: EndpointName = name.parse().map_err(|error| invalid("endpoint", &error))?;
    let found = known(parts).await?.into_iter().find(|one| one.name == name);
    found.ok_or_else(no_such_endpoint)
}

async fn view(parts: &Parts, one: &Known) -> Result<serde_json::Value, Failed> {
    let health = parts.store.health(&one.name).await?;
    Ok(views::endpoint(
        &one.name,
        &health,
        one.tally,
        one.configured,
    ))
}

pub(super) async fn list(_: Operator, parts: Parts) -> Answer {
    let mut endpoints = Vec::new();
    for one in known(&parts).await? {
        endpoints.push(view(&parts, &one).await?);
    }
    Ok(HttpResponse::Ok().json(json!({ "endpoints": endpoints })))
}

pub(super) async fn show(_: Operator, parts: Parts, name: web::Path<String>) -> Answer {
    let one = named(&parts, &name).await?;
    Ok(HttpResponse::Ok().json(view(&parts, &one).await?))
}

pub(super) async fn pause(_: Operator, parts: Parts, name: web::Path<String>) -> Answer {
    let one = named(&parts, &name).await?;
    parts.store.pause(&one.name, parts.clock.now()).await?;
    tracing::warn!(endpoint = %one.name, "endpoint {} is paused by an operator", one.name);
    Ok(HttpResponse::Ok().json(view(&parts, &one).await?))
}

pub(super) async fn resume(_: Operator, parts: Parts, name: web::Path<String>) -> Answer {
    let one = named(&parts, &name).await?;
    parts.store.resume(&one.name, parts.clock.now()).await?;
    tracing::info!(endpoint = %one.name, "endpoint {} is resumed by an operator", one.name);
    Ok(HttpResponse::Ok().json(view(&parts, &one).await?))
}

/// Makes a test event for an endpoint. Returns it, and how the endpoint was just before; `None`: the endpoint is not in
/// the configuration.
pub(super) async fn make_test(
    parts: &AdminParts,
    name: &EndpointName,
) -> Result<Option<(EventId, Health)>, StoreError> {
    let health = parts.store.health(name).await?;
    let now = parts.clock.now();
    let (event, routing) = (parts.entropy.event_id(now), parts.routing.load_full());
    let made = parts.store.test(name, event, now, routing).await?;
    Ok(made.then_some((event, health)))
}

pub(super) async fn test(_: Operator, parts: Parts, name: web::Path<String>) -> Answer {
    let one = named(&parts, &name).await?;
    let Some((event, health)) = make_test(&parts, &one.name).await? else {
        let detail = "the endpoint is not in the configuration any more: what it has not heard is kept, but nothing is sent to it before it is back";
        let (status, code) = (StatusCode::NOT_FOUND, "no_such_endpoint");
        return Err(Failed(Problem::new(status, code, detail)));
    };
    Ok(HttpResponse::Accepted().json(views::tested(event, &health, parts.clock.now())))
}

fn place(path: web::Path<(String, String)>) -> Result<(EventId, EndpointName), Failed> {
    let (event, endpoint) = path.into_inner();
    let event = event.parse().map_err(|error| invalid("event", &error))?;
    let endpoint = endpoint
        .parse()
        .map_err(|error| invalid("endpoint", &error))?;
    Ok((event, endpoint))
}

pub(super) async fn delivery(
    _: Operator,
    parts: Parts,
    path: web::Path<(String, String)>,
) -> Answer {
    let (event, endpoint) = place(path)?;
    let found = parts.store.delivery(event, &endpoint).await?;
    let (event, (delivery, attempts)) = found.ok_or_else(|| refused(Refused::NotThere))?;
    let attempts = attempts.iter();
    Ok(HttpResponse::Ok().json(json!({
        "delivery": views::delivery(&delivery),
        "event": views::event_made(&event),
        "attempts": attempts.map(|one| views::attempt(&event, &delivery, one)).collect::<Vec<_>>(),
    })))
}

fn refused(why: Refused) -> Failed {
    let (status, code) = match why {
        Refused::NotThere => (StatusCode::NOT_FOUND, "no_such_delivery"),
        Refused::UnderWay => (StatusCode::CONFLICT, "under_way"),
        Refused::Delivered => (StatusCode::CONFLICT, "delivered"),
        Refused::BehindAnother => (StatusCode::CONFLICT, "behind_another"),
    };
    Failed(Problem::new(status, code, "").detail(why.to_string()))
}

pub(super) async fn retry(_: Operator, parts: Parts, path: web::Path<(String, String)>) -> Answer {
    let (event, endpoint) = place(path)?;
    let retried = parts
        .store
        .retry(event, &endpoint, parts.clock.now())
        .await?;
    Ok(HttpResponse::Ok().json(views::delivery(&retried.map_err(refused)?)))
}

pub(super) async fn discard(
    _: Operator,
    parts: Parts,
    path: web::Path<(String, String)>,
) -> Answer {
    let (event, endpoint) = place(path)?;
    let discarded = parts
        .store
        .discard(event, &endpoint, parts.clock.now())
        .await?;
    Ok(HttpResponse::Ok().json(views::delivery(&discarded.map_err(refused)?)))
}
