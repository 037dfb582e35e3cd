//! The verify stage: asks the provider what is really true, and records what it said.
//!
//! Promises: only the query changes state; one query per user at a time; a flood of forged callbacks keeps to a small
//! lane of its own; while the provider fails as a whole it is left alone but for one probe at a time.

mod answer;
mod apply;
mod back;
mod log;
mod provider;
mod query;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

pub use answer::read_answer;
pub use apply::{Applicant, ApplicantMerchant, Applications, Applied, ApplyError};
pub use provider::{Provider, QueryPermit};
pub use query::{Queried, QueryClient};

use crate::clock::{Clock, Entropy};
use crate::domain::{
    Answer, BreakerChange, MerchantNo, OperationalEvent, Pace, Routing, Secrets, Timestamp,
    Verification, VerifyLane, VerifyPolicy,
};
use crate::metrics::{Metrics, VerifyMetrics};
use crate::store::{AnswerReport, Hand, Lane, Store, StoreError, VerifyClaim};
use crate::worker::{Hands, Rates, Stage};

/// How long after a query's own timeout its result may still be recorded before somebody else may ask.
const LEASE_SLACK: Duration = Duration::from_secs(20);

/// Of a merchant's query rate, the share that callbacks anybody could have sent may use.
const OPEN_SHARE: u32 = 10;

/// What may change while the relay runs.
#[derive(Clone, Debug)]
pub struct VerifierSettings {
    /// `[verify]`.
    pub policy: VerifyPolicy,
    /// The merchant's secrets: the first signs.
    pub app_secret: Secrets,
}

/// Who and what a verifier works with.
pub struct VerifierParts {
    /// The merchant.
    pub merchant: MerchantNo,
    /// Its lane.
    pub lane: VerifyLane,
    /// The provider at this merchant's address, shared by all who ask there.
    pub provider: Arc<Provider>,
    /// The merchant's query rate, shared by both lanes; `None`: off.
    pub pace: Option<Arc<Mutex<Pace>>>,
    /// How many queries may be out, over all merchants.
    pub permits: Arc<Semaphore>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// Who is to hear of results.
    pub routing: Arc<ArcSwap<Routing>>,
    /// What may change.
    pub settings: Arc<ArcSwap<VerifierSettings>>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

/// Does one lane of one merchant.
pub struct Verifier {
    parts: VerifierParts,
    /// The open lane: one query at a time, and a share of the rate. The main lane is bounded by what all share.
    permits: Arc<Semaphore>,
    rates: Rates,
    bell: Arc<Notify>,
    metrics: VerifyMetrics,
}

/// A claimed verification with the leave to ask.
pub struct Asking {
    claim: VerifyClaim,
    permit: QueryPermit,
}

impl Verifier {
    /// A verifier for one lane. `rate` is the merchant's query rate, for the open lane's share of it.
    #[must_use]
    pub fn new(parts: VerifierParts, rate: Option<(std::num::NonZeroU32, Duration)>) -> Self {
        let bell = parts
            .store
            .signals()
            .bell(&Lane::Verify(parts.merchant.clone(), parts.lane));
        parts.provider.note_back(parts.clock.now());
        let (permits, open_pace) = match parts.lane {
            VerifyLane::Main => (Arc::clone(&parts.permits), None),
            VerifyLane::Open => {
                let share = rate.map(|(count, per)| {
                    // A tenth of the rate, kept even by asking once in ten times as long.
                    let pace = Pace::new(count, per.saturating_mul(OPEN_SHARE));
                    Arc::new(Mutex::new(pace.without_burst()))
                });
                (Arc::new(Semaphore::new(1)), share)
            }
        };
        Self {
            metrics: parts.metrics.verify(&parts.merchant),
            rates: Rates::of(parts.pace.clone().into_iter().chain(open_pace)),
            parts,
            permits,
            bell,
        }
    }

    /// Whose lane it is.
    #[must_use]
    pub const fn merchant(&self) -> &MerchantNo {
        &self.parts.merchant
    }

