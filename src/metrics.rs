//! What is counted and measured, for Prometheus and for the dashboard.
//!
//! It lies at the ground, beside the clock: every stage and the store count, and none of them may know who reads. Made
//! once by the application and handed down, so that two relays in one process (the tests') do not mix. What a count
//! needs is looked up when a part is made; on the way of a callback counting is an addition and allocates nothing.
//!
//! Promise: labels are bounded (`labels.rs`); nothing secret and nothing personal is in a name, a label or a value.
//! What the store knows better than a counter (how much waits, since when) is read when somebody asks, not kept here.

mod commits;
mod history;
mod labels;
mod reading;
mod retention;
mod spread;
mod stages;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use commits::CommitMetrics;
pub use history::{Backlog, History, Minute, Percentiles};
pub use reading::{EndpointReading, LaneReading, REASONS, Reading, StoreReading};
pub use retention::RetentionMetrics;
pub use stages::{DeliverMetrics, REFUSALS, Tries, VerifyMetrics};

use self::labels::{OfMerchantSign, OfOutcome};
use self::stages::{CallbackMetrics, DeliverFamilies, SignMetrics, VerifyFamilies};
use crate::domain::{EndpointName, FailureClass, MerchantNo, SignCheck, Timestamp};

/// Before every name but those of the process, which are the same for all programs.
pub const PREFIX: &str = "vexora_relay";

type FloatGauge = Gauge<f64, AtomicU64>;

/// For what takes no longer than the disk, in seconds: a quarter of a millisecond to ten seconds.
const INSTANT_BUCKETS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// For requests that we make, in seconds: to the longest usual timeout.
const NETWORK_BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

/// For what may wait for somebody else, in seconds: to three days.
const LONG_BUCKETS: [f64; 15] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0,
    259_200.0,
];

/// All that is counted in one relay.
pub struct Metrics {
    registry: Registry,
    callbacks: CallbackMetrics,
    signs: Family<OfMerchantSign, Counter>,
    signs_of: RwLock<HashMap<MerchantNo, SignMetrics>>,
    verify: VerifyFamilies,
    deliver: DeliverFamilies,
    commits: Arc<CommitMetrics>,
    retention: Arc<RetentionMetrics>,
    connections: Gauge,
    reloads: Family<OfOutcome, Counter>,
    reload_succeeded: Gauge,
    reloaded_at: FloatGauge,
    history: History,
    /// In milliseconds since 1970; 0: there is none.
    certificate_expires: AtomicU64,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// An open connection; dropped when it ends.
#[derive(Debug)]
pub struct Connection(Gauge);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Metrics {
    /// Nothing counted yet, in a process that began `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let mut whole = Registry::default();
        let started: FloatGauge = Gauge::default();
        started.set(seconds(now));
        whole.register_with_unit(
            "process_start_time",
            "When this process began, in seconds since 1970",
            Unit::Seconds,
            started,
        );
        let registry = whole.sub_registry_with_prefix(PREFIX);
        let version = env!("CARGO_PKG_VERSION");
        registry.register("build", "What runs", Info::new(Build { version }));
        let commits = Arc::new(CommitMetrics::default());
        let callbacks = CallbackMetrics::new(registry);
        let signs = Family::default();
        registry.register(
            "callback_signs",
            "Callbacks that were made durable or refused for their sign, by how that sign checked",
            Family::clone(&signs),
        );
        let (verify, deliver) = (
            VerifyFamilies::new(registry),
            DeliverFamilies::new(registry),
        );
        commits.register(registry);
        let retention = RetentionMetrics::new(now, registry);
        let connections = Gauge::default();
        registry.register(
            "connections",
            "Open connections to the public listener",
            connections.clone(),
        );
        let reloads = Family::default();
        registry.register(
            "config_reloads",
            "Times that the configuration was read again, by outcome: success or failure",
            Family::clone(&reloads),
        );
        for outcome in ["success", "failure"] {
            drop(reloads.get_or_create(&OfOutcome { outcome }));
        }
        let (reload_succeeded, reloaded_at) = (Gauge::default(), Gauge::default());
        reload_succeeded.set(1);
        reloaded_at.set(seconds(now));
        registry.register(
            "config_last_reload_successful",
            "Whether the configuration was taken over when it was last read: 1, or 0 while an older one is in force",
            reload_succeeded.clone(),
        );
        registry.register_with_unit(
            "config_last_reload_success_timestamp",
            "When the configuration in force was taken over, in seconds since 1970",
            Unit::Seconds,
            Gauge::clone(&reloaded_at),
        );
        Self {
            registry: whole,
            callbacks,
            signs,
            signs_of: RwLock::default(),
            verify,
            deliver,
            commits,
            retention,
            connections,
            reloads,
            reload_succeeded,
            reloaded_at,
            history: History::since(now),
            certificate_expires: AtomicU64::new(0),
        }
    }

    /// For the store.
    #[must_use]
    pub fn commits(&self) -> Arc<CommitMetrics> {
        Arc::clone(&self.commits)
    }

