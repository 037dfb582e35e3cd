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
pub(super) struct RequestId {
    value: HeaderValue,
    is_given: bool,
}

impl RequestId {
    /// The client's own, if it sent one that can be used; else one made of `bits`.
    pub(super) fn of(req: &HttpRequest, bits: impl FnOnce() -> u128) -> Self {
        let mut given = req.headers().get_all(X_REQUEST_ID);
        match (given.next(), given.next()) {
            (Some(one), None) if is_usable(one) => Self {
                value: one.clone(),
                is_given: true,
            },
            _ => Self::made(bits()),
        }
    }

    fn made(bits: u128) -> Self {
        let text = hex::encode(bits.to_be_bytes());
        // Digits are always a header's value.
        let value = HeaderValue::try_from(text);
        Self {
            value: value.unwrap_or_else(|_never| HeaderValue::from_static("0")),
            is_given: false,
        }
    }

    /// As it stands in the log.
    pub(super) fn as_str(&self) -> &str {
        self.value.to_str().unwrap_or_default()
    }

    /// As it stands in the answer.
    pub(super) fn header(&self) -> HeaderValue {
        self.value.clone()
    }

    /// Whether the client chose it.
    pub(super) const fn is_given(&self) -> bool {
        self.is_given
    }
}

fn is_usable(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}
