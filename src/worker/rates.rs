//! What goes out in a time, counted by whoever lets it out: the loop when it claims, and who hands in what comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{Pace, Timestamp};

/// The limits of rate that a stage keeps to, all of them; some may be shared with others. None: off.
#[derive(Debug, Default)]
pub struct Rates(Vec<Arc<Mutex<Pace>>>);

impl Rates {
    /// All of these.
    #[must_use]
    pub fn of(paces: impl IntoIterator<Item = Arc<Mutex<Pace>>>) -> Self {
        Self(paces.into_iter().collect())
    }

    /// Whether nothing is limited.
    #[must_use]
    pub const fn are_off(&self) -> bool {
        self.0.is_empty()
    }

    fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Pace>> {
        let paces = self.0.iter();
        paces.map(|pace| pace.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many of `wanted` may go now.
    #[must_use]
    pub fn allow(&self, wanted: usize, now: Timestamp) -> usize {
        let allowed = self.each().map(|pace| pace.available(now));
        allowed.fold(wanted, usize::min)
    }

    /// So many go.
    pub fn take(&self, number: usize, now: Timestamp) {
        self.each()
            .for_each(|mut pace| *pace = pace.taken(number, now));
    }

    /// So many of those that were taken did not go.
    pub fn give_back(&self, number: usize) {
        self.each()
            .for_each(|mut pace| *pace = pace.given_back(number));
    }

    /// Until when none may go; `None`: one may go now.
    #[must_use]
    pub fn rest_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.each().filter_map(|pace| pace.rests_until(now)).max()
    }
}