    /// For the passes of retention.
    #[must_use]
    pub fn retention(&self) -> Arc<RetentionMetrics> {
        Arc::clone(&self.retention)
    }

    /// For a merchant's verifiers.
    #[must_use]
    pub fn verify(&self, merchant: &MerchantNo) -> VerifyMetrics {
        self.verify.of(merchant)
    }

    /// For an endpoint's deliverer.
    #[must_use]
    pub fn deliver(&self, endpoint: &EndpointName) -> DeliverMetrics {
        self.deliver.of(endpoint)
    }

    /// How attempts at an endpoint went since the process began.
    #[must_use]
    pub fn tries(&self, endpoint: &EndpointName) -> Tries {
        self.deliver.tries(endpoint)
    }

    /// The last day.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Makes a merchant's series appear, at zero, before it has had a callback.
    pub fn expect_merchant(&self, merchant: &MerchantNo) {
        let mut known = self
            .signs_of
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known
            .entry(merchant.clone())
            .or_insert_with(|| SignMetrics::new(&self.signs, merchant));
    }

    /// A callback was made durable, and took so long.
    pub fn callback_accepted(
        &self,
        merchant: &MerchantNo,
        sign: SignCheck,
        recognized: bool,
        took: Duration,
    ) {
        self.callbacks.accepted(recognized, took);
        self.count_sign(merchant, sign);
        self.history.accepted(took);
    }

    /// A callback is not taken for its sign; the request is counted as refused apart from this.
    pub fn callback_with_bad_sign(&self, merchant: &MerchantNo, sign: SignCheck) {
        self.count_sign(merchant, sign);
    }

    /// A request to the public listener was refused with this code.
    pub fn callback_refused(&self, code: &str) {
        self.callbacks.refused(code);
        self.history.refused();
    }

    fn count_sign(&self, merchant: &MerchantNo, sign: SignCheck) {
        let known = self.signs_of.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(signs) = known.get(merchant) {
            signs.count(sign);
        }
    }

    /// Whether the provider's breaker is open for a merchant.
    pub fn provider_is_down(&self, merchant: &MerchantNo, down: bool) {
        self.verify.provider_is_down(merchant, down);
    }

    /// Whether it was last said to be open.
    #[must_use]
    pub fn is_provider_down(&self, merchant: &MerchantNo) -> bool {
        self.verify.is_provider_down(merchant)
    }

    /// A merchant is not asked about any more, or by somebody new.
    pub fn forget_provider(&self, merchant: &MerchantNo) {
        self.verify.forget_provider(merchant);
    }

    /// A query was answered with a status, or failed in a way of this class. `lag`: how long after the callback that caused it there was
    /// an event.
    pub fn queried(
        &self,
        own: &VerifyMetrics,
        outcome: Result<&str, &str>,
        took: Duration,
        lag: Option<Duration>,
    ) {
        let (Ok(word) | Err(word)) = outcome;
        own.queried(word, took, lag);
        self.history.queried(outcome.is_ok());
    }

    /// An attempt ended.
    pub fn attempted(&self, own: &DeliverMetrics, failure: Option<FailureClass>, took: Duration) {
        own.attempted(failure, took);
        if failure.is_some() {
            self.history.attempt_failed();
        }
    }

    /// An event arrived, so long after it was made; `None` for one that was told again.
    pub fn delivered(&self, own: &DeliverMetrics, after: Option<Duration>) {
        own.delivered(after);
        self.history.delivered(after);
    }

    /// A connection to the public listener was made.
    #[must_use]
    pub fn connected(&self) -> Connection {
        self.connections.inc();
        Connection(self.connections.clone())
    }

    /// The configuration was read again, and taken over or not.
    pub fn reloaded(&self, now: Timestamp, success: bool) {
        let outcome = if success { "success" } else { "failure" };
        self.reloads.get_or_create(&OfOutcome { outcome }).inc();
        self.reload_succeeded.set(i64::from(success));
        if success {
            self.reloaded_at.set(seconds(now));
        }
    }

    /// New connections are met with a certificate that expires then.
    pub fn certificate_is_good_until(&self, expires: Timestamp) {
        let millis = expires.as_millis();
        self.certificate_expires.store(millis, Ordering::Relaxed);
    }

    /// When the listener's certificate expires, if it has one.
    #[must_use]
    pub fn certificate_expires(&self) -> Option<Timestamp> {
        let millis = self.certificate_expires.load(Ordering::Relaxed);
        (millis > 0).then(|| Timestamp::from_millis(millis))
    }

    /// Everything as OpenMetrics text, with what was `read` for this answer.
    ///
    /// # Errors
    /// Never, into a string.
    pub fn text(&self, read: &Reading) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &read.registry())?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// Since 1970, as Prometheus counts.
fn seconds(at: Timestamp) -> f64 {
    at.since(Timestamp::from_millis(0)).as_secs_f64()
}
