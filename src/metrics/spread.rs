//! How durations are spread, in a fixed number of counters: eight to each doubling, from a microsecond to a month.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Of each doubling, as bits.
const FINE: u32 = 3;

/// Eight for each of the 42 doublings of microseconds that make a month and more.
const CELLS: usize = 42 * (1 << FINE);

/// Counters that many threads add to.
#[derive(Debug)]
pub(super) struct Spread([AtomicU32; CELLS]);

/// What they held.
pub(super) struct Counts([u32; CELLS]);

impl Default for Spread {
    fn default() -> Self {
        Self([const { AtomicU32::new(0) }; CELLS])
    }
}

/// The cell of a duration: its highest bit and the three after it.
fn cell(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let Some(rest) = micros
        .checked_ilog2()
        .and_then(|high| high.checked_sub(FINE))
    else {
        // Below eight microseconds each has a cell of its own.
        return usize::try_from(micros).unwrap_or(0);
    };
    let cell = (u64::from(rest) << FINE) + (micros >> rest);
    usize::try_from(cell).map_or(CELLS - 1, |cell| cell.min(CELLS - 1))
}

/// The middle of what falls into a cell.
fn middle(cell: usize) -> Duration {
    let cell = u64::try_from(cell).unwrap_or(u64::MAX);
    let Some(rest) = (cell >> FINE).checked_sub(1).filter(|rest| *rest > 0) else {
        return Duration::from_micros(cell);
    };
    let least = (cell - (rest << FINE)) << rest;
    Duration::from_micros(least + (1 << rest) / 2)
}

impl Spread {
    pub(super) fn add(&self, took: Duration) {
        if let Some(counter) = self.0.get(cell(took)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> Counts {
        Counts(
            self.0
                .each_ref()
                .map(|counter| counter.load(Ordering::Relaxed)),
        )
    }

    /// Reads, and begins anew.
    pub(super) fn take(&self) -> Counts {
        Counts(
            self.0
                .each_ref()
                .map(|counter| counter.swap(0, Ordering::Relaxed)),
        )
    }
}

impl Counts {
    /// The duration that `part` of `whole` do not exceed, as near as a cell is wide; `None` of nothing.
    pub(super) fn quantile(&self, part: u64, whole: u64) -> Option<Duration> {
        let all: u64 = self.0.iter().copied().map(u64::from).sum();
        let wanted = all.saturating_mul(part).div_ceil(whole.max(1)).max(1);
        let mut seen = 0;
        for (cell, count) in self.0.iter().enumerate() {
            seen += u64::from(*count);
            if *count > 0 && seen >= wanted {
                return Some(middle(cell));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_of_one_duration_is_that_duration_within_seven_percent(
            micros in 1u64..30 * 24 * 3600 * 1_000_000,
        ) {
            let spread = Spread::default();
            spread.add(Duration::from_micros(micros));
            let shown = spread.read().quantile(1, 2).expect("there is one");
            let off = shown.as_secs_f64() / Duration::from_micros(micros).as_secs_f64() - 1.0;
            prop_assert!(off.abs() < 0.07, "{micros} µs is shown as {shown:?}");
        }

        #[test]
        fn longer_durations_never_fall_into_earlier_cells(one: u64, other: u64) {
            let (less, more) = (one.min(other), one.max(other));
            prop_assert!(cell(Duration::from_micros(less)) <= cell(Duration::from_micros(more)));
        }
    }

    #[test]
    fn nothing_has_no_quantile_and_taking_leaves_nothing() {
        let spread = Spread::default();
        assert_eq!(spread.read().quantile(1, 2), None);
        spread.add(Duration::MAX);
        assert!(spread.take().quantile(99, 100).is_some());
        assert_eq!(spread.read().quantile(1, 2), None);
    }
}
