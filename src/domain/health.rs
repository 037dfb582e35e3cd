//! How an endpoint is: up, down, or paused. Kept in the store, so that a restart forgets nothing.

use super::{Breaker, BreakerChange, BreakerRule, Timestamp};

/// Why nothing is sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PauseReason {
    /// An operator paused it.
    Operator,
    /// It answered 410 Gone: the receiver says that nothing will ever be taken there (Standard Webhooks 1.0).
    Gone,
}

impl PauseReason {
    /// `operator` or `gone`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Gone => "gone",
        }
    }
}

/// An endpoint is paused: its deliveries are held until an operator resumes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: PauseReason,
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Five failures in a row and it is down; deliveries are then held, and one probe at a time goes out.
    pub breaker: Breaker,
    /// Held by decision.
    pub paused: Option<Pause>,
}

/// What an attempt changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// Nothing to tell.
    None,
    /// It is down, or gone.
    Down {
        /// Since when.
        since: Timestamp,
    },
    /// It is up again.
    Up {
        /// Since when it had been down.
        since: Timestamp,
    },
}

/// The status by which a receiver says that it is gone.
pub(super) const GONE: u16 = 410;

impl Health {
    /// Takes in how one attempt went.
    #[must_use]
    pub fn observe(
        self,
        failed: bool,
        status: Option<u16>,
        now: Timestamp,
    ) -> (Self, HealthChange) {
        let (breaker, change) = self.breaker.observe(failed, now, &BreakerRule::ENDPOINT);
        if status == Some(GONE) && self.paused.is_none() {
            let paused = Some(Pause {
                at: now,
                reason: PauseReason::Gone,
            });
            return (Self { breaker, paused }, HealthChange::Down { since: now });
        }
        let change = match change {
            BreakerChange::None => HealthChange::None,
            BreakerChange::Opened { since } => HealthChange::Down { since },
            BreakerChange::Closed { since } => HealthChange::Up { since },
        };
        (Self { breaker, ..self }, change)
    }

    /// Whether deliveries are held: what fails now does not use up its schedule.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.paused.is_some() || self.breaker.is_open()
    }

    /// Held from now on.
    #[must_use]
    pub const fn paused(self, at: Timestamp, reason: PauseReason) -> Self {
        Self {
            paused: Some(Pause { at, reason }),
            ..self
        }
    }

    /// Up again, whatever it was: the next attempts will tell.
    #[must_use]
    pub const fn resumed(self) -> Self {
        Self {
            breaker: Breaker::Fine,
            paused: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn an_endpoint_that_is_gone_is_paused_and_stays_so() {
        let (health, change) = Health::default().observe(true, Some(410), at(1));
        assert_eq!(change, HealthChange::Down { since: at(1) });
        let (health, change) = health.observe(true, Some(410), at(2));
        assert_eq!(change, HealthChange::None, "told once");
        assert!(health.holds());
        assert!(
            health.observe(false, Some(200), at(3)).0.holds(),
            "only an operator resumes it"
        );
        assert!(!health.resumed().holds());
    }

    #[test]
    fn five_failures_in_a_row_hold_it_and_a_success_ends_that() {
        let mut health = Health::default();
        let mut told = Vec::new();
        for (secs, failed) in [true, true, false, true, true, true, true, true, false]
            .into_iter()
            .enumerate()
        {
            let (next, change) = health.observe(failed, None, at(secs as u64));
            health = next;
            if change != HealthChange::None {
                told.push((secs, health.holds()));
            }
        }
        assert_eq!(told, [(7, true), (8, false)]);
    }
}
