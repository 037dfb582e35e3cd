//! Wake-ups: a hint that a lane has work. Losing one costs a fallback poll, never work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::domain::{EndpointName, MerchantNo, VerifyLane};

/// A queue that one worker looks after.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Verifications of one merchant.
    Verify(MerchantNo, VerifyLane),
    /// Deliveries of one endpoint.
    Deliver(EndpointName),
}

/// One bell per lane. A bell remembers one ring, so a worker that arms it before looking misses nothing.
#[derive(Debug, Default)]
pub struct Signals(Mutex<HashMap<Lane, Arc<Notify>>>);

impl Signals {
    /// The lane's bell.
    #[must_use]
    pub fn bell(&self, lane: &Lane) -> Arc<Notify> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bells.entry(lane.clone()).or_default())
    }

    /// Rings, if anyone listens on this lane.
    pub fn ring(&self, lane: &Lane) {
        let bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(lane) {
            bell.notify_one();
        }
    }
}
