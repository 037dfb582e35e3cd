//! The control API: how a person or a script steers the simulation and looks inside. JSON, no authentication, and
//! answered to this machine only, whatever address the sandbox listens on.
//!
//!     GET  /control/faults                              PUT /control/faults   {"query_lag": "5s", …}; what is left out is off
//!     GET  /control/users                               every user
//!     GET  /control/users/{merchant}/{user}             status, applications, callbacks with their tries, queries
//!     PUT  /control/users/{merchant}/{user}             {status, failReason, decision, callBackUrl, callback, faults}
//!     POST /control/users/{merchant}/{user}/callback    send one now; see [`CallbackSpec`] for what can be ordered
//!     GET  /control/requests                            counts
//!
//! Promise: an unknown field or a nonsensical value is a 400 that says which, and changes nothing.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::callback::CallbackSpec;
use super::engine::Engine;
use super::faults::Faults;
use super::intake;
use super::world::{ByHandError, Key};
use super::{report, send_by_hand};
use crate::domain::{Status, Verdict};

/// `PUT /control/users/{merchant}/{user}`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct UserOrder {
    /// The status from now on.
    status: Option<String>,
    #[serde(rename = "failReason")]
    fail_reason: Option<String>,
    /// What reviews come to from now on.
    decision: Option<Decision>,
    #[serde(rename = "callBackUrl")]
    callback_url: Option<String>,
    /// Whether to call the status back now, with retries.
    callback: bool,
    /// The user's own faults; they replace those for all.
    faults: Option<Faults>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    status: String,
    #[serde(rename = "failReason")]
    fail_reason: Option<String>,
}

fn bad(problem: impl std::fmt::Display) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({"error": problem.to_string()}))
}

fn missing(problem: &str) -> HttpResponse {
    HttpResponse::NotFound().json(json!({"error": problem}))
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, HttpResponse> {
    serde_json::from_slice(body).map_err(bad)
}

fn key_of(path: &(String, String), engine: &Engine) -> Result<Key, HttpResponse> {
    let merchant = path.0.parse().map_err(bad)?;
    let user = path.1.parse().map_err(bad)?;
    if engine.world().merchants.contains_key(&merchant) {
        Ok((merchant, user))
    } else {
        Err(missing("no such merchant in this sandbox"))
    }
}

fn verdict(status: &str, reason: Option<String>) -> Result<Verdict, HttpResponse> {
    let status = Status::parse(status).map_err(|problem| bad(format!("status: {problem}")))?;
    Ok(Verdict::new(status, reason))
}

pub(super) async fn get_faults(engine: web::Data<Engine>) -> HttpResponse {
    HttpResponse::Ok().json(&engine.world().faults)
}

pub(super) async fn put_faults(body: web::Bytes, engine: web::Data<Engine>) -> HttpResponse {
    match parsed::<Faults>(&body) {
        Ok(faults) => {
            engine.world().faults = faults.clone();
            HttpResponse::Ok().json(faults)
        }
        Err(answer) => answer,
    }
}

pub(super) async fn get_requests(engine: web::Data<Engine>) -> HttpResponse {
    HttpResponse::Ok().json(&engine.world().requests)
}

pub(super) async fn get_users(engine: web::Data<Engine>) -> HttpResponse {
    HttpResponse::Ok().json(super::reports(&engine))
}

pub(super) async fn get_user(
    path: web::Path<(String, String)>,
    engine: web::Data<Engine>,
) -> HttpResponse {
    match key_of(&path, &engine) {
        Ok(key) => match super::report(&engine, &key) {
            Some(report) => HttpResponse::Ok().json(report),
            None => missing("no such user"),
        },
        Err(answer) => answer,
    }
}

pub(super) async fn put_user(
    path: web::Path<(String, String)>,
    body: web::Bytes,
    engine: web::Data<Engine>,
) -> HttpResponse {
    match order(&path, &body, &engine) {
        Ok(report) => HttpResponse::Ok().json(report),
        Err(answer) => answer,
    }
}

fn order(
    path: &(String, String),
    body: &[u8],
    engine: &Engine,
) -> Result<report::UserReport, HttpResponse> {
    let key = key_of(path, engine)?;
    let order: UserOrder = parsed(body)?;
    if order.fail_reason.is_some() && order.status.is_none() {
        return Err(bad("failReason without status"));
    }
    // Everything is read before anything is changed.
    let status = match order.status {
        Some(status) => Some(verdict(&status, order.fail_reason)?),
        None => None,
    };
    let decision = match order.decision {
        Some(decision) => Some(verdict(&decision.status, decision.fail_reason)?),
        None => None,
    };
    if let Some(url) = &order.callback_url {
        intake::callback_url(url, engine.allow_remote)
            .map_err(|problem| bad(format!("callBackUrl: {problem}")))?;
    }
    let now = engine.now();
    let mut world = engine.world();
    let account = world.accounts.entry(key.clone()).or_default();
    let known = account.callback_url.is_some() || order.callback_url.is_some();
    if order.callback && !known {
        return Err(bad(ByHandError::Nowhere));
    }
    if order.callback && status.is_none() && account.truth(now).is_none() {
        return Err(bad("callback: this user has no status yet, say status"));
    }
    account.callback_url = order.callback_url.or(account.callback_url.take());
    account.ordered = decision.or(account.ordered.take());
    account.faults = order.faults.or(account.faults.take());
    if let Some(verdict) = status {
        world.set(now, &key, verdict);
    }
    if order.callback {
        world.announce(now, now, &key);
    }
    drop(world);
    engine.kick();
    super::report(engine, &key).ok_or_else(|| missing("no such user"))
}

pub(super) async fn post_callback(
    path: web::Path<(String, String)>,
    body: web::Bytes,
    engine: web::Data<Engine>,
) -> HttpResponse {
    let key = match key_of(&path, &engine) {
        Ok(key) => key,
        Err(answer) => return answer,
    };
    // Nothing ordered is the commonest order: `curl -X POST` without a body.
    let spec = if body.is_empty() {
        Ok(CallbackSpec::default())
    } else {
        parsed(&body)
    };
    match spec {
        Ok(spec) => match send_by_hand(&engine, &key, &spec).await {
            Ok(attempt) => HttpResponse::Ok().json(attempt),
            Err(problem) => bad(problem),
        },
        Err(answer) => answer,
    }
}
