//! What the sandbox tells of itself: the shapes behind `GET /control/…` and the tests' look inside.
//!
//! Promise: plain values, no secret among them. They are snapshots and change nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::account::{Account, Application};
use super::faults::Faults;
use super::notice::{CallbackAttempt, CallbackState, Notice};
use super::world::Key;
use crate::domain::Timestamp;

/// A callback and all its tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallbackReport {
    /// Where it goes.
    pub url: String,
    /// Where it stands.
    #[serde(flatten)]
    pub state: CallbackState,
    /// Whether it follows the schedule; one sent by hand is tried once.
    pub retried: bool,
    /// Each try, oldest first.
    pub attempts: Vec<CallbackAttempt>,
}

impl CallbackReport {
    pub(super) fn of(notice: &Notice) -> Self {
        Self {
            url: notice.url.clone(),
            state: notice.state,
            retried: notice.retried,
            attempts: notice.attempts.clone(),
        }
    }
}

/// One user, as the provider knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserReport {
    /// The merchant's number.
    #[serde(rename = "merchantNo")]
    pub merchant_no: String,
    /// The merchant's id of the user.
    #[serde(rename = "userId")]
    pub user_id: String,
    /// The true status; what the query shows may lag behind. `None`: never applied and never set.
    pub status: Option<String>,
    /// Why, when rejected.
    #[serde(rename = "failReason")]
    pub fail_reason: Option<String>,
    /// Whether a review is running.
    pub reviewing: bool,
    /// Where results go.
    #[serde(rename = "callBackUrl")]
    pub callback_url: Option<String>,
    /// What was applied for, oldest first.
    pub applications: Vec<Application>,
    /// The newest hundred callbacks, oldest first.
    pub callbacks: Vec<CallbackReport>,
    /// How many well-signed status queries came.
    pub queries: u64,
    /// This user's own faults, if any.
    pub faults: Option<Faults>,
}

impl UserReport {
    pub(super) fn of(
        key: &Key,
        account: &Account,
        callbacks: Vec<CallbackReport>,
        now: Timestamp,
    ) -> Self {
        let truth = account.truth(now);
        Self {
            merchant_no: key.0.to_string(),
            user_id: key.1.to_string(),
            status: truth.map(|verdict| verdict.status().code().to_owned()),
            fail_reason: truth.and_then(|verdict| verdict.reason().map(str::to_owned)),
            reviewing: account.review.is_some(),
            callback_url: account.callback_url.clone(),
            applications: account.applications.clone(),
            callbacks,
            queries: account.queries,
            faults: account.faults.clone(),
        }
    }
}

/// How many requests came and went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Status queries, by the `code` of their answer.
    pub query: BTreeMap<&'static str, u64>,
    /// Applications, by the `code` of their answer.
    pub apply: BTreeMap<&'static str, u64>,
    /// Tries of callbacks that were answered as they must be.
    pub callbacks_confirmed: u64,
    /// Tries of callbacks that were not.
    pub callbacks_failed: u64,
}

impl Requests {
    pub(super) const fn count_attempt(&mut self, confirmed: bool) {
        if confirmed {
            self.callbacks_confirmed += 1;
        } else {
            self.callbacks_failed += 1;
        }
    }
}
