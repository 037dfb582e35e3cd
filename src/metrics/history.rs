//! The last day, minute by minute: what the dashboard plots without anybody's having set up a monitoring system.
//!
//! Promise: bounded memory (a day of minutes, a few hundred kilobytes), no lock and no allocation where something is
//! counted, and a minute once ended does not change. It is lost with the process; Prometheus keeps what must be kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::spread::Spread;
use crate::domain::Timestamp;

/// A day.
const MINUTES: usize = 24 * 60;

/// Two percentiles of a minute's durations; each is within 7 % of the true one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of them took less.
    pub p50: Duration,
    /// One in a hundred took longer.
    pub p99: Duration,
}

/// Work that was pending at a minute's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Verifications, the watched users' included.
    pub verifications: u64,
    /// Deliveries not settled, over all endpoints.
    pub deliveries: u64,
}

/// What happened in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minute {
    /// When it began.
    pub from: Timestamp,
    /// When it ended: a minute later, but for the first one, and where the process was kept from running.
    pub to: Timestamp,
    /// Callbacks answered `OK`, unrecognized ones included.
    pub accepted: u64,
    /// Requests to the public listener that were refused, for whatever reason.
    pub refused: u64,
    /// Queries answered with a status, final or not.
    pub verified: u64,
    /// Queries that failed.
    pub failed_queries: u64,
    /// Deliveries that were delivered.
    pub delivered: u64,
    /// Attempts of deliveries that failed.
    pub failed_attempts: u64,
    /// How long callbacks took to be made durable; `None`: there were none.
    pub accept: Option<Percentiles>,
    /// From an event to its delivery, replays left out; `None`: there were none.
    pub delivery: Option<Percentiles>,
    /// What was pending at its end; `None`: it could not be read, or the minute has not ended.
    pub backlog: Option<Backlog>,
}

/// Counts of the minute that runs.
#[derive(Debug, Default)]
struct Running {
    from: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    verified: AtomicU64,
    failed_queries: AtomicU64,
    delivered: AtomicU64,
    failed_attempts: AtomicU64,
    accept: Spread,
    delivery: Spread,
}

/// The last day.
#[derive(Debug, Default)]
pub struct History {
    running: Running,
    ended: Mutex<VecDeque<Minute>>,
}

fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl History {
    /// A history that begins now.
    #[must_use]
    pub fn since(now: Timestamp) -> Self {
        let history = Self::default();
        history
            .running
            .from
            .store(now.as_millis(), Ordering::Relaxed);
        history
    }

    /// A callback was made durable, and took so long.
    pub fn accepted(&self, took: Duration) {
        one(&self.running.accepted);
        self.running.accept.add(took);
    }

    /// A request was refused.
    pub fn refused(&self) {
        one(&self.running.refused);
    }

    /// A query was answered with a status, or failed.
    pub fn queried(&self, answered: bool) {
        one(if answered {
            &self.running.verified
        } else {
            &self.running.failed_queries
        });
    }

    /// An event arrived, so long after it was made; `None` for one that is told again.
    pub fn delivered(&self, after: Option<Duration>) {
        one(&self.running.delivered);
        if let Some(after) = after {
            self.running.delivery.add(after);
        }
    }

    /// An attempt failed.
    pub fn attempt_failed(&self) {
        one(&self.running.failed_attempts);
    }

    fn ended(&self) -> MutexGuard<'_, VecDeque<Minute>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the running minute; the next begins.
    pub fn end_minute(&self, now: Timestamp, backlog: Option<Backlog>) {
        let running = &self.running;
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let minute = Minute {
            from: Timestamp::from_millis(running.from.swap(now.as_millis(), Ordering::Relaxed)),
            to: now,
            accepted: take(&running.accepted),
            refused: take(&running.refused),
            verified: take(&running.verified),
            failed_queries: take(&running.failed_queries),
            delivered: take(&running.delivered),
            failed_attempts: take(&running.failed_attempts),
            accept: percentiles(&running.accept.take()),
            delivery: percentiles(&running.delivery.take()),
            backlog,
        };
        let mut ended = self.ended();
        while ended.len() >= MINUTES {
            ended.pop_front();
        }
        ended.push_back(minute);
    }

    /// The minutes that have ended, oldest first, at most a day of them.
    #[must_use]
    pub fn minutes(&self) -> Vec<Minute> {
        self.ended().iter().copied().collect()
    }

    /// The minute that runs, as far as it is.
    #[must_use]
    pub fn running(&self, now: Timestamp) -> Minute {
        let running = &self.running;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Minute {
            from: Timestamp::from_millis(read(&running.from)),
            to: now,
            accepted: read(&running.accepted),
            refused: read(&running.refused),
            verified: read(&running.verified),
            failed_queries: read(&running.failed_queries),
            delivered: read(&running.delivered),
            failed_attempts: read(&running.failed_attempts),
            accept: percentiles(&running.accept.read()),
            delivery: percentiles(&running.delivery.read()),
            backlog: None,
        }
    }
}

fn percentiles(counts: &super::spread::Counts) -> Option<Percentiles> {
    Some(Percentiles {
        p50: counts.quantile(1, 2)?,
        p99: counts.quantile(99, 100)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn a_minute_holds_what_happened_in_it_and_the_next_begins_empty() {
        let history = History::since(at(0));
        for _ in 0..99 {
            history.accepted(Duration::from_millis(2));
        }
        history.accepted(Duration::from_millis(800));
        history.refused();
        history.queried(true);
        history.queried(false);
        history.delivered(Some(Duration::from_secs(3)));
        history.delivered(None);
        history.attempt_failed();
        assert_eq!(history.running(at(30)).accepted, 100);
        let backlog = Backlog {
            verifications: 3,
            deliveries: 4,
        };
        history.end_minute(at(60), Some(backlog));
        history.end_minute(at(120), None);
        let [first, second] = history.minutes()[..] else {
            panic!("two minutes")
        };
        assert_eq!((first.from, first.to), (at(0), at(60)));
        assert_eq!((second.from, second.to), (at(60), at(120)));
        assert_eq!((first.accepted, first.refused), (100, 1));
        assert_eq!((first.verified, first.failed_queries), (1, 1));
        assert_eq!((first.delivered, first.failed_attempts), (2, 1));
        assert_eq!(first.backlog, Some(backlog));
        let accept = first.accept.expect("there were some");
        assert!(accept.p50 < Duration::from_micros(2140), "{accept:?}");
        assert!(accept.p50 > Duration::from_micros(1860), "{accept:?}");
        assert_eq!(accept.p99, accept.p50, "one in a hundred was slower");
        let delivery = first.delivery.expect("one that was not told again");
        assert!(delivery.p99 > Duration::from_millis(2790), "{delivery:?}");
        assert_eq!((second.accepted, second.accept), (0, None));
    }

    #[test]
    fn a_day_is_kept_and_no_more() {
        let history = History::since(at(0));
        for minute in 1..=2000 {
            history.end_minute(at(60 * minute), None);
        }
        let minutes = history.minutes();
        assert_eq!(minutes.len(), 24 * 60);
        assert_eq!(minutes[0].to, at(60 * (2000 - 1440 + 1)));
        assert_eq!(minutes[1439].to, at(60 * 2000));
    }
}
