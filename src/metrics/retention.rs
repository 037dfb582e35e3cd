//! What retention lets go of, and when it last looked.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::labels::OfRecord;
use super::{FloatGauge, seconds};
use crate::domain::Timestamp;

/// The kinds of records that go.
const RECORDS: [&str; 6] = [
    "events",
    "deliveries",
    "attempts",
    "callbacks",
    "queries",
    "jobs",
];

/// Counted by the passes.
#[derive(Clone, Debug)]
pub struct RetentionMetrics {
    removed: Family<OfRecord, Counter>,
    failures: Counter,
    passed_at: FloatGauge,
}

impl RetentionMetrics {
    /// None was made yet by a process that began `now`.
    pub(super) fn new(now: Timestamp, registry: &mut Registry) -> Arc<Self> {
        let own = Self {
            removed: Family::default(),
            failures: Counter::default(),
            passed_at: FloatGauge::default(),
        };
        for record in RECORDS {
            drop(own.removed.get_or_create(&OfRecord { record }));
        }
        own.passed_at.set(seconds(now));
        registry.register(
            "retention_removed",
            "Records that were settled and older than store.retention, and are gone",
            Family::clone(&own.removed),
        );
        registry.register(
            "retention_failures",
            "Steps of a pass that the store failed at; they are tried again",
            own.failures.clone(),
        );
        registry.register_with_unit(
            "retention_last_pass_timestamp",
            "When a pass through the store last came to its end, in seconds since 1970; before the first, when this process began",
            Unit::Seconds,
            FloatGauge::clone(&own.passed_at),
        );
        Arc::new(own)
    }

    /// So many records of a kind are gone.
    pub fn removed(&self, record: &'static str, number: u64) {
        self.removed
            .get_or_create(&OfRecord { record })
            .inc_by(number);
    }

    /// A step failed.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// A pass came to its end.
    pub fn passed(&self, now: Timestamp) {
        self.passed_at.set(seconds(now));
    }
}
