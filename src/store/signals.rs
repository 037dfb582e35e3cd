//! Wake-ups: a hint that a lane has work. Losing one costs a fallback poll, never work. And who takes work as it comes,
//! without being waked for a look.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::{DeliveryClaim, VerifyClaim};
use crate::domain::{EndpointName, MerchantNo, Timestamp, VerifyLane};

/// A queue that one worker looks after.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Verifications of one merchant.
    Verify(MerchantNo, VerifyLane),
    /// Deliveries of one endpoint.
    Deliver(EndpointName),
}

/// Room for one piece of work, kept until it is dropped. Whoever adds work that nothing goes before may claim it for a free
/// hand in the same transaction, and begins it once that counts.
pub struct Hand<C> {
    /// When it was given: the claim is the worker's from then on.
    pub from: Timestamp,
    /// How long it is the worker's.
    pub lease: Duration,
    /// Takes the piece, which counts against the worker's limits from here on.
    pub take: Box<dyn FnOnce(C) -> Begin + Send>,
}

/// Begins work. Does not block.
pub type Begin = Box<dyn FnOnce() + Send>;

impl<C> fmt::Debug for Hand<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hand")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// Gives a free hand, if a worker's limits allow one more piece now.
type Offer<C> = dyn Fn() -> Option<Hand<C>> + Send + Sync;

/// A worker is ready to take work as it comes; until this is dropped, or another one takes its place.
pub struct Standby<C> {
    _offer: Arc<Offer<C>>,
}

impl<C> fmt::Debug for Standby<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standby")
    }
}

/// Who is ready, by lane.
struct Roster<K, C>(RwLock<HashMap<K, Weak<Offer<C>>>>);

impl<K, C> Default for Roster<K, C> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K, C> fmt::Debug for Roster<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roster")
    }
}

impl<K: Eq + Hash, C> Roster<K, C> {
    fn join(&self, lane: K, offer: Arc<Offer<C>>) -> Standby<C> {
        let mut ready = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ready.retain(|_, offer| offer.strong_count() > 0);
        ready.insert(lane, Arc::downgrade(&offer));
        Standby { _offer: offer }
    }

    fn hand(&self, lane: &K) -> Option<Hand<C>> {
        let ready = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let offer = ready.get(lane)?.upgrade()?;
        drop(ready);
        offer()
    }
}

/// One bell per lane. A bell remembers one ring, so a worker that arms it before looking misses nothing.
#[derive(Debug, Default)]
pub struct Signals {
    bells: Mutex<HashMap<Lane, Arc<Notify>>>,
    deliverers: Roster<EndpointName, DeliveryClaim>,
    verifiers: Roster<MerchantNo, VerifyClaim>,
}

impl Signals {
    /// The lane's bell.
    #[must_use]
    pub fn bell(&self, lane: &Lane) -> Arc<Notify> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bells.entry(lane.clone()).or_default())
    }

    /// Rings, if anyone listens on this lane.
    pub fn ring(&self, lane: &Lane) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(lane) {
            bell.notify_one();
        }
    }

    /// Has deliveries of an endpoint that come in from now on handed to its worker, as far as it gives a hand. Nothing that
    /// was there before is.
    pub fn stand_by_deliveries(
        &self,
        endpoint: EndpointName,
        offer: impl Fn() -> Option<Hand<DeliveryClaim>> + Send + Sync + 'static,
    ) -> Standby<DeliveryClaim> {
        self.deliverers.join(endpoint, Arc::new(offer))
    }

    /// Likewise for those verifications of a merchant that somebody trusted has rung for.
    pub fn stand_by_verifications(
        &self,
        merchant: MerchantNo,
        offer: impl Fn() -> Option<Hand<VerifyClaim>> + Send + Sync + 'static,
    ) -> Standby<VerifyClaim> {
        self.verifiers.join(merchant, Arc::new(offer))
    }

    /// A free hand for a delivery of an endpoint.
    #[must_use]
    pub fn deliverer(&self, endpoint: &EndpointName) -> Option<Hand<DeliveryClaim>> {
        self.deliverers.hand(endpoint)
    }

    /// A free hand for a verification of a merchant.
    #[must_use]
    pub fn verifier(&self, merchant: &MerchantNo) -> Option<Hand<VerifyClaim>> {
        self.verifiers.hand(merchant)
    }
}
