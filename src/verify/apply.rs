//! Applications: `POST /v1/vexora/kycApplyFor` (the provider's page *KYC Authentication 2.0*), and what is kept of them.
//!
//! Promises: nothing is sent before the store knows of it; an application whose fate is not known is settled by a
//! query and never by applying twice; the name goes to the provider and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use url::Url;

use super::answer::read_data;
use super::query::MERCHANT_NO;
use crate::clock::{Clock, Entropy};
use crate::domain::{
    Application, Batch, FailureClass, Furigana, MerchantNo, QueryFailure, Secret, Timestamp,
    UserId, VerifyPolicy,
};
use crate::outbound::{BodyEnd, Client, Headers, Post};
use crate::signing::vexora;
use crate::store::{Store, StoreError};

/// The most that is read of an answer.
const MAX_ANSWER: usize = 64 * 1024;

/// When an application of unknown fate is first asked about: the provider has had time to store it by then.
const UNKNOWN_AFTER: Duration = Duration::from_secs(30);

/// How the provider took an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It has it.
    Accepted,
    /// It declined, with its code.
    Declined(String),
    /// It never got it: no connection was made. Can be sent again at once.
    NotSent(FailureClass),
    /// Sent, and what became of it is not known. A query will tell. With what there was instead of a clear answer.
    Unknown(String),
    /// One for this user was sent before and its result is out, or it was of the same batch; nothing was sent now.
    Already(Application),
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The merchant is not configured.
    #[error("no such merchant is configured")]
    NoMerchant,
    /// The provider needs an address for the result, and the relay does not know its own.
    #[error("server.public_url is not set, so there is no callBackUrl to give to the provider")]
    NoPublicUrl,
    /// The store could not keep it.
    #[error("the application could not be stored, so it was not sent")]
    Store(#[from] StoreError),
}

/// A merchant as far as applying goes.
#[derive(Clone, Debug)]
pub struct ApplicantMerchant {
    /// Its number.
    pub merchant: MerchantNo,
    /// Signs.
    pub secret: Secret,
    /// Where its provider is, without a trailing slash.
    pub base_url: String,
    /// Where its results are to be sent: ours. `None` while `server.public_url` is not set.
    pub callback_url: Option<String>,
}

/// Sends applications.
#[derive(Clone, Debug)]
pub struct Applicant {
    client: Client,
    timeout: Duration,
}

impl Applicant {
    /// Sends over `client`; a whole exchange may take `timeout`.
    #[must_use]
    pub const fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// The same, with another limit for what is sent from now on.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            client: self.client.clone(),
            timeout,
        }
    }

    /// Sends one application to `callback_url`'s account, once.
    pub async fn send(
        &self,
        merchant: &ApplicantMerchant,
        callback_url: &str,
        user: &UserId,
        name: &Furigana,
        now: Timestamp,
        boundary: u128,
    ) -> Applied {
        let timestamp = now.as_millis().to_string();
        let mut fields = vec![
            ("timestamp", timestamp.as_str()),
            ("userId", user.as_str()),
            ("callBackUrl", callback_url),
            ("usernameFurigana", name.expose()),
        ];
        let sign = vexora::sign(fields.iter().copied(), &merchant.secret);
        fields.push(("sign", &sign));
        let boundary = format!("vexora-relay-{boundary:032x}");
        let Ok(url) = Url::parse(&format!("{}/v1/vexora/kycApplyFor", merchant.base_url)) else {
            return Applied::NotSent(FailureClass::Connect);
        };
        let post = Post {
            url: &url,
            headers: Headers::of_kind(format!("multipart/form-data; boundary={boundary}"))
                .accepting_json()
                .with(&MERCHANT_NO, merchant.merchant.as_str()),
            body: form(&fields, &boundary),
            timeout: self.timeout,
            read_at_most: MAX_ANSWER,
        };
        match self.client.post(post).await {
            // No connection, no application; anything later may have arrived.
            Err(error) if is_before_sending(error.class) => Applied::NotSent(error.class),
            Err(error) => Applied::Unknown(format!("no answer ({})", error.class.as_str())),
            Ok(answer) if answer.status != 200 => {
                Applied::Unknown(format!("HTTP status {}", answer.status))
            }
            Ok(answer) if answer.body_end != BodyEnd::Whole => {
                Applied::Unknown("an answer that broke off".to_owned())
            }
            Ok(answer) => match read_data(&answer.body) {
                Ok(_) => Applied::Accepted,
                Err(QueryFailure::Refused(code)) => Applied::Declined(code),
                Err(failure) => Applied::Unknown(failure.to_string()),
            },
        }
    }
}

