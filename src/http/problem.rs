//! The one place that maps errors to HTTP: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! Promise: a problem says what is wrong and what to do about it, and nothing of what was sent or of what is inside.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use bytes::Bytes;

use crate::receive::Refusal;
use crate::store::StoreError;

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
    closes: bool,
}

impl Problem {
    /// A problem with a stable `code`, and a sentence for whoever reads it.
    #[must_use]
    pub const fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self {
            status,
            code,
            detail: Cow::Borrowed(detail),
            retry_after: None,
            allow: None,
            closes: false,
        }
    }

    /// With a sentence that is made for the occasion; it must not repeat what was sent.
    #[must_use]
    pub fn detail(mut self, detail: String) -> Self {
        self.detail = Cow::Owned(detail);
        self
    }

    /// With `Retry-After`, in seconds.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With `Allow`: the methods that would do.
    #[must_use]
    pub const fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// Whatever else is on the connection is not read.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// Its `code`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// Whether the connection is to end with it.
    #[must_use]
    pub const fn closes(&self) -> bool {
        self.closes
    }

    /// The same for any path, merchant or token that is not ours.
    #[must_use]
    pub const fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing here; the callback URL is shown by `vexora-relay callback-url`",
        )
    }

    /// The operators' listener has no such route.
    #[must_use]
    pub const fn no_such_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing here; /api/v1/openapi.json names every route",
        )
    }

    /// Another method.
    #[must_use]
    pub const fn method_not_allowed(methods: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path takes the methods named in Allow",
        )
        .allow(methods)
    }

    /// Too many requests; the next has a chance after so many seconds.
    #[must_use]
    pub const fn rate_limited(seconds: u64) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many requests from this address; see server.rate_limit",
        )
        .retry_after(seconds)
    }

    /// The client is not in `allow_from`.
    #[must_use]
    pub const fn address_not_allowed() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "address_not_allowed",
            "callbacks are not taken from this address; see server.allow_from and server.trusted_proxies",
        )
    }

    /// A body that would have to be inflated.
    #[must_use]
    pub const fn unsupported_encoding() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "the body must come without a Content-Encoding",
        )
    }

    /// More than `max_body`.
    #[must_use]
    pub const fn body_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "the body is larger than server.max_body",
        )
        .closing()
    }

    /// A callback without a body.
    #[must_use]
    pub const fn empty_body() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "empty_body",
            "a callback has a body",
        )
    }

    /// The body broke off or its framing is broken.
    #[must_use]
    pub const fn broken_body() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "broken_body",
            "the body did not come as its headers announced it",
        )
        .closing()
    }

    /// Headers and body were not in by `request_timeout`.
    #[must_use]
    pub const fn request_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "the request was not complete within server.request_timeout",
        )
        .closing()
    }

    /// The answer; the server leaves the body out by itself where the method was `HEAD`.
    #[must_use]
    pub fn response(&self) -> HttpResponse<Bytes> {
        let mut response = HttpResponse::with_body(self.status, self.body());
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        response
    }

    fn body(&self) -> Bytes {
        // With `about:blank`, the title is the status' own (RFC 9457 §4.2.1); `code` is what programs compare.
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        Bytes::from(body.to_string())
    }
}

/// The store sheds load for moments at a time; the provider's own first retry comes after 2 s.
const SOON_SECS: u64 = 2;

/// What an operator or a restart has to mend takes longer.
const LATER_SECS: u64 = 30;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BadSign(_) => Self::new(
                StatusCode::FORBIDDEN,
                "bad_sign",
                "the sign is missing or wrong, and verify.on_bad_sign is \"refuse\"",
            ),
            Refusal::NotDurable(error) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_durable",
                "the callback could not be made durable and was not accepted; send it again",
            )
            .retry_after(match error {
                StoreError::Overloaded | StoreError::Stopping => SOON_SECS,
                StoreError::DiskLow { .. }
                | StoreError::Write(_)
                | StoreError::Read(_)
                | StoreError::Cursor
                | StoreError::Damaged { .. } => LATER_SECS,
            }),
        }
    }
}
