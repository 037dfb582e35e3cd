//! The signed status query: `POST /v1/vexora/kycStatusQuery` (the provider's page *Check KYC Status*).

use std::time::{Duration, Instant};

use reqwest::header::HeaderName;
use serde::Serialize;
use url::Url;

use super::answer::read_answer;
use crate::domain::{Answer, FailureClass, MerchantNo, QueryFailure, Secret, Timestamp, UserId};
use crate::outbound::{BodyEnd, Client, Headers, Post};
use crate::signing::vexora;

/// Who asks.
pub(super) const MERCHANT_NO: HeaderName = HeaderName::from_static("merchantno");

/// The most that is read of an answer: a published one has 200 bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Asks about users at one address.
#[derive(Clone, Debug)]
pub struct QueryClient {
    client: Client,
    base_url: String,
    /// Read once; `None` if the address is none, so that nobody can be asked there.
    url: Option<Url>,
    timeout: Duration,
}

/// A query's answer, and how long it took.
#[derive(Clone, Debug)]
pub struct Queried {
    /// What was said, or why nothing was.
    pub answer: Answer,
    /// From sending to the last byte.
    pub took: Duration,
}

#[derive(Serialize)]
struct Body<'a> {
    sign: &'a str,
    timestamp: &'a str,
    #[serde(rename = "userId")]
    user_id: &'a str,
}

impl QueryClient {
    /// Asks at `base_url` (without a trailing slash); a whole query may take `timeout`.
    #[must_use]
    pub fn new(client: Client, base_url: String, timeout: Duration) -> Self {
        let url = Url::parse(&format!("{base_url}/v1/vexora/kycStatusQuery"));
        Self {
            client,
            base_url,
            url: url.ok(),
            timeout,
        }
    }

    /// Where it asks.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.base_url
    }

    /// For one whole query.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks once. Never fails: why there is no verdict is an answer too.
    #[allow(
        clippy::disallowed_methods,
        reason = "measures how long the query took"
    )]
    pub async fn query(
        &self,
        merchant: &MerchantNo,
        secret: &Secret,
        user: &UserId,
        now: Timestamp,
    ) -> Queried {
        let began = Instant::now();
        let answer = match self.ask(merchant, secret, user, now).await {
            Ok(verdict) => verdict,
            Err(failure) => Answer::Failed(failure),
        };
        Queried {
            answer,
            took: began.elapsed(),
        }
    }

    async fn ask(
        &self,
        merchant: &MerchantNo,
        secret: &Secret,
        user: &UserId,
        now: Timestamp,
    ) -> Result<Answer, QueryFailure> {
        let timestamp = now.as_millis().to_string();
        let signed = [("timestamp", timestamp.as_str()), ("userId", user.as_str())];
        let sign = vexora::sign(signed, secret);
        let body = Body {
            sign: &sign,
            timestamp: &timestamp,
            user_id: user.as_str(),
        };
        let body = serde_json::to_vec(&body).map_err(|_never| QueryFailure::Unreadable)?;
        let post = Post {
            url: self.url.as_ref().ok_or(QueryFailure::Connect)?,
            headers: Headers::json()
                .accepting_json()
                .with(&MERCHANT_NO, merchant.as_str()),
            body,
            timeout: self.timeout,
            read_at_most: MAX_ANSWER,
        };
        let response = self
            .client
            .post(post)
            .await
            .map_err(|error| broken(error.class))?;
        if response.status != 200 {
            return Err(QueryFailure::Http(response.status));
        }
        match response.body_end {
            BodyEnd::Whole => read_answer(&response.body),
            BodyEnd::Longer => Err(QueryFailure::NotJson),
            BodyEnd::Broken(class) => Err(broken(class)),
        }
    }
}

const fn broken(class: FailureClass) -> QueryFailure {
    match class {
        FailureClass::Timeout => QueryFailure::Timeout,
        _ => QueryFailure::Connect,
    }
}
