//! How an endpoint is: up, down, or paused. Kept in the store, so that a restart forgets nothing.

use std::time::Duration;

use super::{Breaker, BreakerChange, BreakerRule, Outcome, Timestamp};

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

/// An operator resumed it, and it has heard nothing since: one delivery at a time goes out until it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Since when it had been down or gone, if that was told: the first that it hears takes it back.
    pub down_since: Option<Timestamp>,
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Five failures in a row and it is down; deliveries are then held, and one probe at a time goes out.
    pub breaker: Breaker,
    /// Held by decision.
    pub paused: Option<Pause>,
    /// No longer held, by decision.
    pub resumed: Option<Resumed>,
    /// It asked for time by `Retry-After`: until then nothing goes out, no probe either.
    pub not_before: Option<Timestamp>,
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
    /// It heard for the first time since an operator resumed it, and nobody had been told that it was down.
    Resumed,
}

/// The status by which a receiver says that it is gone.
pub(super) const GONE: u16 = 410;

impl Health {
    /// As long as the longest pause between probes: one `Retry-After` may park the delivery that met it for a day,
    /// but not everybody else's.
    pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

    /// Takes in how one attempt went. What was out when it was paused says nothing of how it will be.
    #[must_use]
    pub fn observe(self, outcome: &Outcome, now: Timestamp) -> (Self, HealthChange) {
        let failed = outcome.failure.is_some();
        let asked = outcome.retry_after.filter(|_| failed);
        let asked = asked.map(|wait| now.plus(wait.min(Self::LONGEST_PAUSE)));
        let not_before = self.not_before.max(asked).filter(|until| *until > now);
        let known = Self { not_before, ..self };
        if self.paused.is_some() {
            return (known, HealthChange::None);
        }
        let (breaker, change) = self.breaker.observe(failed, now, &BreakerRule::ENDPOINT);
        let known = Self { breaker, ..known };
        if outcome.status == Some(GONE) {
            let gone = known.paused(now, PauseReason::Gone);
            return (gone, HealthChange::Down { since: now });
        }
        match (change, self.resumed) {
            (BreakerChange::Opened { since }, _) => {
                let resumed = None;
                (Self { resumed, ..known }, HealthChange::Down { since })
            }
            (BreakerChange::Closed { since }, _) => (known, HealthChange::Up { since }),
            (BreakerChange::None, Some(Resumed { down_since })) if !failed => {
                let up = |since| HealthChange::Up { since };
                let change = down_since.map_or(HealthChange::Resumed, up);
                let resumed = None;
                (Self { resumed, ..known }, change)
            }
            (BreakerChange::None, _) => (known, HealthChange::None),
        }
    }