    /// Queries that begin from now on go out with these settings.
    pub fn reload(&self, settings: VerifierSettings) {
        self.parts.settings.store(Arc::new(settings));
    }

    async fn claim_up_to(
        &self,
        limit: usize,
        is_probe: bool,
        now: Timestamp,
    ) -> Result<Vec<VerifyClaim>, StoreError> {
        let (merchant, lane) = (&self.parts.merchant, self.parts.lane);
        let (store, lease) = (&self.parts.store, self.lease());
        let claims = store
            .claim_verifications(merchant, lane, now, lease, limit)
            .await?;
        if !claims.is_empty() || !is_probe {
            return Ok(claims);
        }
        // While the provider is down, schedules grow to an hour: somebody is asked about before that, so that it is
        // noticed within a minute when it is back.
        let hastened = store.hasten_verifications(merchant, lane, now, None, 1);
        if hastened.await?.moved == 0 {
            return Ok(claims);
        }
        store
            .claim_verifications(merchant, lane, now, lease, 1)
            .await
    }

    /// How long a claim is ours.
    fn lease(&self) -> Duration {
        self.parts.provider.timeout() + LEASE_SLACK
    }

    /// Room for one that comes in.
    fn hand(self: &Arc<Self>, hands: &Hands) -> Option<Hand<VerifyClaim>> {
        let now = self.parts.clock.now();
        if self.parts.provider.breaker().is_open() || self.rates.allow(1, now) == 0 {
            return None;
        }
        let held = hands.hold()?;
        let slot = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let permit = self.parts.provider.permits(now, 1).pop()?;
        let (own, hands) = (Arc::clone(self), hands.clone());
        Some(Hand {
            from: now,
            lease: self.lease(),
            take: Box::new(move |claim| {
                own.rates.take(1, now);
                Box::new(move || {
                    hands.begin(own, Asking { claim, permit }, slot);
                    drop(held);
                })
            }),
        })
    }

    async fn record(&self, claim: &VerifyClaim, answer: Answer, began: Timestamp, took: Duration) {
        let now = self.parts.clock.now().max(began);
        let report = AnswerReport {
            answer: answer.clone(),
            now,
            took,
            fresh: self.parts.entropy.event_id(now),
            fresh_too: self.parts.entropy.event_id(now),
            policy: self.parts.settings.load().policy.clone(),
            routing: self.parts.routing.load_full(),
        };
        let recorded = self.parts.store.record_answer(claim, report).await;
        let led_to = recorded.as_ref().ok();
        log::count(
            &self.parts.metrics,
            &self.metrics,
            (&answer, took),
            led_to,
            now,
        );
        match recorded {
            Ok(recorded) => log::answered(claim, &answer, &recorded, took),
            Err(error) => {
                tracing::error!(
                    merchant = %claim.merchant,
                    error = &error as &dyn std::error::Error,
                    "an answer could not be recorded; the user is asked about again when the lease ends"
                );
                // The loop may not know of this lease.
                self.bell.notify_one();
            }
        }
    }
}

#[async_trait]
impl Stage for Verifier {
    type Claim = Asking;

    fn name(&self) -> String {
        format!("verify {} {:?}", self.parts.merchant, self.parts.lane)
    }

