//! One id for one request: taken from `X-Request-Id` or made, in the answer, and in the log lines of that request.
//!
//! Promise: what a client sends here is repeated only if it is short and visible ASCII, so that it can neither break a
//! line of the log nor a header; everything else is as if nothing had been sent.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};

/// The header, both ways.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Twice a UUID, or a trace id with what belongs to it, with room to spare.
const LONGEST: usize = 128;

/// The id of a request.
#[derive(Clone, Debug)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's own, if it sent one that can be used; else one made of `bits`.
    pub(super) fn of(req: &HttpRequest, bits: impl FnOnce() -> u128) -> Self {
        let mut given = req.headers().get_all(X_REQUEST_ID);
        match (given.next(), given.next()) {
            (Some(one), None) if is_usable(one) => Self(one.clone()),
            _ => Self::made(bits()),
        }
    }

    fn made(bits: u128) -> Self {
        let text = format!("{bits:032x}");
        // Digits are always a header's value.
        Self(HeaderValue::try_from(text).unwrap_or_else(|_never| HeaderValue::from_static("0")))
    }

    /// As it stands in the log.
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// As it stands in the answer.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_usable(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}
