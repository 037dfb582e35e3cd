//! Points in time, in milliseconds since the Unix epoch: the provider's unit, and fine enough for ours.

use std::fmt;
use std::time::Duration;

/// A wall-clock instant: milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
///
/// Arithmetic saturates: a schedule can run into the end of time, but never panic or wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as `webhook-timestamp` wants them (Standard Webhooks 1.0).
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This instant, `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// This instant, `by` earlier; the epoch at the earliest.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this instant is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, e.g. `2026-11-21T10:00:00.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = i64::try_from(self.0)
            .ok()
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
            .unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{stamp:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_shown_as_rfc_3339_with_milliseconds() {
        // `date -u -d @1732988442 +%FT%TZ` prints 2024-11-30T17:40:42Z.
        assert_eq!(
            Timestamp::from_millis(1_732_988_442_913).to_string(),
            "2024-11-30T17:40:42.913Z"
        );
        assert_eq!(
            Timestamp::from_millis(1_732_988_442_000).to_string(),
            "2024-11-30T17:40:42.000Z"
        );
    }

    #[test]
    fn arithmetic_saturates_at_both_ends_of_time() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        assert_eq!(
            Timestamp::from_millis(5).minus(Duration::from_secs(1)),
            Timestamp::from_millis(0)
        );
        assert_eq!(Timestamp::from_millis(5).since(end), Duration::ZERO);
    }
}