    /// Whether deliveries are held: what fails now does not use up its schedule.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.paused.is_some() || self.breaker.is_open()
    }

    /// When what could go out at `due` may.
    #[must_use]
    pub fn later(&self, due: Timestamp) -> Timestamp {
        self.not_before.map_or(due, |until| due.max(until))
    }

    /// Held from now on.
    #[must_use]
    pub const fn paused(self, at: Timestamp, reason: PauseReason) -> Self {
        Self {
            paused: Some(Pause { at, reason }),
            ..self
        }
    }

    /// Up again, whatever it was: the next attempts will tell. They are eased in, as after an outage.
    #[must_use]
    pub fn resumed(self) -> Self {
        let resumed = self.holds().then(|| Resumed {
            down_since: match (self.paused, self.breaker) {
                (Some(pause), _) if pause.reason == PauseReason::Gone => Some(pause.at),
                (_, Breaker::Open { since, .. }) => Some(since),
                _ => self.resumed.and_then(|before| before.down_since),
            },
        });
        Self {
            breaker: Breaker::Fine,
            paused: None,
            resumed: resumed.or(self.resumed),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FailureClass;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn answered(status: u16) -> Outcome {
        Outcome {
            failure: (status >= 300).then_some(FailureClass::Status),
            status: Some(status),
            ..Outcome::interrupted()
        }
    }

    fn asked(secs: u64) -> Outcome {
        Outcome {
            retry_after: Some(Duration::from_secs(secs)),
            ..answered(503)
        }
    }

    /// Down at 4 s.
    fn down() -> Health {
        (0..5).fold(Health::default(), |health, secs| {
            health.observe(&answered(500), at(secs)).0
        })
    }

    #[test]
    fn an_endpoint_that_is_gone_is_paused_and_stays_so() {
        let (health, change) = Health::default().observe(&answered(410), at(1));
        assert_eq!(change, HealthChange::Down { since: at(1) });
        let (health, change) = health.observe(&answered(410), at(2));
        assert_eq!(change, HealthChange::None, "told once");
        assert!(health.holds());
        let (after, change) = health.observe(&answered(200), at(3));
        assert!(after.holds(), "only an operator resumes it");
        assert_eq!(change, HealthChange::None);
        assert!(!health.resumed().holds());
    }

    #[test]
    fn five_failures_in_a_row_hold_it_and_a_success_ends_that() {
        let mut health = Health::default();
        let mut told = Vec::new();
        for (secs, status) in [500, 500, 200, 500, 500, 500, 500, 500, 200]
            .into_iter()
            .enumerate()
        {
            let (next, change) = health.observe(&answered(status), at(secs as u64));
            health = next;
            if change != HealthChange::None {
                told.push((secs, health.holds()));
            }
        }
        assert_eq!(told, [(7, true), (8, false)]);
    }

    #[test]
    fn the_first_that_a_resumed_endpoint_hears_takes_back_what_was_told() {
        let gone = Health::default().observe(&answered(410), at(1)).0;
        let paused = Health::default().paused(at(1), PauseReason::Operator);
        let down_and_paused = down().paused(at(9), PauseReason::Operator);
        for (before, told) in [
            (gone, HealthChange::Up { since: at(1) }),
            (down(), HealthChange::Up { since: at(4) }),
            (down_and_paused, HealthChange::Up { since: at(4) }),
            (paused, HealthChange::Resumed),
            (Health::default(), HealthChange::None),
        ] {
            let resumed = before.resumed();
            assert!(!resumed.holds());
            let again = resumed.paused(at(10), PauseReason::Operator).resumed();
            let (failed, change) = again.observe(&answered(500), at(11));
            assert_eq!(change, HealthChange::None);
            let expected = match told {
                // Healthy, then paused and resumed.
                HealthChange::None => HealthChange::Resumed,
                told => told,
            };
            let (heard, change) = failed.observe(&answered(200), at(12));
            assert_eq!(change, expected, "{before:?}");
            assert_eq!(heard, Health::default());
            assert_eq!(resumed.observe(&answered(200), at(12)).1, told);
        }
    }

    #[test]
    fn one_that_goes_down_again_after_it_was_resumed_is_told_of_again() {
        let mut health = down().resumed();
        for secs in 20..24 {
            let (next, change) = health.observe(&answered(500), at(secs));
            assert_eq!(change, HealthChange::None);
            health = next;
        }
        let (health, change) = health.observe(&answered(500), at(24));
        assert_eq!(change, HealthChange::Down { since: at(24) });
        let (_, change) = health.observe(&answered(200), at(30));
        assert_eq!(change, HealthChange::Up { since: at(24) });
    }

    #[test]
    fn an_endpoint_that_asks_for_time_gets_it_within_bounds_in_every_state() {
        let paused = Health::default().paused(at(0), PauseReason::Operator);
        for before in [Health::default(), down(), paused, down().resumed()] {
            let health = before.observe(&asked(60), at(100)).0;
            assert_eq!(
                (health.later(at(3)), health.later(at(170))),
                (at(160), at(170))
            );
            let shorter = health.observe(&asked(2), at(101)).0;
            assert_eq!(shorter.later(at(0)), at(160), "takes nothing back");
            let long = health.observe(&asked(86_400), at(101)).0;
            assert_eq!(long.later(at(0)), at(401), "not parked for a day");
            assert_eq!(health.resumed().later(at(0)), at(160), "asked is asked");
            let heard = health.observe(&answered(200), at(161)).0;
            assert_eq!(heard.not_before, None, "over");
        }
    }
}
