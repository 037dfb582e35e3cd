//! Jobs under way: worked off in the background, a part each second, so that what is fresh is hardly delayed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::{Job, JobKind, JobOrder, Routing, Timestamp};
use crate::store::{Store, StoreError};
use crate::worker::Beat;

/// Deliveries dealt with in one part, one transaction.
const PART: usize = 200;

/// The time between two parts.
const EVERY: Duration = Duration::from_secs(1);

/// Orders jobs and works them off.
pub struct Jobs {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    routing: Arc<ArcSwap<Routing>>,
    ordered: Notify,
    next: Mutex<Option<Timestamp>>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jobs")
    }
}

impl Jobs {
    /// Jobs on what is in a store.
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

    /// How many deliveries an order is about.
    ///
    /// # Errors
    /// The store failed.
    pub async fn count(&self, order: &JobOrder) -> Result<u64, StoreError> {
        self.store.count_job(order, self.routing.load_full()).await
    }

    /// Has it done in the background; `total` is what was counted.
    ///
    /// # Errors
    /// The store failed; nothing was ordered.
    pub async fn begin(&self, order: JobOrder, total: u64) -> Result<Job, StoreError> {
        let job = self.store.begin_job(order, total, self.clock.now()).await?;
        let kind = job.order.kind.as_str();
        tracing::info!(
            endpoint = %job.order.endpoint, job = job.id, kind, total,
            "job {} begins: {kind} of {total} for {}", job.id, job.order.endpoint
        );
        self.ordered.notify_one();
        Ok(job)
    }

    /// Does the next part of each job, if it is time. Returns how many deliveries were dealt with; `None`: none runs.
    ///
    /// # Errors
    /// The store failed.
    pub async fn advance(&self) -> Result<Option<u64>, StoreError> {
        let mut running = self.store.jobs().await?;
        running.retain(|job| job.progress.is_running());
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
        let mut dealt_with = 0;
        for before in running {
            // A replay whose endpoint is not in the file waits for its return: nothing of it would be wanted.
            let routing = self.routing.load_full();
            if before.order.kind == JobKind::Replay && !routing.knows(&before.order.endpoint) {
                continue;
            }
            let advanced = self.store.advance_job(before.id, PART, now, routing);
            let Some(after) = advanced.await? else {
                continue;
            };
            dealt_with += after.done.saturating_sub(before.done);
            if !after.progress.is_running() {
                let (kind, state) = (after.order.kind.as_str(), after.progress.as_str());
                tracing::info!(
                    endpoint = %after.order.endpoint, job = after.id, kind, done = after.done,
                    "job {} is {state}: {kind} of {} for {}", after.id, after.done, after.order.endpoint
                );
            }
        }
        Ok(Some(dealt_with))
    }

    /// Works jobs off until cancelled.
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
                        "a job could not go on; trying again"
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
