//! Answers every request of the public listener, by the table of the contract (§4).
//!
//! Promise: the checks come in one order, the cheap and anonymous first, so that a refusal costs little and tells
//! nothing: allowance, path, method, address, encoding, size, body, and only then the receiver. All paths are looked
//! at here, not in a router, so that a wrong token and a wrong path take the same way to the same 404.

use std::cell::Cell;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, dev, web};
use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use crate::domain::{Arrival, Trust};
use crate::receive::{Door, Refusal};

use super::client::Client;
use super::crowd::Place;
use super::edge::{Edge, Rules};
use super::problem::Problem;
use super::reading;
use super::reply::{Holding, reply};
use super::request_id::{RequestId, X_REQUEST_ID};

/// When a connection was made; the first request on it takes it, to know when its headers began.
pub(super) struct Connected(Cell<Option<Instant>>);

impl Connected {
    pub(super) fn now() -> Self {
        Self(Cell::new(Some(instant())))
    }
}

/// A success, and whether the client has shown that it knows a secret.
struct Success {
    body: Bytes,
    knows: bool,
}

/// Answers one request.
pub(super) async fn answer(
    req: HttpRequest,
    payload: web::Payload,
    edge: web::Data<Edge>,
) -> HttpResponse<Holding> {
    if let Some(place) = req.conn_data::<Place>() {
        place.has_request();
    }
    let mut payload = payload.into_inner();
    let rules = edge.rules();
    let client = edge.client(&req, &rules);
    let id = RequestId::of(&req, || edge.entropy.bits());
    let served = serve(&req, &mut payload, &edge, &rules, (&client, &id)).await;
    let (mut response, keep) = match served {
        Ok(success) => (text(success.body), success.knows || client.trusted_peer),
        Err(problem) => {
            debug!(
                request = id.as_str(),
                code = problem.code(),
                "request refused"
            );
            edge.metrics.callback_refused(problem.code());
            let keep = client.trusted_peer && !problem.closes();
            (problem.response(), keep)
        }
    };
    // The server limits the time for the headers of a connection's first request only. So only who is known gets
    // to make a second one; all others would be free to begin it and never end.
    let upgrade = req.head().upgrade();
    // Of what is not there every answer is the same, down to its headers: an id of ours would tell them apart.
    if id.is_given() || response.status() != StatusCode::NOT_FOUND {
        response.headers_mut().insert(X_REQUEST_ID, id.header());
    }
    reply(response, payload, keep && !upgrade)
}

async fn serve(
    req: &HttpRequest,
    payload: &mut dev::Payload,
    edge: &Edge,
    rules: &Rules,
    (client, id): (&Client, &RequestId),
) -> Result<Success, Problem> {
    let path = req.uri().path();
    if path == "/healthz" {
        return health(req.method());
    }
    rules.admit(client)?;
    let door = door(edge, path).ok_or_else(Problem::not_found)?;
    match *req.method() {
        Method::POST => {}
        // A look at the URL has no effect, and says only what a callback's answer would.
        Method::GET | Method::HEAD => return Ok(acknowledged(rules, door.token())),
        _ => return Err(Problem::method_not_allowed("GET, HEAD, POST")),
    }
    rules.allow(client)?;
    let body = reading::body(req, payload, rules.max_body, deadline(req, rules)).await?;
    let arrival = arrival(req, client, body, edge);
    let began = instant();
    let metrics = &edge.metrics;
    let taken = edge.receiver.take(&door, arrival, id.as_str()).await;
    let taken = taken.inspect_err(|refusal| {
        if let Refusal::BadSign(sign) = refusal {
            metrics.callback_with_bad_sign(door.merchant(), *sign);
        }
    })?;
    metrics.callback_accepted(
        door.merchant(),
        taken.sign,
        taken.recognized,
        began.elapsed(),
    );
    Ok(acknowledged(rules, taken.trust != Trust::Open))
}

/// Outside the allowance: who asks whether we live is to be answered under a flood too.
fn health(method: &Method) -> Result<Success, Problem> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Problem::method_not_allowed("GET, HEAD"));
    }
    Ok(Success {
        body: Bytes::from_static(b"ok"),
        knows: false,
    })
}

/// `/callback`, `/callback/{merchant_no}`, `/callback/{merchant_no}/{token}`, each with one slash more or not.
fn door(edge: &Edge, path: &str) -> Option<Door> {
    let rest = path.strip_prefix("/callback")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return edge.receiver.door(None, None);
    }
    let mut segments = rest.strip_prefix('/')?.split('/');
    let (merchant, token) = (segments.next(), segments.next());
    if segments.next().is_some() {
        return None;
    }
    edge.receiver.door(merchant, token)
}

fn acknowledged(rules: &Rules, knows: bool) -> Success {
    Success {
        body: rules.ack.clone(),
        knows,
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "measures how long clients and the disk take"
)]
fn instant() -> Instant {
    Instant::now()
}

fn deadline(req: &HttpRequest, rules: &Rules) -> Instant {
    let began = req
        .conn_data::<Connected>()
        .and_then(|connected| connected.0.take());
    began.unwrap_or_else(instant) + rules.request_timeout
}

fn arrival(req: &HttpRequest, client: &Client, body: Vec<u8>, edge: &Edge) -> Arrival {
    let content_type = req.headers().get(header::CONTENT_TYPE);
    Arrival {
        body,
        content_type: content_type
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        query: req.uri().query().map(str::to_owned),
        peer: client.address,
        at: edge.clock.now(),
    }
}

fn text(body: Bytes) -> HttpResponse<Bytes> {
    let mut response = HttpResponse::with_body(StatusCode::OK, body);
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
