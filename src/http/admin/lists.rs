//! `/api/v1/callbacks`, `/events`, `/deliveries`, `/watched`: lists by page, and the single things in them.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::AdminParts;
use super::api::{Answer, Failed, Parts, invalid};
use super::auth::Operator;
use super::query::Query;
use super::rows;
use crate::domain::{Callback, CallbackId, EventId, EventKind, UserId};
use crate::http::problem::Problem;
use crate::receive::body;
use crate::store::{CallbackState, DeliveryFilter, DeliveryStand, StoreError};

pub(super) async fn callbacks(_: Operator, parts: Parts, query: Query) -> Answer {
    let state = query.one_of("state", &CallbackState::ALL, CallbackState::as_str)?;
    let (scope, page) = (query.scope()?, query.page()?);
    let page = parts.store.callbacks(scope, state, page).await?;
    Ok(HttpResponse::Ok().json(rows::page("callbacks", &page, rows::callback)))
}

fn no_such_callback() -> Failed {
    let detail = "there is no callback of this id; it may have been older than store.retention";
    Failed(Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_callback",
        detail,
    ))
}

fn callback_id(text: &str) -> Result<CallbackId, Failed> {
    text.parse().map_err(|error| invalid("id", &error))
}

pub(super) async fn callback(_: Operator, parts: Parts, id: web::Path<String>) -> Answer {
    let found = parts.store.callback(callback_id(&id)?).await?;
    let callback = found.ok_or_else(no_such_callback)?;
    Ok(HttpResponse::Ok().json(rows::whole_callback(&callback)))
}

/// Reads a callback again, as this version reads it, and has its user asked about; one that was unrecognized is its
/// user's from then on. Returns whom it speaks of, if anybody.
pub(super) async fn read_again(
    parts: &AdminParts,
    callback: &Callback,
) -> Result<Option<UserId>, StoreError> {
    let arrival = &callback.arrival;
    let reading = body::read(&arrival.body, arrival.query.as_deref());
    let Some(user) = callback.user.clone().or(reading.user) else {
        return Ok(None);
    };
    let (id, now) = (callback.id, parts.clock.now());
    let store = &parts.store;
    if !store.recognize(id, &user, reading.claim, now).await? {
        // Gone since it was read, for its age or its many like; whom it spoke of is known all the same.
        super::api::ask_about(parts, &callback.merchant, &user).await?;
    }
    tracing::info!(callback = %id, "a callback is processed again for an operator");
    Ok(Some(user))
}

/// Reads a callback again, as this version reads it, and asks about its user.
pub(super) async fn reprocess(_: Operator, parts: Parts, id: web::Path<String>) -> Answer {
    let found = parts.store.callback(callback_id(&id)?).await?;
    let callback = found.ok_or_else(no_such_callback)?;
    let Some(user) = read_again(&parts, &callback).await? else {
        let detail = "no user id is found in it, now as then; read it with GET and have the user asked about by POST /api/v1/users/{merchant}/{user}/verify";
        let problem = Problem::new(StatusCode::CONFLICT, "still_unrecognized", detail);
        return Err(Failed(problem));
    };
    Ok(HttpResponse::Accepted().json(json!({
        "result": "asked",
        "merchant": callback.merchant.as_str(),
        "userId": user.as_str(),
    })))
}

pub(super) async fn events(_: Operator, parts: Parts, query: Query) -> Answer {
    let kinds = query.any_of("type", &EventKind::ALL, EventKind::as_str)?;
    let (scope, page) = (query.scope()?, query.page()?);
    let page = parts.store.events(scope, kinds, page).await?;
    Ok(HttpResponse::Ok().json(rows::page("events", &page, rows::event)))
}

pub(super) async fn event(_: Operator, parts: Parts, id: web::Path<String>) -> Answer {
    let id: EventId = id.parse().map_err(|error| invalid("id", &error))?;
    let found = parts.store.event(id).await?;
    let (event, told) = found.ok_or_else(|| {
        let detail = "there is no event of this id; it may have been older than store.retention";
        Failed(Problem::new(StatusCode::NOT_FOUND, "no_such_event", detail))
    })?;
    Ok(HttpResponse::Ok().json(rows::whole_event(&event, &told)))
}

pub(super) async fn deliveries(_: Operator, parts: Parts, query: Query) -> Answer {
    let filter = DeliveryFilter {
        scope: query.scope()?,
        endpoint: query.parsed("endpoint")?,
        stand: query.one_of("state", &DeliveryStand::ALL, DeliveryStand::as_str)?,
    };
    let page = parts.store.deliveries(filter, query.page()?).await?;
    Ok(HttpResponse::Ok().json(rows::page("deliveries", &page, rows::delivery)))
}

pub(super) async fn watched(_: Operator, parts: Parts, query: Query) -> Answer {
    let only_stuck = query.one_of("state", &["stuck"], |word| word)?.is_some();
    let (scope, page) = (query.scope()?, query.page()?);
    let page = parts.store.verifications(scope, only_stuck, page).await?;
    Ok(HttpResponse::Ok().json(rows::page("watched", &page, rows::verification)))
}