    fn permits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.permits)
    }

    fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    async fn claim(&self, limit: usize) -> Result<Vec<Asking>, StoreError> {
        let now = self.parts.clock.now();
        let mut permits = self
            .parts
            .provider
            .permits(now, self.rates.allow(limit, now));
        // Counted before the store is asked: what comes in meanwhile counts too.
        let reserved = permits.len();
        self.rates.take(reserved, now);
        let is_probe = permits.first().is_some_and(QueryPermit::is_probe);
        let claims = self.claim_up_to(reserved, is_probe, now).await;
        let number = claims.as_ref().map_or(0, Vec::len);
        self.rates.give_back(reserved - number.min(reserved));
        permits.truncate(number);
        Ok(claims?
            .into_iter()
            .zip(permits)
            .map(|(claim, permit)| Asking { claim, permit })
            .collect())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let lane = Lane::Verify(self.parts.merchant.clone(), self.parts.lane);
        let Some(due) = self.parts.store.next_due(&lane).await? else {
            return Ok(None);
        };
        let now = self.parts.clock.now();
        // What waits is enough for a probe, due or not.
        let due = if self.parts.provider.breaker().is_open() {
            due.min(now)
        } else {
            due
        };
        let allowed = self.rests_until().map_or(due, |until| due.max(until));
        Ok(Some(allowed.max(self.parts.provider.open_at(now))))
    }

    fn rests_until(&self) -> Option<Timestamp> {
        self.rates.rest_until(self.parts.clock.now())
    }

    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError> {
        // What anybody can make late by forged callbacks must not take callbacks from everyone else.
        if self.parts.lane == VerifyLane::Open || self.is_held().await? {
            return Ok(None);
        }
        // Who is only watched waits for room by design, and what was moved up stands at the hour it began to wait.
        let due = self.parts.store.next_rung(&self.parts.merchant).await?;
        Ok(due.map(|due| due.max(self.parts.provider.back())))
    }

    async fn is_held(&self) -> Result<bool, StoreError> {
        Ok(self.parts.provider.breaker().is_open())
    }

    fn stand_by(self: Arc<Self>, hands: &Hands) -> Option<Box<dyn Send>> {
        // What anybody could have sent keeps to its share.
        if self.parts.lane == VerifyLane::Open {
            return None;
        }
        let (own, hands) = (Arc::clone(&self), hands.clone());
        let signals = self.parts.store.signals();
        let merchant = self.parts.merchant.clone();
        let standby = signals.stand_by_verifications(merchant, move || own.hand(&hands));
        Some(Box::new(standby))
    }

    async fn perform(
        self: Arc<Self>,
        asking: Asking,
        slot: OwnedSemaphorePermit,
        _hands: &Hands,
    ) -> Option<(Asking, OwnedSemaphorePermit)> {
        let Asking { claim, permit } = asking;
        let began = self.parts.clock.now();
        let secrets = self.parts.settings.load();
        let secret = secrets.app_secret.signing();
        let provider = &self.parts.provider;
        // The open lane has a permit of its own; on the wire it counts like any other.
        let wire = match self.parts.lane {
            VerifyLane::Main => None,
            VerifyLane::Open => self.parts.permits.acquire().await.ok(),
        };
        let queried = provider
            .query(&claim.merchant, secret, &claim.user, began)
            .await;
        drop((wire, slot));
        let down = Verification::blames_provider(&queried.answer);
        if down {
            self.metrics.provider_failed();
        }
        let asked = claim.verification.asked.unwrap_or(began);
        // Until all that waits stands in its order nothing else goes out: the probe's leave is held meanwhile.
        let is_back = permit.is_probe() && !down;
        let change = if is_back {
            self.record(&claim, queried.answer, began, queried.took)
                .await;
            self.hasten_all(asked).await;
            permit.answered(down, self.parts.clock.now())
        } else {
            let change = permit.answered(down, self.parts.clock.now());
            self.record(&claim, queried.answer, began, queried.took)
                .await;
            change
        };
        // Each time, so that what a query of the verifier before a reload says does not stay.
        self.show_provider();
        match change {
            BreakerChange::None => {}
            BreakerChange::Opened { since } => {
                tracing::error!(
                    provider = provider.address(),
                    "the provider does not answer: queries are held but for one probe at a time, callbacks are still accepted"
                );
                let address = provider.address().to_owned();
                self.tell(OperationalEvent::ProviderDown { address, since })
                    .await;
            }
            BreakerChange::Closed { since } => {
                tracing::info!(provider = provider.address(), %since, "the provider answers again");
                let address = provider.address().to_owned();
                self.tell(OperationalEvent::ProviderRecovered { address, since })
                    .await;
                if !is_back {
                    // Not a probe, but one that was out when the breaker opened.
                    self.hasten_all(asked).await;
                }
                self.ring_all();
            }
        }
        // All merchants share the permits, and each is to have its turn.
        None
    }
}
