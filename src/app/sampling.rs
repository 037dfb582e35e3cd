//! Ends the minutes of the history, by the clock.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::metrics::{Backlog, Metrics};
use crate::store::Store;

const MINUTE: Duration = Duration::from_secs(60);

/// Ends each minute as it ends on the clock, until cancelled.
pub(super) async fn run(
    metrics: Arc<Metrics>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) {
    let mut ends = next_full_minute(clock.now());
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = clock.sleep_until(ends) => {}
        }
        // Sleeps may end early.
        if clock.now() < ends {
            continue;
        }
        end_minute(&metrics, &*store, &*clock).await;
        ends = next_full_minute(clock.now());
    }
}

/// Ends the running minute with what is pending now.
pub(super) async fn end_minute(metrics: &Metrics, store: &dyn Store, clock: &dyn Clock) {
    let backlog = match store.tallies().await {
        Ok(tallies) => Some(Backlog {
            verifications: tallies.verifications,
            deliveries: tallies.endpoints.iter().map(|(_, of)| of.pending).sum(),
        }),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what is pending could not be counted for the history"
            );
            None
        }
    };
    metrics.history().end_minute(clock.now(), backlog);
}

fn next_full_minute(now: Timestamp) -> Timestamp {
    let minute = u64::try_from(MINUTE.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis() / minute * minute).plus(MINUTE)
}
