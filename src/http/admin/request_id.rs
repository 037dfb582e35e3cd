//! A request's id, taken from the caller or given, in the answer and in every log line about it; and the last look at
//! an answer before it goes.
//!
//! Promise: whatever comes from this listener carries `X-Request-Id`, and no error leaves it other than as
//! `application/problem+json`.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::middleware::Next;
use actix_web::{Error, web};
use tracing::Instrument;

use super::AdminParts;
use crate::http::problem::Problem;
use crate::http::request_id::{RequestId, X_REQUEST_ID};

/// Around every request of the listener.
pub(super) async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(parts) = request.app_data::<web::Data<AdminParts>>().cloned() else {
        return next
            .call(request)
            .await
            .map(ServiceResponse::map_into_boxed_body);
    };
    let began = parts.clock.now();
    let id = RequestId::of(request.request(), || parts.entropy.bits());
    let shown = id.as_str().to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", request = %shown);
    let answered = next.call(request).instrument(span).await?;
    let mut response = as_problem(answered.map_into_boxed_body());
    response.headers_mut().insert(X_REQUEST_ID, id.header());
    let status = response.status().as_u16();
    // The pattern, not the path: a path may name a user.
    let route = response.request().match_pattern().unwrap_or_default();
    let took_ms = u64::try_from(parts.clock.now().since(began).as_millis()).unwrap_or(u64::MAX);
    if method.is_safe() {
        tracing::debug!(request = %shown, %method, route, status, took_ms, "operator's request answered");
    } else {
        tracing::info!(request = %shown, %method, route, status, took_ms, "operator's request answered");
    }
    Ok(response)
}

/// What the framework refuses by itself becomes a problem like any other.
fn as_problem(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(CONTENT_TYPE);
    // What has a type was made by a handler.
    let is_ours = kind.is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.starts_with(b"application/") || kind.starts_with(b"text/html")
    });
    if !is_error || is_ours {
        return response;
    }
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            status,
            "body_too_large",
            "the body is larger than 4 MiB; send it in parts",
        ),
        StatusCode::NOT_FOUND => Problem::no_such_route(),
        _ => Problem::new(
            status,
            "invalid_request",
            "the request is not one that this can be asked; see docs/api.md",
        ),
    };
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, problem.response().map_into_boxed_body())
}
