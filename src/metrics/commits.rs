//! What the store's commit loop does: groups, their size, and how long the disk takes.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::INSTANT_BUCKETS;

/// Counted by the commit loop and the journal.
#[derive(Clone, Debug)]
pub struct CommitMetrics {
    groups: Counter,
    unsynced: Counter,
    failures: Counter,
    use_cases: Histogram,
    bytes: Histogram,
    syncs: Histogram,
}

impl Default for CommitMetrics {
    fn default() -> Self {
        Self {
            groups: Counter::default(),
            unsynced: Counter::default(),
            failures: Counter::default(),
            use_cases: Histogram::new((0..=8).map(|power| f64::from(1 << power))),
            bytes: Histogram::new((8..=24).step_by(2).map(|power| f64::from(1 << power))),
            syncs: Histogram::new(INSTANT_BUCKETS),
        }
    }
}

impl CommitMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "store_commits",
            "Groups of use cases that were made durable, each with one fsync",
            self.groups.clone(),
        );
        registry.register(
            "store_unsynced_groups",
            "Groups of nothing but claims, successes of which nothing follows, and deliveries of an event for more than 32 endpoints: written at once, made durable a moment later",
            self.unsynced.clone(),
        );
        registry.register(
            "store_commit_failures",
            "Groups of use cases that could not be written or made durable",
            self.failures.clone(),
        );
        registry.register(
            "store_commit_use_cases",
            "Use cases in one group",
            self.use_cases.clone(),
        );
        registry.register_with_unit(
            "store_commit_size",
            "Size of one group's record in the journal",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register_with_unit(
            "store_fsync",
            "How long the disk took to make one record of the journal durable",
            Unit::Seconds,
            self.syncs.clone(),
        );
    }

    /// A group of so many use cases was made durable; of none, where groups before it were what had to be.
    pub fn committed(&self, use_cases: usize) {
        self.groups.inc();
        let use_cases = u32::try_from(use_cases).unwrap_or(u32::MAX);
        self.use_cases.observe(f64::from(use_cases));
    }

    /// A group was written, and not synced.
    pub fn unsynced(&self) {
        self.unsynced.inc();
    }

    /// A group was not written, or not made durable.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// A record of so many bytes was synced, which took so long.
    pub fn synced(&self, bytes: usize, took: Duration) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes.observe(f64::from(bytes));
        self.syncs.observe(took.as_secs_f64());
    }
}
