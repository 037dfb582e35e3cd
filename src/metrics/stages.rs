//! What the stages count, each part with its labels looked up once: counting is then an addition.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{
    OfEndpoint, OfEndpointOutcome, OfMerchant, OfMerchantOutcome, OfMerchantSign, OfOutcome,
};
use super::{INSTANT_BUCKETS, LONG_BUCKETS, NETWORK_BUCKETS};
use crate::domain::{EndpointName, FailureClass, MerchantNo, SignCheck};

/// Why a request to the public listener was refused: the stable `code` of its answer. Another code is counted as
/// `other`.
pub const REFUSALS: &[&str] = &[
    "address_not_allowed",
    "bad_sign",
    "body_too_large",
    "broken_body",
    "empty_body",
    "method_not_allowed",
    "not_durable",
    "not_found",
    "rate_limited",
    "request_timeout",
    "unsupported_encoding",
    "other",
];

/// What a query was answered: a status in words, or the class of its failure.
const ANSWERS: &[&str] = &[
    "pending",
    "under_review",
    "approved",
    "rejected",
    "unknown",
    "connect",
    "timeout",
    "status",
    "not_json",
    "refused",
    "unreadable",
    "interrupted",
    "other",
];

/// Counters by a fixed word.
#[derive(Clone, Debug)]
struct Words(Vec<(&'static str, Counter)>);

impl Words {
    fn of(words: &[&'static str], counter: impl Fn(&'static str) -> Counter) -> Self {
        Self(words.iter().map(|word| (*word, counter(word))).collect())
    }

    /// A word that is not among them counts as the last.
    fn count(&self, word: &str) {
        let found = self.0.iter().find(|(known, _)| *known == word);
        if let Some((_, counter)) = found.or(self.0.last()) {
            counter.inc();
        }
    }
}

/// The public listener's requests.
#[derive(Debug)]
pub(super) struct CallbackMetrics {
    accepted: Counter,
    unrecognized: Counter,
    refused: Words,
    took: Histogram,
}

impl CallbackMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let outcomes: Family<OfOutcome, Counter> = Family::default();
        registry.register(
            "callbacks",
            "Requests to the public listener by outcome: accepted, unrecognized (kept, but no user id was found), or the code of the refusal",
            outcomes.clone(),
        );
        let took = Histogram::new(INSTANT_BUCKETS);
        registry.register_with_unit(
            "callback_accept",
            "From a callback's last byte until it was durable",
            Unit::Seconds,
            took.clone(),
        );
        let counter = |outcome| outcomes.get_or_create_owned(&OfOutcome { outcome });
        Self {
            accepted: counter("accepted"),
            unrecognized: counter("unrecognized"),
            refused: Words::of(REFUSALS, counter),
            took,
        }
    }

    pub(super) fn accepted(&self, recognized: bool, took: Duration) {
        let counter = if recognized {
            &self.accepted
        } else {
            &self.unrecognized
        };
        counter.inc();
        self.took.observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self, code: &str) {
        self.refused.count(code);
    }
}

/// How the signs of one merchant's callbacks checked.
#[derive(Clone, Debug)]
pub(super) struct SignMetrics {
    valid: Counter,
    invalid: Counter,
    missing: Counter,
}

impl SignMetrics {
    pub(super) fn new(family: &Family<OfMerchantSign, Counter>, merchant: &MerchantNo) -> Self {
        let counter = |sign: SignCheck| {
            family.get_or_create_owned(&OfMerchantSign {
                merchant: merchant.into(),
                sign: sign.as_str(),
            })
        };
        Self {
            valid: counter(SignCheck::Valid),
            invalid: counter(SignCheck::Invalid),
            missing: counter(SignCheck::Missing),
        }
    }

    pub(super) fn count(&self, sign: SignCheck) {
        match sign {
            SignCheck::Valid => self.valid.inc(),
            SignCheck::Invalid => self.invalid.inc(),
            SignCheck::Missing => self.missing.inc(),
        };
    }
}

/// The verify stage, over all merchants.
#[derive(Debug)]
pub(super) struct VerifyFamilies {
    answers: Family<OfMerchantOutcome, Counter>,
    took: Family<OfMerchant, Histogram>,
    lag: Family<OfMerchant, Histogram>,
    down: Family<OfMerchant, Gauge>,
    failures: Family<OfMerchant, Counter>,
}

