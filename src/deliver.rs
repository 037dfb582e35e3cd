//! The deliver stage: tells one endpoint what it subscribed to, and records each attempt.
//!
//! Promises: each attempt is counted before it is sent and recorded after; the `webhook-id` is the event's, on every
//! attempt; one endpoint's troubles are its own, because each has its own worker, connections, permits and pace.

mod ahead;
mod attempt;
mod jobs;
mod payload;
mod recording;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

pub use attempt::{Sender, Target, WireFormat, retry_after};
pub use jobs::Jobs;
pub use payload::{standard_payload, vexora_payload};

use self::ahead::Ahead;
use crate::clock::{Clock, Entropy};
use crate::domain::{DeliveryPolicy, Ease, EndpointName, Pace, Routing, Timestamp};
use crate::metrics::{DeliverMetrics, Metrics};
use crate::store::{DeliveryClaim, Hand, Lane, Store, StoreError};
use crate::worker::{Hands, Rates, Stage};

/// How long after an attempt's own timeout its outcome may still be recorded before somebody else may try.
const LEASE_SLACK: Duration = Duration::from_secs(20);

/// What may change while the relay runs.
#[derive(Clone, Debug)]
pub struct DelivererSettings {
    /// `retry`, `jitter`, `give_up_after`.
    pub policy: DeliveryPolicy,
    /// How attempts are sent.
    pub sender: Sender,
}

/// Who and what a deliverer works with.
pub struct DelivererParts {
    /// The endpoint.
    pub endpoint: EndpointName,
    /// Attempts out at a time.
    pub concurrency: usize,
    /// Attempts within a time; `None`: off.
    pub pace: Option<Pace>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// Who is to hear when a delivery is abandoned.
    pub routing: Arc<ArcSwap<Routing>>,
    /// What may change.
    pub settings: Arc<ArcSwap<DelivererSettings>>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

/// Does the deliveries of one endpoint.
pub struct Deliverer {
    parts: DelivererParts,
    permits: Arc<Semaphore>,
    rates: Rates,
    bell: Arc<Notify>,
    /// What the endpoint is spared.
    ease: Mutex<Ease>,
    /// Attempts under way.
    out: AtomicUsize,
    ahead: Ahead,
    /// When it was last seen to be up again; milliseconds.
    up_since: AtomicU64,
    metrics: DeliverMetrics,
}

impl Deliverer {
    /// A deliverer for one endpoint.
    #[must_use]
    pub fn new(parts: DelivererParts) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(parts.concurrency)),
            rates: Rates::of(parts.pace.map(|pace| Arc::new(Mutex::new(pace)))),
            ease: Mutex::default(),
            out: AtomicUsize::new(0),
            ahead: Ahead::default(),
            up_since: AtomicU64::new(0),
            metrics: parts.metrics.deliver(&parts.endpoint),
            bell: parts
                .store
                .signals()
                .bell(&Lane::Deliver(parts.endpoint.clone())),
            parts,
        }
    }

    /// Whether it is this endpoint's, with these limits: then it can go on with other settings.
    #[must_use]
    pub fn is_for(&self, endpoint: &EndpointName, concurrency: usize, pace: Option<Pace>) -> bool {
        let own = &self.parts;
        own.endpoint == *endpoint && own.concurrency == concurrency && own.pace == pace
    }

    /// Attempts that begin from now on go out with these settings.
    pub fn reload(&self, settings: DelivererSettings) {
        self.parts.settings.store(Arc::new(settings));
    }

    /// Whether one that was heard may be followed by the next in its place, and one that comes in be begun at once: where
    /// a rate or a ramp counts those that go out, the loop claims.
    fn goes_freely(&self) -> bool {
        self.rates.are_off() && !self.ease().is_ramping()
    }

    /// How long a claim is ours.
    fn lease(&self) -> Duration {
        self.parts.settings.load().sender.timeout() + LEASE_SLACK
    }

    /// Room for one that comes in.
    fn hand(self: &Arc<Self>, hands: &Hands) -> Option<Hand<DeliveryClaim>> {
        if !self.goes_freely() {
            return None;
        }
        let held = hands.hold()?;
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let (own, hands) = (Arc::clone(self), hands.clone());
        Some(Hand {
            from: self.parts.clock.now(),
            lease: self.lease(),
            take: Box::new(move |claim| {
                Box::new(move || {
                    own.out.fetch_add(1, Ordering::Relaxed);
                    hands.begin(own, claim, permit);
                    drop(held);
                })
            }),
        })
    }

    fn ease(&self) -> MutexGuard<'_, Ease> {
        self.ease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Stage for Deliverer {
    type Claim = DeliveryClaim;

    fn name(&self) -> String {
        format!("deliver {}", self.parts.endpoint)
    }

    fn permits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.permits)
    }

    fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    async fn claim(&self, limit: usize) -> Result<Vec<DeliveryClaim>, StoreError> {
        let now = self.parts.clock.now();
        let limit = self.ease().allows(limit, self.out.load(Ordering::Relaxed));
        let allowed = self.rates.allow(limit, now);
        let mut claims = Vec::new();
        while claims.len() < allowed
            && let Some(claim) = self.in_hand(true).await
        {
            claims.push(claim);
        }
        if claims.is_empty() {
            let store = &self.parts.store;
            claims = store
                .claim_deliveries(&self.parts.endpoint, now, self.lease(), allowed)
                .await?;
        }
        self.rates.take(claims.len(), now);
        self.out.fetch_add(claims.len(), Ordering::Relaxed);
        if claims.iter().any(|claim| claim.alone) {
            // Before it is known how it went: once that is recorded, whoever claims next must find it so.
            let mut ease = self.ease();
            *ease = ease.recovered();
        }
        Ok(claims)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let lane = Lane::Deliver(self.parts.endpoint.clone());
        let due = self.parts.store.next_due(&lane).await?;
        Ok(due.map(|due| self.rests_until().map_or(due, |until| due.max(until))))
    }

    fn rests_until(&self) -> Option<Timestamp> {
        self.rates.rest_until(self.parts.clock.now())
    }

    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError> {
        if self.is_held().await? {
            return Ok(None);
        }
        let lane = Lane::Deliver(self.parts.endpoint.clone());
        let due = self.parts.store.next_due(&lane).await?;
        // What had to wait for the endpoint is late by its fault until then.
        let up = Timestamp::from_millis(self.up_since.load(Ordering::Relaxed));
        Ok(due.map(|due| due.max(up)))
    }

    async fn is_held(&self) -> Result<bool, StoreError> {
        let health = self.parts.store.health(&self.parts.endpoint).await?;
        // What was held until an operator resumed it is not late before it was eased in.
        Ok(health.holds() || health.resumed.is_some())
    }

    fn stand_by(self: Arc<Self>, hands: &Hands) -> Option<Box<dyn Send>> {
        let (own, hands) = (Arc::clone(&self), hands.clone());
        let signals = self.parts.store.signals();
        let endpoint = self.parts.endpoint.clone();
        let standby = signals.stand_by_deliveries(endpoint, move || own.hand(&hands));
        Some(Box::new(standby))
    }

    async fn perform(
        self: Arc<Self>,
        claim: DeliveryClaim,
        permit: OwnedSemaphorePermit,
        hands: &Hands,
    ) -> Option<(DeliveryClaim, OwnedSemaphorePermit)> {
        self.go_on(claim, permit, hands).await
    }

    async fn ended(&self) {
        self.give_back().await;
    }
}
