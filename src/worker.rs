//! One loop for all stages: a permit, the bell armed, a claim, and off it goes; then wait for the bell, the next due
//! instant, or the end.
//!
//! Promise: no work that is due waits for anything but a permit or its own limits, and nothing spins. The loop holds
//! no work itself: what it claimed is leased in the store, and whoever dies with it is replaced when the lease ends.

mod beats;
mod rates;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

pub use beats::{Beat, Beats, Behind, LATE_AFTER, STUCK_AFTER, Work};
pub use rates::Rates;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::StoreError;

/// The most that is claimed in one go: enough to fill a group commit, not so much that a claim outlives its lease.
const BATCH: usize = 64;

/// How long a worker waits after the store failed it.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// The pause after a look that found nothing although something is due.
const NOT_TO_BE_HAD: Duration = Duration::from_millis(100);

/// What a worker does its rounds for.
#[async_trait]
pub trait Stage: Send + Sync + 'static {
    /// One piece of claimed work.
    type Claim: Send + 'static;

    /// For logs: which worker this is.
    fn name(&self) -> String;

    /// How many pieces may be under way.
    fn permits(&self) -> Arc<Semaphore>;

    /// Rings when there may be work.
    fn bell(&self) -> Arc<Notify>;

    /// Claims at most `limit` pieces that are due and that its limits allow now.
    ///
    /// # Errors
    /// The store failed.
    async fn claim(&self, limit: usize) -> Result<Vec<Self::Claim>, StoreError>;

    /// When a claim may next find something: the due time of the next piece, or when its limits allow one.
    ///
    /// # Errors
    /// The store failed.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Until when its limits allow nothing, whatever comes: nobody is to be woken for what may not go. `None`: something may
    /// go now.
    fn rests_until(&self) -> Option<Timestamp> {
        None
    }

    /// When the oldest due piece was due that waits for nobody but us: what a breaker holds, or whom anybody can make
    /// wait, does not count. For telling whether we keep up.
    ///
    /// # Errors
    /// The store failed.
    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Whether all its work is held: a breaker is open, or somebody paused it.
    ///
    /// # Errors
    /// The store failed.
    async fn is_held(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Has work that comes in while `hands` are free claimed by whoever adds it and begun at once, by the same rules as in a
    /// look for it, until what is returned is dropped. The loop then has no turn for it. `None`: all of it is looked for.
    fn stand_by(self: Arc<Self>, hands: &Hands) -> Option<Box<dyn Send>> {
        let _none = hands;
        None
    }

    /// Does one piece of work and records what came of it. Reports its own troubles.
    ///
    /// The permit is for what is out: it may be given back once the answer is in. The record then shares a group of
    /// the store with the next claim, instead of each waiting for the other's sync; and as that claim queues behind
    /// it, what is not recorded yet cannot pile up: a claim goes before no more records than those that wait a moment
    /// for each other, some tens of them.
    ///
    /// Or it is kept for the next piece, which was claimed along with the record and is returned with it: then the
    /// same task does that too, and neither the loop nor the store has another turn for it. Nothing more is claimed
    /// once the hands [are ending](Hands::are_ending).
    async fn perform(
        self: Arc<Self>,
        claim: Self::Claim,
        permit: OwnedSemaphorePermit,
        hands: &Hands,
    ) -> Option<(Self::Claim, OwnedSemaphorePermit)>;

    /// Its loop has ended: what is claimed and not begun is given back. Work under way goes on, and gives back what it
    /// claims after this.
    async fn ended(&self) {}
}

/// Where a stage's work goes on once it is claimed, whoever claimed it.
#[derive(Clone, Debug)]
pub struct Hands {
    end: CancellationToken,
    tracker: TaskTracker,
    runtime: Handle,
}

impl Hands {
    /// Hands that begin work on this runtime until `end` is cancelled; `tracker` knows of it.
    #[must_use]
    pub fn new(end: CancellationToken, tracker: TaskTracker) -> Self {
        Self {
            end,
            tracker,
            runtime: Handle::current(),
        }
    }

    /// Keeps the end waiting for a piece that is about to be claimed; `None`: nothing more is to be begun.
    #[must_use]
    pub fn hold(&self) -> Option<TaskTrackerToken> {
        (!self.end.is_cancelled()).then(|| self.tracker.token())
    }

    /// Whether nothing more is to be begun.
    #[must_use]
    pub fn are_ending(&self) -> bool {
        self.end.is_cancelled()
    }

    /// Does a piece of work, and whatever follows it in its place. Does not block.
    pub fn begin<S: Stage>(&self, stage: Arc<S>, claim: S::Claim, permit: OwnedSemaphorePermit) {
        let hands = self.clone();
        self.beside(async move {
            let mut next = Some((claim, permit));
            while let Some((claim, permit)) = next {
                next = Arc::clone(&stage).perform(claim, permit, &hands).await;
            }
        });
    }

    /// Does what goes on beside the work; the end waits for it too. Does not block.
    pub fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn_on(work, &self.runtime);
    }
}

