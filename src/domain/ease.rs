//! How gently an endpoint is gone at: one that has just come back, and one that has too much to do.
//!
//! Kept in memory only: after a restart an endpoint that is up is taken for well. What it asked to wait is kept with its
//! health.

/// What an endpoint is spared at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ease {
    ramp: Option<Ramp>,
}

/// After a recovery: 1, 2, 4, … at a time, so that a receiver that has just come back is not knocked over again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ramp {
    allowed: usize,
    /// Heard at this step; as many as are allowed lead to the next.
    heard: usize,
}

impl Ease {
    /// The endpoint was down and has answered.
    #[must_use]
    pub const fn recovered(self) -> Self {
        let ramp = Some(Ramp {
            allowed: 1,
            heard: 0,
        });
        Self { ramp }
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
        Self { ramp }
    }

    /// How many more may go out while `out` are under way and `limit` could.
    #[must_use]
    pub fn allows(&self, limit: usize, out: usize) -> usize {
        let ramped = self.ramp.map(|ramp| ramp.allowed.saturating_sub(out));
        ramped.map_or(limit, |room| limit.min(room))
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

    #[test]
    fn an_endpoint_that_is_back_gets_one_two_four_and_then_all() {
        let mut ease = Ease::default();
        assert_eq!(ease.allows(64, 3), 64);
        ease = ease.recovered();
        for step in [1, 2, 4, 8] {
            assert_eq!(ease.allows(64, 0), step);
            assert_eq!(ease.allows(64, 1), step - 1, "what is out counts");
            for _ in 0..step {
                assert!(ease.is_ramping());
                ease = ease.heard(10);
            }
        }
        assert!(!ease.is_ramping());
        assert_eq!(ease.allows(64, 9), 64);
    }

    #[test]
    fn an_endpoint_with_too_much_to_do_gets_one_at_a_time_until_it_hears() {
        let mut ease = Ease::default().recovered();
        for _ in 0..3 {
            ease = ease.heard(64);
        }
        assert_eq!(ease.allows(64, 0), 4);
        ease = ease.overloaded();
        assert_eq!((ease.allows(64, 0), ease.allows(64, 1)), (1, 0));
        assert_eq!(ease.heard(64).allows(64, 0), 2);
        let overload: Vec<u16> = (100..600)
            .filter(|status| Ease::is_overload(*status))
            .collect();
        assert_eq!(overload, [429, 502, 503, 504]);
    }

    proptest! {
        #[test]
        fn it_always_ends(concurrency in 1usize..200) {
            let mut ease = Ease::default().recovered();
            for _ in 0..2 * concurrency {
                prop_assert!(ease.allows(1000, 0) > 0, "nothing would ever go out again");
                ease = ease.heard(concurrency);
            }
            prop_assert!(!ease.is_ramping());
        }
    }
}
