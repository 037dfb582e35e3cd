//! The bearer token (RFC 6750 §2.1), compared in constant time; whoever guesses is slowed down.

use std::future::{Ready, ready};

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, dev, web};

use super::AdminParts;
use super::api::Failed;
use super::guard::Guard;
use super::query::Query;
use crate::http::problem::Problem;

/// Proof that the request carried the token: a handler that takes one answers to operators only.
#[derive(Debug)]
pub(super) struct Operator;

/// Why a request is not answered as it wants to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejected {
    /// No token, or a wrong one.
    #[error("the token is missing or wrong")]
    Unauthorized,
    /// Too many wrong ones from this address.
    #[error("too many wrong tokens")]
    Slow(u64),
    /// A query parameter that the route does not take.
    #[error("{0}")]
    Query(Failed),
}

impl ResponseError for Rejected {
    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Unauthorized => {
                let problem = Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "unauthorized",
                    "send the admin token as Authorization: Bearer <token>; see admin.token",
                );
                let mut response = problem.response().map_into_boxed_body();
                let bearer = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
                response
            }
            Self::Slow(seconds) => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_wrong_tokens",
                "too many wrong tokens from this address; wait as Retry-After says, then send the one that admin.token names",
            )
            .retry_after(*seconds)
            .response()
            .map_into_boxed_body(),
            Self::Query(failed) => failed.error_response(),
        }
    }
}

/// The token that a request carries; an empty one is none.
fn given(request: &HttpRequest) -> Option<&[u8]> {
    let header = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = header.split_at_checked(7)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    (is_bearer && !token.is_empty()).then_some(token)
}

fn admit(request: &HttpRequest) -> Result<Operator, Rejected> {
    let parts = request.app_data::<web::Data<AdminParts>>();
    let guard = request.app_data::<web::Data<Guard>>();
    let (Some(parts), Some(guard)) = (parts, guard) else {
        return Err(Rejected::Unauthorized);
    };
    let client = request.peer_addr().map(|address| address.ip());
    let now = parts.clock.now();
    guard.admit(client, now).map_err(Rejected::Slow)?;
    let Some(given) = given(request) else {
        return Err(Rejected::Unauthorized);
    };
    if !parts.token.matches(given) {
        guard.wrong(client, now);
        tracing::warn!("a request with a wrong admin token was refused");
        return Err(Rejected::Unauthorized);
    }
    guard.right(client);
    Query::check(request).map_err(Rejected::Query)?;
    Ok(Operator)
}

impl FromRequest for Operator {
    type Error = Rejected;
    type Future = Ready<Result<Self, Rejected>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(admit(request))
    }
}