/// Claims what permits allow. Returns the claims with a permit each, and whether there may be more.
async fn claim<S: Stage>(
    stage: &S,
    first: OwnedSemaphorePermit,
) -> Result<(Vec<(S::Claim, OwnedSemaphorePermit)>, bool), StoreError> {
    let permits = stage.permits();
    let mut held = vec![first];
    while held.len() < BATCH
        && let Ok(permit) = Arc::clone(&permits).try_acquire_owned()
    {
        held.push(permit);
    }
    let wanted = held.len();
    let claims = stage.claim(wanted).await?;
    let more = claims.len() == wanted;
    Ok((claims.into_iter().zip(held).collect(), more))
}

/// Does everything that is due now, to the end, and returns how much that was. What tests call instead of [`run`]:
/// the same claim and the same work, without a clock.
///
/// # Errors
/// The store failed.
pub async fn run_due<S: Stage>(stage: &Arc<S>) -> Result<usize, StoreError> {
    let Ok(first) = stage.permits().acquire_owned().await else {
        return Ok(0);
    };
    let (claims, _) = claim(&**stage, first).await?;
    let number = claims.len();
    // Each does its own and no more.
    let hands = Hands::new(CancellationToken::new(), TaskTracker::new());
    hands.end.cancel();
    let work = claims
        .into_iter()
        .map(|(claim, permit)| Arc::clone(stage).perform(claim, permit, &hands));
    futures_util::future::join_all(work).await;
    Ok(number)
}

/// A permit. Work that is under way for long is no reason not to turn.
async fn permit<S: Stage>(
    stage: &S,
    clock: &dyn Clock,
    beat: &Beat,
    cancel: &CancellationToken,
) -> Option<OwnedSemaphorePermit> {
    // One wait over all turns: whoever asks again would lose its place among those who share the permits.
    let permit = stage.permits().acquire_owned();
    tokio::pin!(permit);
    loop {
        beat.turn();
        tokio::select! {
            biased;
            () = cancel.cancelled() => return None,
            permit = &mut permit => return permit.ok(),
            () = clock.sleep_until(beat.next()) => {}
        }
    }
}

/// Does a stage's rounds until it is cancelled, with a beat at each. Work under way then goes on; the tracker knows of it.
pub async fn run<S: Stage>(
    stage: Arc<S>,
    clock: Arc<dyn Clock>,
    beat: Beat,
    cancel: CancellationToken,
    tracker: TaskTracker,
) {
    rounds(&stage, &*clock, &beat, &cancel, tracker).await;
    stage.ended().await;
}

async fn rounds<S: Stage>(
    stage: &Arc<S>,
    clock: &dyn Clock,
    beat: &Beat,
    cancel: &CancellationToken,
    tracker: TaskTracker,
) {
    let bell = stage.bell();
    let hands = Hands::new(cancel.clone(), tracker);
    // One that ends already, in a reload, has a successor.
    let _until_the_end = (!cancel.is_cancelled()).then(|| Arc::clone(stage).stand_by(&hands));
    loop {
        // Armed before looking: work that comes in between rings.
        let rung = bell.notified();
        tokio::pin!(rung);
        rung.as_mut().enable();

        let Some(permit) = permit(&**stage, clock, beat, cancel).await else {
            return;
        };
        let wake = match claim(&**stage, permit).await {
            Ok((claims, more)) => {
                let none = claims.is_empty();
                for (claim, permit) in claims {
                    hands.begin(Arc::clone(stage), claim, permit);
                }
                if more {
                    continue;
                }
                if let Some(until) = stage.rests_until() {
                    // Whoever rings meanwhile wakes nobody, and is heard by the next look.
                    rung.set(bell.notified());
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => return,
                        () = clock.sleep_until(until.min(beat.next())) => {}
                    }
                    continue;
                }
                let now = clock.now();
                // Due, but not to be had: whatever holds it back, looking harder does not help.
                let earliest = if none { now.plus(NOT_TO_BE_HAD) } else { now };
                next_look(&**stage, now, earliest..=beat.next()).await
            }
            Err(StoreError::Stopping) => return,
            Err(error) => {
                tracing::error!(
                    worker = stage.name(),
                    error = &error as &dyn std::error::Error,
                    "work could not be claimed; trying again"
                );
                clock.now().plus(AFTER_ERROR)
            }
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = &mut rung => {}
            () = clock.sleep_until(wake) => {}
        }
    }
}

async fn next_look<S: Stage>(
    stage: &S,
    now: Timestamp,
    within: RangeInclusive<Timestamp>,
) -> Timestamp {
    let (earliest, poll) = (*within.start(), *within.end());
    match stage.next_due().await {
        Ok(due) => due.map_or(poll, |due| due.max(earliest).min(poll)),
        Err(error) => {
            tracing::error!(
                worker = stage.name(),
                error = &error as &dyn std::error::Error,
                "the next due time could not be read"
            );
            now.plus(AFTER_ERROR)
        }
    }
}

#[cfg(test)]
mod tests;
