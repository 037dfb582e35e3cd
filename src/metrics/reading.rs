//! What is read for one answer: that which the store, the disk and the process know better than any counter.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{Name, OfEndpoint, OfLane, OfPart, OfReason};
use super::{FloatGauge, PREFIX, seconds};
use crate::domain::{EndpointName, MerchantNo, Timestamp, VerifyLane};

/// Why the relay may not be ready: the codes of `/readyz`. Another one shows as `other`.
pub const REASONS: &[&str] = &[
    "disk_low",
    "starting",
    "stopping",
    "store_failed",
    "work_late",
    "worker_stuck",
    "other",
];

/// One endpoint as it stands.
#[derive(Clone, Debug)]
pub struct EndpointReading {
    /// Its name.
    pub name: EndpointName,
    /// It is not in the configuration any more.
    pub orphaned: bool,
    /// Its breaker is closed.
    pub up: bool,
    /// It is paused.
    pub paused: bool,
    /// Deliveries not settled.
    pub pending: u64,
    /// Deliveries that the relay gave up.
    pub abandoned: u64,
    /// For how long its oldest due delivery has been due.
    pub overdue: Duration,
}

impl EndpointReading {
    const fn is_held(&self) -> bool {
        !self.up || self.paused
    }
}

/// One lane of verifications as it stands.
#[derive(Clone, Debug)]
pub struct LaneReading {
    /// Whose.
    pub merchant: MerchantNo,
    /// Which.
    pub lane: VerifyLane,
    /// For how long its oldest due verification has been due.
    pub overdue: Duration,
}

/// What the store said.
#[derive(Clone, Debug, Default)]
pub struct StoreReading {
    /// Verifications under way.
    pub verifications: u64,
    /// Verifications that were given up on.
    pub stuck: u64,
    /// Callbacks kept in which no user id was found.
    pub unrecognized: u64,
    /// Each merchant's lanes.
    pub lanes: Vec<LaneReading>,
    /// Each endpoint.
    pub endpoints: Vec<EndpointReading>,
}

/// What was read; what could not be is left out of the answer.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Codes of what stands against readiness.
    pub unready: Vec<String>,
    /// `None`: the store could not be read.
    pub store: Option<StoreReading>,
    /// Bytes in the parts of the data directory.
    pub parts: Vec<(&'static str, u64)>,
    /// Free bytes on its disk.
    pub disk_free: Option<u64>,
    /// `store.min_free`.
    pub min_free: u64,
    /// Resident memory in bytes.
    pub memory: Option<u64>,
    /// When the listener's certificate expires, if it has one.
    pub certificate_expires: Option<Timestamp>,
}

/// Registers a family and returns it.
fn family<
    S: EncodeLabelSet + Clone + std::hash::Hash + Eq + Send + Sync + std::fmt::Debug + 'static,
>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    unit: Option<Unit>,
) -> Family<S, FloatGauge> {
    let family = Family::default();
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, Family::clone(&family)),
        None => registry.register(name, help, Family::clone(&family)),
    }
    family
}

fn single(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>, value: f64) {
    let gauge: FloatGauge = FloatGauge::default();
    gauge.set(value);
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, gauge),
        None => registry.register(name, help, gauge),
    }
}

/// Counts and bytes are exact up to 2^53, which no store reaches.
#[allow(clippy::cast_precision_loss, reason = "exact as far as it matters")]
const fn number(value: u64) -> f64 {
    value as f64
}

impl Reading {
    pub(super) fn registry(&self) -> Registry {
        let mut whole = Registry::default();
        if let Some(memory) = self.memory {
            let help = "Resident memory of this process";
            single(
                &mut whole,
                "process_resident_memory",
                help,
                Some(Unit::Bytes),
                number(memory),
            );
        }
        let registry = whole.sub_registry_with_prefix(PREFIX);
        self.readiness(registry);
        self.disk(registry);
        if let Some(at) = self.certificate_expires {
            let help = "When the certificate of server.tls expires, in seconds since 1970";
            let name = "tls_certificate_expiry_timestamp";
            single(registry, name, help, Some(Unit::Seconds), seconds(at));
        }
        let help = "Whether the store could be read for this answer; if not, what it would have said is missing here";
        let readable = f64::from(u8::from(self.store.is_some()));
        single(registry, "store_readable", help, None, readable);
        if let Some(store) = &self.store {
            store.verifications(registry);
            store.endpoints(registry);
        }
        whole
    }

