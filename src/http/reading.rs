//! Reads a request's body: so much, by then, and not a byte more.
//!
//! Promise: memory grows with what has come, never with what was announced, and reading ends at the limit or at the
//! deadline, whichever is first.

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;

/// Reads the whole body.
///
/// # Errors
/// It is encoded, too large, empty, late or broken.
pub(super) async fn body(
    req: &HttpRequest,
    payload: &mut Payload,
    max: usize,
    deadline: Instant,
) -> Result<Vec<u8>, Problem> {
    if is_encoded(req) {
        return Err(Problem::unsupported_encoding());
    }
    if announces_more_than(req, max) {
        return Err(Problem::body_too_large());
    }
    let body = timeout_at(deadline, collect(payload, max))
        .await
        .map_err(|_elapsed| Problem::request_timeout())??;
    if body.is_empty() {
        return Err(Problem::empty_body());
    }
    Ok(body)
}

async fn collect(payload: &mut Payload, max: usize) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_broken| Problem::broken_body())?;
        if chunk.len() > max.saturating_sub(body.len()) {
            return Err(Problem::body_too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn is_encoded(req: &HttpRequest) -> bool {
    req.headers()
        .get_all(header::CONTENT_ENCODING)
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

fn announces_more_than(req: &HttpRequest, max: usize) -> bool {
    // The server has already refused what is not one plain number.
    req.headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok())
        .is_some_and(|length| usize::try_from(length).map_or(true, |length| length > max))
}
