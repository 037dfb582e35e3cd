//! How gently an endpoint is gone at: one that has just come back, and one that asked for less.
//!
//! Kept in memory only: after a restart an endpoint that is up is taken for well, and of what it asked to wait only the
//! schedule of the delivery that met the wish is left; one that is down is probed without regard to it.

use std::time::Duration;

use super::Timestamp;

/// What an endpoint is spared at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ease {
    ramp: Option<Ramp>,
    not_before: Option<Timestamp>,
}

/// After a recovery: 1, 2, 4, … at a time, so that a receiver that has just come back is not knocked over again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ramp {
    allowed: usize,
    /// Heard at this step; as many as are allowed lead to the next.
    heard: usize,
}

impl Ease {
    /// As long as the longest pause between probes: one `Retry-After` may park the delivery that met it for a day,
    /// but not everybody else's.
    pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

    /// The endpoint was down and has answered.
    #[must_use]
    pub const fn recovered(self) -> Self {
        let ramp = Some(Ramp {
            allowed: 1,
            heard: 0,
        });
        Self { ramp, ..self }
    }

    /// It answered 429, 502, 503 or 504: it has too much to do (Standard Webhooks). One at a time, until it hears again.
    #[must_use]
    pub const fn overloaded(self) -> Self {
        self.recovered()
    }

    /// Whether an answer with this HTTP status says that the endpoint has too much to do.
    #[must_use]
    pub const fn is_overload(status: u16) -> bool {
        matches!(status, 429 | 502 | 503 | 504)
    }

    /// It heard one more.
    #[must_use]
    pub fn heard(self, concurrency: usize) -> Self {
        let ramp = self.ramp.and_then(|ramp| {
            let heard = ramp.heard + 1;
            if heard < ramp.allowed {
                return Some(Ramp { heard, ..ramp });
            }
            let allowed = ramp.allowed.saturating_mul(2);
            (allowed < concurrency).then_some(Ramp { allowed, heard: 0 })
        });
        Self { ramp, ..self }
    }

    /// It said 429 or 503, and how long to wait.
    #[must_use]
    pub fn asked_to_wait(self, now: Timestamp, wait: Duration) -> Self {
        let until = now.plus(wait.min(Self::LONGEST_PAUSE));
        let not_before = Some(self.not_before.map_or(until, |known| known.max(until)));
        Self { not_before, ..self }
    }

    /// How many more may go out while `out` are under way and `limit` could.
    #[must_use]
    pub fn allows(&self, limit: usize, out: usize, now: Timestamp) -> usize {
        if self.not_before.is_some_and(|until| now < until) {
            return 0;
        }
        let ramped = self.ramp.map(|ramp| ramp.allowed.saturating_sub(out));
        ramped.map_or(limit, |room| limit.min(room))
    }

    /// When work that is due at `due` may go.
    #[must_use]
    pub fn later(&self, due: Timestamp) -> Timestamp {
        self.not_before.map_or(due, |until| due.max(until))
    }

    /// Whether an endpoint is being eased in.
    #[must_use]
    pub const fn is_ramping(&self) -> bool {
        self.ramp.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn an_endpoint_that_is_back_gets_one_two_four_and_then_all() {
        let mut ease = Ease::default();
        assert_eq!(ease.allows(64, 3, at(0)), 64);
        ease = ease.recovered();
        for step in [1, 2, 4, 8] {
            assert_eq!(ease.allows(64, 0, at(0)), step);
            assert_eq!(ease.allows(64, 1, at(0)), step - 1, "what is out counts");
            for _ in 0..step {
                assert!(ease.is_ramping());
                ease = ease.heard(10);
            }
        }
        assert!(!ease.is_ramping());
        assert_eq!(ease.allows(64, 9, at(0)), 64);
    }

    #[test]
    fn an_endpoint_with_too_much_to_do_gets_one_at_a_time_until_it_hears() {
        let mut ease = Ease::default().recovered();
        for _ in 0..3 {
            ease = ease.heard(64);
        }
        assert_eq!(ease.allows(64, 0, at(0)), 4);
        ease = ease.overloaded();
        assert_eq!(
            (ease.allows(64, 0, at(0)), ease.allows(64, 1, at(0))),
            (1, 0)
        );
        assert_eq!(ease.heard(64).allows(64, 0, at(0)), 2);
        let overload: Vec<u16> = (100..600)
            .filter(|status| Ease::is_overload(*status))
            .collect();
        assert_eq!(overload, [429, 502, 503, 504]);
    }

    #[test]
    fn an_endpoint_that_asks_for_time_gets_it_within_bounds() {
        let ease = Ease::default().asked_to_wait(at(0), Duration::from_secs(60));
        assert_eq!((ease.allows(8, 0, at(59)), ease.later(at(3))), (0, at(60)));
        assert_eq!((ease.allows(8, 0, at(60)), ease.later(at(70))), (8, at(70)));
        let shorter = ease.asked_to_wait(at(1), Duration::from_secs(2));
        assert_eq!(
            shorter.later(at(0)),
            at(60),
            "a shorter wish takes nothing back"
        );
        let long = ease.asked_to_wait(at(1), Duration::from_secs(86_400));
        assert_eq!(long.later(at(0)), at(301));
    }

    proptest! {
        #[test]
        fn it_always_ends(concurrency in 1usize..200) {
            let mut ease = Ease::default().recovered();
            for _ in 0..2 * concurrency {
                prop_assert!(ease.allows(1000, 0, at(0)) > 0, "nothing would ever go out again");
                ease = ease.heard(concurrency);
            }
            prop_assert!(!ease.is_ramping());
        }
    }
}
