//! Leaving somebody alone while they fail as a whole: the provider (contract §5), or an endpoint (contract §6).

use std::time::Duration;

use super::Timestamp;

/// When it opens, and how it probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// Failures in a row that open it.
    pub opens_after: u32,
    /// The wait before the first probe.
    pub first_probe: Duration,
    /// The longest wait between probes.
    pub longest_probe: Duration,
}

impl BreakerRule {
    /// The provider: five in a row, probes after 2 s, doubling to a minute (contract §5).
    pub const PROVIDER: Self = Self {
        opens_after: 5,
        first_probe: Duration::from_secs(2),
        longest_probe: Duration::from_secs(60),
    };

    /// An endpoint: five in a row, probes after 5 s, doubling to five minutes (contract §6).
    pub const ENDPOINT: Self = Self {
        opens_after: 5,
        first_probe: Duration::from_secs(5),
        longest_probe: Duration::from_secs(300),
    };
}

/// So many failures in a row open it; then one probe at a time goes out, ever more seldom; the first success closes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// Everything goes out.
    #[default]
    Fine,
    /// Everything goes out, but the latest ones failed.
    Shaky {
        /// Failures in a row, fewer than open it.
        failures: u32,
    },
    /// Nothing goes out but a probe at a time.
    Open {
        /// Since when.
        since: Timestamp,
        /// The wait before the next probe.
        wait: Duration,
        /// When the next probe may go out.
        probe_at: Timestamp,
    },
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// Nothing to tell.
    None,
    /// It is down.
    Opened {
        /// Since when.
        since: Timestamp,
    },
    /// It is back.
    Closed {
        /// Since when it had been down.
        since: Timestamp,
    },
}

impl Breaker {
    /// When the next may go out: `None` at once, else the next probe's time.
    #[must_use]
    pub const fn closed_until(&self) -> Option<Timestamp> {
        match self {
            Self::Open { probe_at, .. } => Some(*probe_at),
            Self::Fine | Self::Shaky { .. } => None,
        }
    }

    /// Whether it is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// Takes in how one went: `down` when it counts as a failure of the whole.
    #[must_use]
    pub fn observe(self, down: bool, now: Timestamp, rule: &BreakerRule) -> (Self, BreakerChange) {
        match (self, down) {
            (Self::Open { since, .. }, false) => (Self::Fine, BreakerChange::Closed { since }),
            (_, false) => (Self::Fine, BreakerChange::None),
            (
                Self::Open {
                    since,
                    wait,
                    probe_at,
                },
                true,
            ) => {
                // Answers of queries that were out when it opened are not probes and do not lengthen the wait.
                if now < probe_at {
                    return (self, BreakerChange::None);
                }
                let wait = wait.saturating_mul(2).min(rule.longest_probe);
                (
                    Self::Open {
                        since,
                        wait,
                        probe_at: now.plus(wait),
                    },
                    BreakerChange::None,
                )
            }
            (before, true) => {
                let failures = if let Self::Shaky { failures } = before {
                    failures + 1
                } else {
                    1
                };
                if failures < rule.opens_after {
                    return (Self::Shaky { failures }, BreakerChange::None);
                }
                let open = Self::Open {
                    since: now,
                    wait: rule.first_probe,
                    probe_at: now.plus(rule.first_probe),
                };
                (open, BreakerChange::Opened { since: now })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_open_it_and_probes_double_to_a_minute() {
        let mut now = Timestamp::from_millis(0);
        let mut breaker = Breaker::default();
        let mut waits = Vec::new();
        for round in 1..=12 {
            let (next, change) = breaker.observe(true, now, &BreakerRule::PROVIDER);
            breaker = next;
            assert_eq!(matches!(change, BreakerChange::Opened { .. }), round == 5);
            if let Some(probe_at) = breaker.closed_until() {
                waits.push(probe_at.since(now).as_secs());
                now = probe_at;
            }
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(
            breaker.observe(false, now, &BreakerRule::PROVIDER),
            (
                Breaker::Fine,
                BreakerChange::Closed {
                    since: Timestamp::from_millis(0)
                }
            )
        );
    }

    #[test]
    fn an_answer_in_between_starts_the_count_again() {
        let now = Timestamp::from_millis(0);
        let mut breaker = Breaker::default();
        for down in [true, true, true, true, false, true, true, true, true] {
            breaker = breaker.observe(down, now, &BreakerRule::PROVIDER).0;
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn late_answers_of_queries_sent_before_it_opened_do_not_lengthen_the_wait() {
        let now = Timestamp::from_millis(0);
        let mut breaker = Breaker::default();
        for _ in 0..9 {
            breaker = breaker.observe(true, now, &BreakerRule::PROVIDER).0;
        }
        assert_eq!(breaker.closed_until().map(Timestamp::as_millis), Some(2000));
    }
}
