//! One user of one merchant, as the simulated provider knows it: what was applied for, what the status is and was.
//!
//! Promise: a function of values and instants. What the status is at an instant does not depend on when somebody
//! looks. It knows nothing of callbacks.

use std::time::Duration;

use serde::Serialize;

use super::faults::Faults;
use super::notice::millis;
use crate::domain::{Status, Timestamp, Verdict};

/// One accepted application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Application {
    /// When it was accepted; in JSON as milliseconds.
    #[serde(serialize_with = "millis")]
    pub at: Timestamp,
    /// Where its result goes.
    #[serde(rename = "callBackUrl")]
    pub callback_url: String,
    /// The name in katakana, as it came.
    #[serde(rename = "usernameFurigana")]
    pub username_furigana: String,
}

/// A status from an instant on.
#[derive(Clone, Debug)]
struct Standing {
    from: Timestamp,
    verdict: Verdict,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// In order of time; entries of a running review lie in the future.
    standings: Vec<Standing>,
    pub applications: Vec<Application>,
    /// When the running review ends.
    pub review: Option<Timestamp>,
    /// What reviews come to, if somebody said so.
    pub ordered: Option<Verdict>,
    pub callback_url: Option<String>,
    pub faults: Option<Faults>,
    pub queries: u64,
}

impl Account {
    /// The status at `now`, whatever the query shows; `None`: never applied and never set.
    pub(super) fn truth(&self, now: Timestamp) -> Option<&Verdict> {
        self.visible(now, Duration::ZERO)
    }

    /// What the query shows at `now` when results come through `lag` late.
    pub(super) fn visible(&self, now: Timestamp, lag: Duration) -> Option<&Verdict> {
        self.standings
            .iter()
            .rev()
            .find(|standing| {
                let waiting = standing.verdict.status().is_waiting();
                let lag = if waiting { Duration::ZERO } else { lag };
                standing.from.plus(lag) <= now
            })
            .map(|standing| &standing.verdict)
    }

    /// Sets the status from `now` on; a running review is over.
    pub(super) fn set(&mut self, now: Timestamp, verdict: Verdict) {
        self.review = None;
        self.standings.retain(|standing| standing.from <= now);
        self.standings.push(Standing { from: now, verdict });
    }

    /// Begins a review that takes `time`: pending for the first half of it, then under review.
    pub(super) fn begin_review(&mut self, now: Timestamp, time: Duration) -> Timestamp {
        self.set(now, Verdict::new(Status::Pending, None));
        let ends = now.plus(time);
        self.standings.push(Standing {
            from: now.plus(time / 2),
            verdict: Verdict::new(Status::UnderReview, None),
        });
        self.review = Some(ends);
        ends
    }

    /// What the next review comes to: as ordered, or by what the user is called.
    pub(super) fn decision(&self, user: &str) -> Verdict {
        let rejected_before = self
            .standings
            .iter()
            .any(|standing| *standing.verdict.status() == Status::Rejected);
        match &self.ordered {
            Some(verdict) => verdict.clone(),
            None if user.contains("reject-once") && rejected_before => {
                Verdict::new(Status::Approved, None)
            }
            None if user.contains("reject") => Verdict::new(
                Status::Rejected,
                Some("the document could not be read (simulated)".to_owned()),
            ),
            None => Verdict::new(Status::Approved, None),
        }
    }
}

/// Whether a user's results are never called back, by what the user is called.
pub(super) fn is_silent(user: &str) -> bool {
    user.contains("silent")
}
