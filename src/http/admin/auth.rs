//! The bearer token (RFC 6750 §2.1), compared in constant time.

use std::future::{Ready, ready};

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, dev, web};

use super::AdminParts;
use crate::http::problem::Problem;

/// Proof that the request carried the token: a handler that takes one answers to operators only.
#[derive(Debug)]
pub(super) struct Operator;

/// The token is missing or wrong.
#[derive(Debug, thiserror::Error)]
#[error("the token is missing or wrong")]
pub(super) struct Unauthorized;

impl ResponseError for Unauthorized {
    fn status_code(&self) -> StatusCode {
        StatusCode::UNAUTHORIZED
    }

    fn error_response(&self) -> HttpResponse {
        let problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "send the admin token as Authorization: Bearer <token>; see admin.token",
        );
        let mut response = problem.response().map_into_boxed_body();
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    }
}

impl FromRequest for Operator {
    type Error = Unauthorized;
    type Future = Ready<Result<Self, Unauthorized>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let given = request
            .headers()
            .get(AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let given = given.and_then(|value| {
            let (scheme, token) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        let parts = request.app_data::<web::Data<AdminParts>>();
        let is_right = match (given, parts) {
            (Some(given), Some(parts)) => parts.token.matches(given),
            _ => false,
        };
        ready(if is_right {
            Ok(Self)
        } else {
            Err(Unauthorized)
        })
    }
}
