//! The control API: how a person or a script steers the simulation and looks inside. JSON, no authentication, and
//! answered to this machine only, whatever address the sandbox listens on.
//!
//! ```text
//! GET  /control/faults                              PUT /control/faults   {"query_lag": "5s", …}; what is left out is off
//! GET  /control/users                               every user
//! GET  /control/users/{merchant}/{user}             status, applications, callbacks with their tries, queries
//! PUT  /control/users/{merchant}/{user}             {status, failReason, decision, callBackUrl, callback, faults}
//! POST /control/users/{merchant}/{user}/callback    send one now; see CallbackSpec for what can be ordered
//! GET  /control/requests                            counts
//! ```
//!
//! Promise: an unknown field or a nonsensical value is a 400 that says which, and changes nothing.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::callback::CallbackSpec;
use super::engine::Engine;
use super::faults::Faults;
use super::intake;
use super::send_by_hand;
use super::world::{ByHandError, Key};
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

/// Why an order is declined; `{"error": …}` with the status that fits.
#[derive(Debug, thiserror::Error)]
pub(super) enum Declined {
    #[error("{0}")]
    Bad(String),
    #[error("{0}")]
    Missing(&'static str),
}

impl ResponseError for Declined {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Missing(_) => StatusCode::NOT_FOUND,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(json!({"error": self.to_string()}))
    }
}

type Told = Result<HttpResponse, Declined>;

fn bad(problem: impl std::fmt::Display) -> Declined {
    Declined::Bad(problem.to_string())
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Declined> {
    serde_json::from_slice(body).map_err(bad)
}

fn key_of(path: &(String, String), engine: &Engine) -> Result<Key, Declined> {
    let merchant = path.0.parse().map_err(bad)?;
    let user = path.1.parse().map_err(bad)?;
    if engine.world().merchants.contains_key(&merchant) {
        Ok((merchant, user))
    } else {
        Err(Declined::Missing("no such merchant in this sandbox"))
    }
}

fn verdict(status: &str, reason: Option<String>) -> Result<Verdict, Declined> {
    let status = Status::parse(status).map_err(|problem| bad(format!("status: {problem}")))?;
    Ok(Verdict::new(status, reason))
}

pub(super) async fn get_faults(engine: web::Data<Engine>) -> HttpResponse {
    HttpResponse::Ok().json(&engine.world().faults)
}

pub(super) async fn put_faults(body: web::Bytes, engine: web::Data<Engine>) -> Told {
    let faults: Faults = parsed(&body)?;
    engine.world().faults = faults.clone();
    Ok(HttpResponse::Ok().json(faults))
}

pub(super) async fn get_requests(engine: web::Data<Engine>) -> HttpResponse {
    HttpResponse::Ok().json(&engine.world().requests)
}

pub(super) async fn get_users(engine: web::Data<Engine>) -> HttpResponse {
    HttpResponse::Ok().json(super::reports(&engine))
}

pub(super) async fn get_user(path: web::Path<(String, String)>, engine: web::Data<Engine>) -> Told {
    let key = key_of(&path, &engine)?;
    let report = super::report(&engine, &key).ok_or(Declined::Missing("no such user"))?;
    Ok(HttpResponse::Ok().json(report))
}

pub(super) async fn put_user(
    path: web::Path<(String, String)>,
    body: web::Bytes,
    engine: web::Data<Engine>,
) -> Told {
    let key = key_of(&path, &engine)?;
    carry_out(parsed(&body)?, &key, &engine)?;
    engine.kick();
    let report = super::report(&engine, &key).ok_or(Declined::Missing("no such user"))?;
    Ok(HttpResponse::Ok().json(report))
}

/// Everything is checked before anything is changed.
fn carry_out(order: UserOrder, key: &Key, engine: &Engine) -> Result<(), Declined> {
    if order.fail_reason.is_some() && order.status.is_none() {
        return Err(bad("failReason without status"));
    }
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
    world.settle(now);
    if order.callback {
        let account = world.accounts.get(key);
        let has_url = account.is_some_and(|account| account.callback_url.is_some());
        if !has_url && order.callback_url.is_none() {
            return Err(bad(ByHandError::Nowhere));
        }
        let has_status = account.is_some_and(|account| account.truth(now).is_some());
        if !has_status && status.is_none() {
            return Err(bad("callback: this user has no status yet, say status"));
        }
    }
    let account = world.accounts.entry(key.clone()).or_default();
    account.callback_url = order.callback_url.or(account.callback_url.take());
    account.ordered = decision.or(account.ordered.take());
    account.faults = order.faults.or(account.faults.take());
    if let Some(verdict) = status {
        world.set(now, key, verdict);
    }
    if order.callback {
        world.announce(now, now, key);
    }
    Ok(())
}

pub(super) async fn post_callback(
    path: web::Path<(String, String)>,
    body: web::Bytes,
    engine: web::Data<Engine>,
) -> Told {
    let key = key_of(&path, &engine)?;
    // Nothing ordered is the commonest order: `curl -X POST` without a body.
    let spec = if body.is_empty() {
        CallbackSpec::default()
    } else {
        parsed(&body)?
    };
    let attempt = send_by_hand(&engine, &key, &spec).await.map_err(bad)?;
    Ok(HttpResponse::Ok().json(attempt))
}
