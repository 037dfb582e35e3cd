//! Sends an answer so that the connection ends as it should.
//!
//! Promise: a body that was not read to its end is not read on after the answer. The server drains the rest of a
//! chunked body, without limit of size or time, once nobody holds the request's payload any more; so the answer
//! holds it until it has been sent, and the connection is closed instead.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::ConnectionType;
use bytes::Bytes;

/// An answer's body that keeps the request's body from being drained.
pub(super) struct Holding {
    body: Bytes,
    _unread: Payload,
}

impl MessageBody for Holding {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let body = std::mem::take(&mut self.body);
        Poll::Ready((!body.is_empty()).then_some(Ok(body)))
    }
}

/// The answer to a request whose body is `unread`, as far as it is. `keep`: the connection may carry another.
pub(super) fn reply(
    mut response: HttpResponse<Bytes>,
    unread: Payload,
    keep: bool,
) -> HttpResponse<Holding> {
    if !keep {
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    response.map_body(|_, body| Holding {
        body,
        _unread: unread,
    })
}
