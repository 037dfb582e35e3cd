//! An application of ours while its result is out: how it stands, and what has been heard of it.

use std::str::FromStr;
use std::time::Duration;

use super::{InvalidId, Status, Timestamp, Verdict};

/// What an application belongs to, in the words of whoever applies: the same file, run again, is the same batch. It
/// applies once for each user, even after results are out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch(String);

impl Batch {
    /// The key as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Batch {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits =
            (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId(
                "a batch is 1 to 64 visible ASCII characters, without spaces",
            ))
        }
    }
}

/// How an application of ours stands while its result is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplicationState {
    /// It was sent, and what became of it is not known: a query will tell. Never sent again meanwhile.
    Unknown,
    /// The provider has it.
    Accepted,
}

/// What has been heard of an application since it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// A query said 0 or 1.
    pub waiting: bool,
    /// A trusted callback claimed 2.
    pub approved: bool,
    /// A trusted callback claimed 3.
    pub rejected: bool,
}

/// How long after an application the query may still show the verdict of the round before. The provider does not say;
/// its own first retries end after 47 s, and its next one comes after an hour: whatever lags longer is an outage.
pub(super) const OLD_SHOWS_FOR: Duration = Duration::from_secs(3600);

/// An application of ours whose result is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application {
    /// When it was sent.
    pub at: Timestamp,
    /// How it stands.
    pub state: ApplicationState,
    /// What has been heard of it.
    pub heard: Heard,
}

impl Application {
    /// Whether something says that a verdict with this status is this application's own.
    pub(super) const fn is_borne_out(&self, status: &Status) -> bool {
        self.heard.waiting
            || match status {
                Status::Approved => self.heard.approved,
                Status::Rejected => self.heard.rejected,
                Status::Pending | Status::UnderReview | Status::Unknown(_) => false,
            }
    }

    /// Takes in what a query said of the user.
    pub(super) fn queried(self, verdict: &Verdict) -> Option<Self> {
        let status = verdict.status();
        if status.is_final() {
            return None;
        }
        if !status.is_waiting() {
            return Some(self);
        }
        let heard = Heard {
            waiting: true,
            ..self.heard
        };
        // Under review, so it arrived, whatever became of the answer to it.
        Some(Self {
            state: ApplicationState::Accepted,
            heard,
            ..self
        })
    }
}
