//! Until when what is written and not synced is to be synced.
//!
//! Promise: within [`UNSYNCED`], whatever comes or does not come; or, on a disk that fails, as soon as it does not.

#![allow(
    clippy::disallowed_methods,
    reason = "a bound for the disk's sake, not a schedule that a test runs through"
)]

use std::time::{Duration, Instant};

/// How long what is written may be without a sync. Long enough that under load something else is synced meanwhile and
/// takes it along; where nothing is, ten syncs a second at most.
pub(super) const UNSYNCED: Duration = Duration::from_millis(100);

/// How soon a sync that failed, and for which nobody waits, is tried again; doubles each time it is in vain. Each leaves
/// an empty journal file behind where the disk takes no more than that.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest that this grows to.
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// The deadline, if anything is not synced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsynced {
    due: Option<Instant>,
    again: Duration,
}

impl Default for Unsynced {
    fn default() -> Self {
        Self {
            due: None,
            again: AGAIN,
        }
    }
}

impl Unsynced {
    /// When the next sync is due.
    pub(super) const fn due(self) -> Option<Instant> {
        self.due
    }

    /// Whether it is due already.
    pub(super) fn is_overdue(self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// After a group: whether anything is without a sync now. The oldest counts.
    pub(super) fn noted(self, is_any: bool) -> Self {
        if !is_any {
            return Self::default();
        }
        let due = self.due.unwrap_or_else(|| Instant::now() + UNSYNCED);
        Self {
            due: Some(due),
            ..self
        }
    }

    /// After a sync that failed.
    pub(super) fn failed(self) -> Self {
        Self {
            due: Some(Instant::now() + self.again),
            again: AGAIN_AT_MOST.min(self.again * 2),
        }
    }
}
