//! Noting that we are alive, so that the next start knows how long nobody listened.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::{MerchantNo, VerifyLane};
use crate::store::{Store, StoreError};
use crate::worker::Beat;

/// How often. A third of the longest gap that needs no action.
const EVERY: Duration = Duration::from_secs(15);

/// The provider tries again after 2, 5, 10 and 30 s: whoever was away for longer than these together may have lost a
/// callback for an hour or, in the end, for good.
const GAP: Duration = Duration::from_secs(45);

/// Verifications looked at in one transaction.
const BATCH: usize = 500;

/// Notes that we are alive until cancelled.
pub(super) async fn run(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    beat: Beat,
    cancel: CancellationToken,
) {
    loop {
        beat.turn();
        let next = clock.now().plus(EVERY).min(beat.next());
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = clock.sleep_until(next) => {}
        }
        match store.beat(clock.now()).await {
            Ok(()) => {}
            Err(StoreError::Stopping) => return,
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store could not note that the relay is alive"
            ),
        }
    }
}

/// At start: if nobody listened for long enough to lose a callback, everyone known to be waiting is asked about once,
/// soon. Returns how many.
pub(super) async fn after_downtime(
    store: &dyn Store,
    merchants: &[MerchantNo],
    clock: &dyn Clock,
) -> Result<usize, StoreError> {
    let now = clock.now();
    let gap = store.alive().await?.map(|last| now.since(last));
    let Some(gap) = gap.filter(|gap| *gap > GAP) else {
        store.beat(now).await?;
        return Ok(0);
    };
    let mut moved = 0;
    // Whoever was asked about in this very millisecond was so by the process that is gone.
    let back = now.plus(Duration::from_millis(1));
    for merchant in merchants {
        let mut from = None;
        loop {
            let step = store
                .hasten_verifications(merchant, VerifyLane::Main, back, from, BATCH)
                .await?;
            moved += step.moved;
            from = step.next;
            if from.is_none() {
                break;
            }
        }
    }
    // Noted last: a process that ends before this leaves the whole gap to the next one.
    store.beat(now).await?;
    tracing::info!(
        gap_s = gap.as_secs(),
        asking = moved,
        "nobody listened for {} s: everyone known to be waiting is asked about once, soon",
        gap.as_secs()
    );
    Ok(moved)
}