impl VerifyFamilies {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let families = Self {
            answers: Family::default(),
            took: Family::new_with_constructor(|| Histogram::new(NETWORK_BUCKETS)),
            lag: Family::new_with_constructor(|| Histogram::new(LONG_BUCKETS)),
            down: Family::default(),
            failures: Family::default(),
        };
        registry.register(
            "verification_queries",
            "Status queries by what was answered: a status in words, or the class of the failure",
            families.answers.clone(),
        );
        registry.register_with_unit(
            "verification_query",
            "How long a status query took",
            Unit::Seconds,
            families.took.clone(),
        );
        registry.register_with_unit(
            "verification_lag",
            "From a user's first callback since the event before until the event that it led to",
            Unit::Seconds,
            families.lag.clone(),
        );
        registry.register(
            "provider_down",
            "Whether the provider's breaker is open for this merchant: 1 while queries are held but for one probe at a time",
            families.down.clone(),
        );
        registry.register(
            "provider_failures",
            "Queries that speak of the provider as a whole: no connection, a timeout, not 200, or not JSON",
            families.failures.clone(),
        );
        families
    }

    pub(super) fn provider_is_down(&self, merchant: &MerchantNo, down: bool) {
        let merchant = merchant.into();
        let gauge = self.down.get_or_create(&OfMerchant { merchant });
        gauge.set(i64::from(down));
    }

    pub(super) fn is_provider_down(&self, merchant: &MerchantNo) -> bool {
        let merchant = merchant.into();
        let gauge = self.down.get(&OfMerchant { merchant });
        gauge.is_some_and(|gauge| gauge.get() > 0)
    }

    pub(super) fn forget_provider(&self, merchant: &MerchantNo) {
        let merchant = merchant.into();
        self.down.remove(&OfMerchant { merchant });
    }

    pub(super) fn of(&self, merchant: &MerchantNo) -> VerifyMetrics {
        let own = OfMerchant {
            merchant: merchant.into(),
        };
        VerifyMetrics {
            answers: Words::of(ANSWERS, |outcome| {
                self.answers.get_or_create_owned(&OfMerchantOutcome {
                    merchant: merchant.into(),
                    outcome,
                })
            }),
            took: self.took.get_or_create_owned(&own),
            lag: self.lag.get_or_create_owned(&own),
            failures: self.failures.get_or_create_owned(&own),
        }
    }
}

/// One merchant's verifications.
#[derive(Clone, Debug)]
pub struct VerifyMetrics {
    answers: Words,
    took: Histogram,
    lag: Histogram,
    failures: Counter,
}

impl VerifyMetrics {
    pub(super) fn queried(&self, outcome: &str, took: Duration, lag: Option<Duration>) {
        self.answers.count(outcome);
        self.took.observe(took.as_secs_f64());
        if let Some(lag) = lag {
            self.lag.observe(lag.as_secs_f64());
        }
    }

    /// A query failed in a way that speaks of the provider as a whole.
    pub fn provider_failed(&self) {
        self.failures.inc();
    }
}

/// Attempts at an endpoint since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Those that it took.
    pub good: u64,
    /// Those that failed.
    pub bad: u64,
}

/// The deliver stage, over all endpoints.
#[derive(Debug)]
pub(super) struct DeliverFamilies {
    attempts: Family<OfEndpointOutcome, Counter>,
    took: Family<OfEndpoint, Histogram>,
    settled: Family<OfEndpointOutcome, Counter>,
    latency: Family<OfEndpoint, Histogram>,
}

impl DeliverFamilies {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let families = Self {
            attempts: Family::default(),
            took: Family::new_with_constructor(|| Histogram::new(NETWORK_BUCKETS)),
            settled: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LONG_BUCKETS)),
        };
        registry.register(
            "delivery_attempts",
            "Attempts by endpoint and outcome: delivered, or the class of the failure",
            families.attempts.clone(),
        );
        registry.register_with_unit(
            "delivery_attempt",
            "How long an attempt took",
            Unit::Seconds,
            families.took.clone(),
        );
        registry.register(
            "deliveries",
            "Deliveries that ended, by endpoint and outcome: delivered or abandoned; discarded ones are not counted",
            families.settled.clone(),
        );
        registry.register_with_unit(
            "delivery_latency",
            "From an event's making to its delivery; replays are left out",
            Unit::Seconds,
            families.latency.clone(),
        );
        families
    }

    /// How attempts went at an endpoint. One that was never tried gets no series by being asked about.
    pub(super) fn tries(&self, endpoint: &EndpointName) -> Tries {
        let count = |outcome| {
            let of = OfEndpointOutcome {
                endpoint: endpoint.into(),
                outcome,
            };
            self.attempts.get(&of).map_or(0, |counter| counter.get())
        };
        Tries {
            good: count("delivered"),
            bad: FailureClass::ALL
                .iter()
                .map(|class| count(class.as_str()))
                .sum(),
        }
    }

    pub(super) fn of(&self, endpoint: &EndpointName) -> DeliverMetrics {
        let own = OfEndpoint {
            endpoint: endpoint.into(),
        };
        let counter = |family: &Family<OfEndpointOutcome, Counter>, outcome| {
            family.get_or_create_owned(&OfEndpointOutcome {
                endpoint: endpoint.into(),
                outcome,
            })
        };
        let mut outcomes = vec!["delivered"];
        outcomes.extend(FailureClass::ALL.iter().map(|class| class.as_str()));
        DeliverMetrics {
            attempts: Words::of(&outcomes, |outcome| counter(&self.attempts, outcome)),
            took: self.took.get_or_create_owned(&own),
            delivered: counter(&self.settled, "delivered"),
            abandoned: counter(&self.settled, "abandoned"),
            latency: self.latency.get_or_create_owned(&own),
        }
    }
}

/// One endpoint's deliveries.
#[derive(Clone, Debug)]
pub struct DeliverMetrics {
    attempts: Words,
    took: Histogram,
    delivered: Counter,
    abandoned: Counter,
    latency: Histogram,
}

impl DeliverMetrics {
    pub(super) fn attempted(&self, failure: Option<FailureClass>, took: Duration) {
        let outcome = failure.map_or("delivered", FailureClass::as_str);
        self.attempts.count(outcome);
        self.took.observe(took.as_secs_f64());
    }

    pub(super) fn delivered(&self, after: Option<Duration>) {
        self.delivered.inc();
        if let Some(after) = after {
            self.latency.observe(after.as_secs_f64());
        }
    }

    /// A delivery was abandoned.
    pub fn abandoned(&self) {
        self.abandoned.inc();
    }
}
