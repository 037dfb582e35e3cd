//! One attempt: sign, send, and say how it ended in the classes of contract §6.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::HeaderName;
use url::Url;

use super::payload::{standard_payload, vexora_payload};
use crate::domain::{Event, EventContent, FailureClass, MerchantNo, Outcome, Secret, Timestamp};
use crate::outbound::{BodyEnd, Client, Headers, Post, Response};
use crate::signing::webhook::{WebhookKey, signature_header};

/// Standard Webhooks 1.0: the event, when the attempt was made, and the signatures.
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Somebody ordered it again (contract §6).
const RELAY_REPLAY: HeaderName = HeaderName::from_static("relay-replay");

/// How much of an answer's body is kept (contract §6).
const KEPT_BODY: usize = 4 * 1024;

/// What is sent.
#[derive(Clone, Debug)]
pub enum WireFormat {
    /// Our envelope.
    Standard,
    /// The provider's own callback, signed with the merchant's secret.
    Vexora(Arc<Vec<(MerchantNo, Secret)>>),
}

/// Where attempts go and what they carry.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address.
    pub url: Url,
    /// All of them sign.
    pub keys: Vec<WebhookKey>,
    /// The endpoint's own headers.
    pub headers: Vec<(String, Secret)>,
    /// What is sent.
    pub format: WireFormat,
    /// A 2xx counts only with this body.
    pub expect_body: Option<String>,
    /// For one whole attempt.
    pub timeout: Duration,
}

/// Sends attempts to one endpoint.
#[derive(Clone, Debug)]
pub struct Sender {
    client: Client,
    target: Target,
    /// Those that are the same on every attempt.
    headers: Headers,
}

impl Sender {
    /// Sends to `target` over `client`'s connections.
    #[must_use]
    pub fn new(client: Client, target: Target) -> Self {
        let own = target.headers.iter();
        let headers = own.fold(Headers::json(), |headers, (name, value)| {
            headers.with_own(name, value.expose())
        });
        Self {
            client,
            target,
            headers,
        }
    }

    /// For one whole attempt.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.target.timeout
    }

    /// Makes one attempt; `now` is its `webhook-timestamp`, and a `replay` is marked as one. Returns how it ended and how long it took.
    #[allow(
        clippy::disallowed_methods,
        reason = "measures how long the attempt took"
    )]
    pub async fn send(&self, event: &Event, now: Timestamp, replay: bool) -> (Outcome, Duration) {
        let began = Instant::now();
        let Some(body) = self.body(event, now) else {
            let outcome = Outcome {
                failure: Some(FailureClass::Connect),
                detail: Some(
                    "the event's merchant is not configured, so it cannot be signed".into(),
                ),
                ..Outcome::interrupted()
            };
            return (outcome, Duration::ZERO);
        };
        let mut headers = self.signed(event, now, &body);
        if replay {
            headers = headers.with(&RELAY_REPLAY, "1");
        }
        let post = Post {
            url: &self.target.url,
            headers,
            body,
            timeout: self.target.timeout,
            read_at_most: KEPT_BODY,
        };
        let outcome = match self.client.post(post).await {
            Ok(response) => self.judge(response, now),
            Err(error) => Outcome {
                failure: Some(error.class),
                detail: Some(error.detail),
                ..Outcome::interrupted()
            },
        };
        (outcome, began.elapsed())
    }

    fn body(&self, event: &Event, now: Timestamp) -> Option<Vec<u8>> {
        match (&self.target.format, &event.content) {
            (WireFormat::Vexora(secrets), EventContent::Result(result)) => {
                let (_, secret) = secrets.iter().find(|(no, _)| *no == result.merchant)?;
                Some(vexora_payload(result, secret, now))
            }
            _ => Some(standard_payload(event)),
        }
    }

    fn signed(&self, event: &Event, now: Timestamp, body: &[u8]) -> Headers {
        let headers = self.headers.clone();
        if self.target.keys.is_empty() {
            return headers;
        }
        let (id, stamp) = (event.id.to_string(), now.as_secs());
        let signature = signature_header(&self.target.keys, &id, stamp, body);
        headers
            .with(&WEBHOOK_ID, id)
            .with(&WEBHOOK_TIMESTAMP, stamp)
            .with(&WEBHOOK_SIGNATURE, signature)
    }

    fn judge(&self, response: Response, now: Timestamp) -> Outcome {
        let Response {
            status,
            retry_after: hint,
            body,
            body_end,
        } = response;
        let mut outcome = Outcome {
            failure: None,
            status: Some(status),
            retry_after: None,
            body,
            detail: None,
        };
        if !(200..300).contains(&status) {
            outcome.failure = Some(FailureClass::Status);
            outcome.detail = (300..400)
                .contains(&status)
                .then(|| "redirects are not followed".into());
            if matches!(status, 429 | 503) {
                outcome.retry_after = hint.as_deref().and_then(|hint| retry_after(hint, now));
            }
            return outcome;
        }
        let Some(expected) = &self.target.expect_body else {
            // The head said it all; a body that breaks off takes nothing back.
            return outcome;
        };
        match body_end {
            BodyEnd::Whole if outcome.body == expected.as_bytes() => {}
            BodyEnd::Whole | BodyEnd::Longer => outcome.failure = Some(FailureClass::BodyMismatch),
            BodyEnd::Broken(class) => outcome.failure = Some(class),
        }
        outcome
    }
}

/// Reads `Retry-After` (RFC 9110 §10.2.3): seconds, or a date, which counts from `now`. What is neither is ignored.
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are as good as for ever; the policy clamps it.
        return Some(Duration::from_secs(
            value.parse().unwrap_or(u64::MAX / 1000),
        ));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let at = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let at = Timestamp::from_millis(u64::try_from(at.as_millis()).ok()?);
    Some(at.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let now = Timestamp::from_millis(1_732_988_442_000);
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        // date -u -d @1732988502 '+%a, %d %b %Y %H:%M:%S GMT'
        assert_eq!(
            retry_after("Sat, 30 Nov 2024 17:41:42 GMT", now),
            Some(Duration::from_secs(60))
        );
        assert_eq!(
            retry_after("Sat, 30 Nov 2024 17:40:00 GMT", now),
            Some(Duration::ZERO)
        );
        for nonsense in ["", "-1", "1.5", "soon", "１２０"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense:?}");
        }
        assert!(
            retry_after("99999999999999999999999999", now) > Some(Duration::from_secs(1 << 40))
        );
    }

    proptest! {
        #[test]
        fn no_hint_makes_it_panic(hint in "\\PC*", now: u64) {
            let _any = retry_after(&hint, Timestamp::from_millis(now));
        }
    }
}
