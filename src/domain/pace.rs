//! So many per second: the generic cell rate algorithm, as a value.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Timestamp;

/// A limit of `count` within `per`, with a burst of the same size; and how much of it is used.
///
/// Kept in microseconds, so that 10,000 a second is still exact to a hundredth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Microseconds between two at the even rate.
    interval: u64,
    /// How many may come at once.
    burst: u64,
    /// When everything taken so far would be through at the even rate, in microseconds since the epoch.
    through: u64,
}

impl Pace {
    /// An unused limit.
    #[must_use]
    pub fn new(count: NonZeroU32, per: Duration) -> Self {
        let per = u64::try_from(per.as_micros()).unwrap_or(u64::MAX);
        let interval = (per / u64::from(count.get())).max(1);
        Self {
            interval,
            burst: u64::from(count.get()),
            through: 0,
        }
    }

    /// The same rate, one at a time.
    #[must_use]
    pub const fn without_burst(self) -> Self {
        Self { burst: 1, ..self }
    }

    const fn micros(now: Timestamp) -> u64 {
        now.as_millis().saturating_mul(1000)
    }

    /// How many may go now.
    #[must_use]
    pub fn available(&self, now: Timestamp) -> usize {
        let horizon = Self::micros(now).saturating_add(self.interval.saturating_mul(self.burst));
        let room = horizon.saturating_sub(self.through.max(Self::micros(now)));
        usize::try_from(room / self.interval).unwrap_or(usize::MAX)
    }

    /// `number` went; more than were available makes those after them wait longer.
    #[must_use]
    pub fn taken(self, number: usize, now: Timestamp) -> Self {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        let from = self.through.max(Self::micros(now));
        Self {
            through: from.saturating_add(self.interval.saturating_mul(number)),
            ..self
        }
    }

    /// `number` of those that were taken did not go.
    #[must_use]
    pub fn given_back(self, number: usize) -> Self {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        let through = self
            .through
            .saturating_sub(self.interval.saturating_mul(number));
        Self { through, ..self }
    }

    /// Until when none may go, an instant after `now`; `None`: one may go at once.
    #[must_use]
    pub fn rests_until(&self, now: Timestamp) -> Option<Timestamp> {
        if self.available(now) > 0 {
            return None;
        }
        let free = self.through.saturating_add(self.interval);
        let at = free.saturating_sub(self.interval.saturating_mul(self.burst));
        Some(Timestamp::from_millis(at.div_ceil(1000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pace(count: u32) -> Pace {
        Pace::new(
            NonZeroU32::new(count).expect("not zero"),
            Duration::from_secs(1),
        )
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_evenly() {
        let now = Timestamp::from_millis(1_000_000);
        let used = pace(20).taken(20, now);
        assert_eq!(used.available(now), 0);
        let next = now.plus(Duration::from_millis(50));
        assert_eq!(used.rests_until(now), Some(next));
        assert_eq!(used.available(now.plus(Duration::from_millis(50))), 1);
        assert_eq!(used.available(now.plus(Duration::from_secs(1))), 20);
        assert_eq!(
            used.available(now.plus(Duration::from_secs(100))),
            20,
            "an idle hour saves nothing up"
        );
    }

    proptest! {
        #[test]
        fn in_any_stretch_no_more_than_rate_and_burst_go(
            count in 1u32..5000,
            waits in proptest::collection::vec(0u64..700, 1..80),
        ) {
            let start = Timestamp::from_millis(1_000_000);
            let mut now = start;
            let mut limit = pace(count);
            let mut gone = 0u64;
            for wait in waits {
                now = now.plus(Duration::from_millis(wait));
                let rests = limit.rests_until(now);
                prop_assert_eq!(rests.is_none(), limit.available(now) > 0);
                let next = rests.unwrap_or(now);
                prop_assert!(rests.is_none() || next > now);
                prop_assert!(limit.available(next) > 0, "nothing may go when the rest is over");
                let number = limit.available(now);
                limit = limit.taken(number, now);
                gone += number as u64;
                let allowed = u64::from(count) + u64::from(count) * now.since(start).as_millis() as u64 / 1000;
                // The interval is cut to whole microseconds: a share of a percent at 5,000 a second.
                prop_assert!(gone <= allowed + allowed / 100 + 1, "{gone} of {allowed}");
            }
        }
    }

    #[test]
    fn what_is_given_back_may_go_again_and_no_more() {
        let now = Timestamp::from_millis(1_000_000);
        let used = pace(20).taken(5, now);
        assert_eq!(used.taken(10, now).given_back(7).available(now), 12);
        let idle = pace(20).taken(20, now).given_back(20);
        assert_eq!(idle.available(now), 20);
        assert_eq!(idle.taken(20, now).available(now), 0);
    }
}
