//! One callback on its way: when it is tried, and what each try came to.
//!
//! Promise: the published schedule (2 s, 5 s, 10 s, 30 s, 1 h, 3 h, 3 h, 3 h after the try before), and only HTTP 200
//! with the two bytes `OK` ends it early. A function of values; nothing in here sends or waits.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::world::Key;
use crate::domain::{Timestamp, Verdict};

/// The waits before the second and each further try, from the provider's sister pages.
pub const SCHEDULE: [Duration; 8] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(3600),
    Duration::from_secs(3 * 3600),
    Duration::from_secs(3 * 3600),
    Duration::from_secs(3 * 3600),
];

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallbackAttempt {
    /// When it began; in JSON as milliseconds.
    #[serde(serialize_with = "millis")]
    pub at: Timestamp,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// The first 4 KiB of the answer's body.
    pub body: String,
    /// Why there was no whole answer: `timeout`, `connect` or `broken`.
    pub error: Option<&'static str>,
    /// Whether it counted: HTTP 200 and exactly `OK`.
    pub confirmed: bool,
}

/// Where a callback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum CallbackState {
    /// To be tried at `due`.
    Waiting {
        /// When; in JSON as milliseconds.
        #[serde(serialize_with = "millis")]
        due: Timestamp,
    },
    /// A try is out.
    Sending,
    /// Answered as it must be.
    Confirmed,
    /// Every try failed.
    GivenUp,
    /// Not sent, because it was ordered so or nobody said where to.
    Withheld,
}

#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub key: Key,
    pub url: String,
    pub verdict: Verdict,
    /// The timestamp in its body, unless it is stamped anew each time.
    pub made: Timestamp,
    pub state: CallbackState,
    /// A callback sent by hand is tried once.
    pub retried: bool,
    pub attempts: Vec<CallbackAttempt>,
}

impl Notice {
    /// Takes in what a try came to, at `now`. Returns when to try again.
    pub(super) fn tried(
        &mut self,
        attempt: CallbackAttempt,
        now: Timestamp,
        scale: f64,
    ) -> Option<Timestamp> {
        let confirmed = attempt.confirmed;
        self.attempts.push(attempt);
        let wait = SCHEDULE.get(self.attempts.len().saturating_sub(1));
        self.state = match wait {
            _ if confirmed => CallbackState::Confirmed,
            Some(wait) if self.retried => CallbackState::Waiting {
                due: now.plus(scaled(*wait, scale)),
            },
            _ => CallbackState::GivenUp,
        };
        match self.state {
            CallbackState::Waiting { due } => Some(due),
            _ => None,
        }
    }
}

/// A time as it passes here. A product that no duration holds counts as never.
pub(super) fn scaled(time: Duration, scale: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * scale).unwrap_or(Duration::MAX)
}

pub(super) fn millis<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(at.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_schedule_is_ten_hours_and_47_seconds() {
        // The provider is told to have given up 10 h after the fifth try; 47 s of it are the first four waits.
        let sum: Duration = SCHEDULE.iter().sum();
        assert_eq!(sum, Duration::from_secs(10 * 3600 + 47));
    }

    #[test]
    fn a_scale_beyond_all_time_neither_panics_nor_wraps() {
        assert_eq!(scaled(Duration::from_secs(1), f64::MAX), Duration::MAX);
        assert_eq!(scaled(Duration::from_secs(1), f64::NAN), Duration::MAX);
        assert_eq!(
            scaled(Duration::from_secs(2), 0.01),
            Duration::from_millis(20)
        );
    }
}