const fn is_before_sending(class: FailureClass) -> bool {
    matches!(
        class,
        FailureClass::Connect | FailureClass::Dns | FailureClass::Tls
    )
}

/// A multipart form (RFC 7578). Values hold no control characters, and the boundary is random.
fn form(fields: &[(&str, &str)], boundary: &str) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields {
        body.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str(&format!("--{boundary}--\r\n"));
    body.into_bytes()
}

/// Applies for users and has them watched.
pub struct Applications {
    /// What is sent goes through it; may change while the relay runs.
    pub applicant: ArcSwap<Applicant>,
    /// All merchants; may change while the relay runs.
    pub merchants: Arc<ArcSwap<Vec<ApplicantMerchant>>>,
    /// How often the waiting are asked about.
    pub policy: Arc<ArcSwap<VerifyPolicy>>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

impl Applications {
    /// Applies for one user: kept, sent, and watched until the result is final. Of one batch once, even after the
    /// result, unless it was declined or not sent.
    ///
    /// # Errors
    /// Nothing was sent.
    pub async fn apply(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        name: &Furigana,
        batch: Option<&Batch>,
    ) -> Result<Applied, ApplyError> {
        let merchants = self.merchants.load_full();
        let merchant = merchants
            .iter()
            .find(|known| known.merchant == *merchant)
            .ok_or(ApplyError::NoMerchant)?;
        let callback_url = merchant
            .callback_url
            .as_deref()
            .ok_or(ApplyError::NoPublicUrl)?;
        let now = self.clock.now();
        let number = &merchant.merchant;
        let due = now.plus(UNKNOWN_AFTER);
        let begun = self
            .store
            .begin_application(number, user, batch, now, due)
            .await?;
        if let Some(out) = begun {
            return Ok(Applied::Already(out));
        }
        let boundary = self.entropy.bits();
        let applicant = self.applicant.load_full();
        let applied = applicant
            .send(merchant, callback_url, user, name, now, boundary)
            .await;
        tracing::debug!(merchant = %number, user = %user, "application of this user");
        tracing::info!(merchant = %number, outcome = applied.as_str(), cause = applied.cause(), "application sent");
        match &applied {
            Applied::Accepted => {
                self.store
                    .finish_application(number, user, true, self.first_look())
                    .await?;
            }
            Applied::Declined(_) | Applied::NotSent(_) => {
                self.store
                    .finish_application(number, user, false, None)
                    .await?;
            }
            Applied::Unknown(_) | Applied::Already(_) => {}
        }
        Ok(applied)
    }

    /// When an accepted user is first asked about unprompted: half to one and a half intervals from now, so that
    /// those who applied together are not asked about together.
    fn first_look(&self) -> Option<Timestamp> {
        let wait = self.policy.load().reconcile_wait(Duration::ZERO)?;
        Some(
            self.clock
                .now()
                .plus(wait.mul_f64(1.0 + self.entropy.draw() / 2.0)),
        )
    }

    /// Has users watched who applied by other ways. Asked about spread evenly over the next interval. Returns how
    /// many were not watched before.
    ///
    /// # Errors
    /// The store failed; those before it are watched.
    pub async fn watch(
        &self,
        merchant: &MerchantNo,
        users: &[UserId],
    ) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let interval = self
            .policy
            .load()
            .reconcile_wait(Duration::ZERO)
            .unwrap_or_default();
        let mut fresh = 0;
        for (index, user) in users.iter().enumerate() {
            let share = f64::from(u32::try_from(index).unwrap_or(u32::MAX))
                / f64::from(u32::try_from(users.len()).unwrap_or(u32::MAX));
            let due = now.plus(interval.mul_f64(share));
            fresh += usize::from(self.store.watch(merchant, user, now, due).await?);
        }
        Ok(fresh)
    }
}

impl Applied {
    /// Why its fate is unknown, if it is.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Unknown(cause) => Some(cause),
            _ => None,
        }
    }

    /// A stable word for it: `accepted`, `declined`, `not_sent`, `unknown`, `already`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Declined(_) => "declined",
            Self::NotSent(_) => "not_sent",
            Self::Unknown(_) => "unknown",
            Self::Already(_) => "already",
        }
    }
}
