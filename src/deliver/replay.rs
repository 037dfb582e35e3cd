//! Replays under way: worked off in the background, a part each second, so that what is fresh is hardly delayed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::{Replay, ReplayOrder, Routing, Timestamp};
use crate::store::{Store, StoreError};
use crate::worker::Beat;

/// Events looked at in one part, one transaction.
const PART: usize = 200;

/// The time between two parts.
const EVERY: Duration = Duration::from_secs(1);

/// Orders replays and works them off.
pub struct Replays {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    routing: Arc<ArcSwap<Routing>>,
    ordered: Notify,
    next: Mutex<Option<Timestamp>>,
}

impl std::fmt::Debug for Replays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Replays")
    }
}

impl Replays {
    /// Replays of what is in a store.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        routing: Arc<ArcSwap<Routing>>,
    ) -> Self {
        Self {
            store,
            clock,
            routing,
            ordered: Notify::new(),
            next: Mutex::new(None),
        }
    }

    /// How many events an order is about.
    ///
    /// # Errors
    /// The store failed.
    pub async fn count(&self, order: &ReplayOrder) -> Result<u64, StoreError> {
        self.store
            .count_replay(order, self.routing.load_full())
            .await
    }

    /// Counts, and has it done in the background.
    ///
    /// # Errors
    /// The store failed; nothing was ordered.
    pub async fn begin(&self, order: ReplayOrder) -> Result<Replay, StoreError> {
        let total = self.count(&order).await?;
        let replay = self
            .store
            .begin_replay(order, total, self.clock.now())
            .await?;
        tracing::info!(
            endpoint = %replay.order.endpoint, replay = replay.id, total,
            "replay {} of {total} events to {} begins", replay.id, replay.order.endpoint
        );
        self.ordered.notify_one();
        Ok(replay)
    }

    /// Does the next part of each replay, if it is time. Returns how many events were handed on; `None`: none runs.
    ///
    /// # Errors
    /// The store failed.
    pub async fn advance(&self) -> Result<Option<u64>, StoreError> {
        let running = self.store.replays().await?;
        let running: Vec<Replay> = running
            .into_iter()
            .filter(|replay| replay.progress.is_running())
            .collect();
        if running.is_empty() {
            return Ok(None);
        }
        let now = self.clock.now();
        {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            if next.is_some_and(|next| now < next) {
                return Ok(Some(0));
            }
            *next = Some(now.plus(EVERY));
        }
        let mut handed_on = 0;
        for before in running {
            // One whose endpoint is not in the file waits for its return: nothing of it would be wanted.
            let routing = self.routing.load_full();
            if !routing.knows(&before.order.endpoint) {
                continue;
            }
            let advanced = self.store.advance_replay(before.id, PART, now, routing);
            let Some(after) = advanced.await? else {
                continue;
            };
            handed_on += after.done.saturating_sub(before.done);
            if !after.progress.is_running() {
                tracing::info!(
                    endpoint = %after.order.endpoint, replay = after.id, done = after.done,
                    "replay {} is {}: {} events handed on", after.id, after.progress.as_str(), after.done
                );
            }
        }
        Ok(Some(handed_on))
    }

    /// Works replays off until cancelled.
    pub async fn run(&self, beat: Beat, cancel: CancellationToken) {
        loop {
            beat.turn();
            let wake = match self.advance().await {
                Ok(Some(_)) => self.clock.now().plus(EVERY),
                Ok(None) => beat.next(),
                Err(StoreError::Stopping) => return,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a replay could not go on; trying again"
                    );
                    self.clock.now().plus(EVERY)
                }
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.ordered.notified() => {}
                () = self.clock.sleep_until(wake) => {}
            }
        }
    }
}
