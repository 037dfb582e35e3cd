//! When to try again: a list of waits, and how far each may stray.

use std::sync::Arc;
use std::time::Duration;

/// Why a list of waits is not a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No wait at all: nothing would ever be tried again.
    #[error("the list is empty")]
    Empty,
    /// A wait of nothing is a busy loop.
    #[error("a wait of zero would retry without pause")]
    Zero,
    /// Not a share of one.
    #[error("jitter is not between 0 and 1")]
    Jitter,
}

/// The waits between tries: never empty, none of them zero. A copy costs nothing: one goes along with every record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Arc<[Duration]>);

impl Schedule {
    /// # Errors
    /// An empty list, or a wait of zero.
    pub fn new(steps: Vec<Duration>) -> Result<Self, ScheduleError> {
        if steps.is_empty() {
            return Err(ScheduleError::Empty);
        }
        if steps.iter().any(Duration::is_zero) {
            return Err(ScheduleError::Zero);
        }
        Ok(Self(steps.into()))
    }

    /// The wait after failure number `failures` (from 1), or `None` once the list is used up.
    #[must_use]
    pub fn after(&self, failures: u32) -> Option<Duration> {
        let index = usize::try_from(failures.saturating_sub(1)).ok()?;
        self.0.get(index).copied()
    }

    /// Like [`Schedule::after`], but the last wait repeats for ever.
    #[must_use]
    pub fn after_repeating(&self, failures: u32) -> Duration {
        self.after(failures)
            .or_else(|| self.0.last().copied())
            .unwrap_or(Duration::from_secs(1))
    }

    /// How many waits there are, and so how many tries after the first.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true; here because `len` is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How far a wait may stray to either side, as a share of it: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// No straying.
    pub const NONE: Self = Self(0.0);

    /// # Errors
    /// Not a number from 0 to 1.
    pub fn new(share: f64) -> Result<Self, ScheduleError> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(ScheduleError::Jitter)
        }
    }

    /// `wait`, moved by `draw` (from -1 to 1; beyond is cut) times this share of it. At least a millisecond: even
    /// full jitter must not make a busy loop.
    #[must_use]
    pub fn apply(self, wait: Duration, draw: f64) -> Duration {
        let draw = if draw.is_finite() {
            draw.clamp(-1.0, 1.0)
        } else {
            0.0
        };
        wait.mul_f64(1.0 + self.0 * draw)
            .max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_schedule_that_would_spin_or_stop_cannot_be_built() {
        assert_eq!(Schedule::new(vec![]), Err(ScheduleError::Empty));
        assert_eq!(
            Schedule::new(vec![Duration::ZERO]),
            Err(ScheduleError::Zero)
        );
        assert!(
            Jitter::new(1.5).is_err()
                && Jitter::new(-0.1).is_err()
                && Jitter::new(f64::NAN).is_err()
        );
    }

    #[test]
    fn a_used_up_list_ends_and_a_repeating_one_does_not() {
        let schedule =
            Schedule::new(vec![Duration::from_secs(1), Duration::from_secs(5)]).expect("valid");
        assert_eq!(schedule.after(1), Some(Duration::from_secs(1)));
        assert_eq!(schedule.after(2), Some(Duration::from_secs(5)));
        assert_eq!(schedule.after(3), None);
        assert_eq!(schedule.after_repeating(3), Duration::from_secs(5));
        assert_eq!(schedule.after_repeating(u32::MAX), Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_share(millis in 1u64..100_000_000, share in 0.0f64..=1.0, draw in -2.0f64..2.0) {
            let wait = Duration::from_millis(millis);
            let strayed = Jitter::new(share).expect("valid").apply(wait, draw);
            // A nanosecond of slack for the floating-point product.
            prop_assert!(strayed <= wait.mul_f64(1.0 + share) + Duration::from_nanos(1));
            let least = wait.mul_f64(1.0 - share).max(Duration::from_millis(1));
            prop_assert!(strayed + Duration::from_nanos(1) >= least);
        }
    }
}