    fn readiness(&self, registry: &mut Registry) {
        let help = "Whether /readyz says yes";
        let ready = f64::from(u8::from(self.unready.is_empty()));
        single(registry, "ready", help, None, ready);
        let help = "What stands against readiness: 1 for each reason that /readyz names";
        let unready = family(registry, "unready", help, None);
        for reason in REASONS {
            unready.get_or_create(&OfReason { reason }).set(0.0);
        }
        for given in &self.unready {
            let known = REASONS.iter().find(|reason| *reason == given);
            let reason = known.copied().unwrap_or("other");
            unready.get_or_create(&OfReason { reason }).set(1.0);
        }
    }

    fn disk(&self, registry: &mut Registry) {
        if let Some(free) = self.disk_free {
            let help = "Free space on the disk of the data directory";
            single(registry, "disk_free", help, Some(Unit::Bytes), number(free));
        }
        let help = "store.min_free: with less free space than this, callbacks are answered 503";
        single(
            registry,
            "disk_min_free",
            help,
            Some(Unit::Bytes),
            number(self.min_free),
        );
        let help = "Size of the parts of the data directory";
        let sizes = family(registry, "store_size", help, Some(Unit::Bytes));
        for (part, bytes) in &self.parts {
            sizes.get_or_create(&OfPart { part }).set(number(*bytes));
        }
    }
}

impl StoreReading {
    fn verifications(&self, registry: &mut Registry) {
        let help = "Users who are asked about until their result is final";
        single(
            registry,
            "verifications_pending",
            help,
            None,
            number(self.verifications),
        );
        let help =
            "Users without a final result within verify.give_up_after, asked about once a day";
        single(
            registry,
            "verifications_stuck",
            help,
            None,
            number(self.stuck),
        );
        let help = "Callbacks that are kept and in which no user id was found";
        single(
            registry,
            "callbacks_kept_unrecognized",
            help,
            None,
            number(self.unrecognized),
        );
        let help = "For how long the oldest due verification has been due; 0 if none is";
        let overdue = family(registry, "verification_overdue", help, Some(Unit::Seconds));
        for lane in &self.lanes {
            let labels = OfLane {
                merchant: (&lane.merchant).into(),
                lane: match lane.lane {
                    VerifyLane::Main => "main",
                    VerifyLane::Open => "open",
                },
            };
            overdue
                .get_or_create(&labels)
                .set(lane.overdue.as_secs_f64());
        }
    }

    fn endpoints(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, help: &str, unit, value: fn(&EndpointReading) -> f64| {
            let family = family(registry, name, help, unit);
            for one in &self.endpoints {
                let endpoint = Name::from(&one.name);
                family
                    .get_or_create(&OfEndpoint { endpoint })
                    .set(value(one));
            }
        };
        gauge(
            "endpoint_up",
            "0 while an endpoint's breaker is open: its deliveries are held but for one probe at a time",
            None,
            |one| f64::from(u8::from(one.up)),
        );
        gauge(
            "endpoint_paused",
            "1 while an endpoint is paused, by an operator or by its own 410",
            None,
            |one| f64::from(u8::from(one.paused)),
        );
        gauge(
            "endpoint_orphaned",
            "1 for an endpoint that has deliveries and is not in the configuration",
            None,
            |one| f64::from(u8::from(one.orphaned)),
        );
        gauge(
            "deliveries_waiting",
            "Deliveries that are not settled and go out when they are due",
            None,
            |one| number(if one.is_held() { 0 } else { one.pending }),
        );
        gauge(
            "deliveries_held",
            "Deliveries that wait for an endpoint to be up or resumed",
            None,
            |one| number(if one.is_held() { one.pending } else { 0 }),
        );
        gauge(
            "deliveries_abandoned",
            "Deliveries that the relay gave up and nobody has retried or discarded since",
            None,
            |one| number(one.abandoned),
        );
        gauge(
            "delivery_overdue",
            "For how long the oldest due delivery has been due; 0 if none is",
            Some(Unit::Seconds),
            |one| one.overdue.as_secs_f64(),
        );
    }
}
