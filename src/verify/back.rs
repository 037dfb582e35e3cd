//! What a verifier does when the provider goes down or is back: it says so, and nobody waits out what its absence made long.

use super::Verifier;
use crate::domain::{MerchantNo, OperationalEvent, Timestamp, VerifyLane};
use crate::store::{Lane, StoreError};

/// Verifications looked at in one transaction when the provider is back.
const HASTEN_BATCH: usize = 500;

impl Verifier {
    pub(super) async fn tell(&self, news: OperationalEvent) {
        let now = self.parts.clock.now();
        let (fresh, routing) = (
            self.parts.entropy.event_id(now),
            self.parts.routing.load_full(),
        );
        if let Err(error) = self.parts.store.publish(fresh, now, news, routing).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "news of the provider could not be stored; nobody is told"
            );
        }
    }

    /// The provider is back since `back`: nobody waits out a schedule that its absence made long.
    pub(super) async fn hasten_all(&self, back: Timestamp) {
        self.parts.provider.note_back(self.parts.clock.now());
        for merchant in self.parts.provider.merchants() {
            for lane in [VerifyLane::Main, VerifyLane::Open] {
                if let Err(error) = self.hasten_lane(&merchant, lane, back).await {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "verifications could not be moved up; they come by their own schedule"
                    );
                }
            }
        }
    }

    async fn hasten_lane(
        &self,
        merchant: &MerchantNo,
        lane: VerifyLane,
        back: Timestamp,
    ) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let mut from = None;
        loop {
            let step = store
                .hasten_verifications(merchant, lane, back, from, HASTEN_BATCH)
                .await?;
            from = step.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether the provider is down, to whoever watches the metrics.
    pub fn show_provider(&self) {
        let provider = &self.parts.provider;
        let down = provider.breaker().is_open();
        for merchant in provider.merchants() {
            self.parts.metrics.provider_is_down(&merchant, down);
        }
    }

    pub(super) fn ring_all(&self) {
        for merchant in self.parts.provider.merchants() {
            for lane in [VerifyLane::Main, VerifyLane::Open] {
                let lane = Lane::Verify(merchant.clone(), lane);
                self.parts.store.signals().ring(&lane);
            }
        }
    }
}
