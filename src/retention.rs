//! Settled work that is older than `store.retention` goes, in the background and in small steps.
//!
//! Promise: what is not settled stays however old it is, and so does what is remembered of a user: its last verdict and
//! the number of its last event. A pass takes at most about a tenth of the store's time: the busier the store, the
//! longer the pauses between two steps. One that takes longer than it should is behind what comes in: it takes more, up to
//! half, so that a store never grows for want of a turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::metrics::RetentionMetrics;
use crate::store::{Bygone, Store, StoreError, SweepFrom};
use crate::worker::Beat;

/// Events, callbacks or queries looked at in one step, one transaction: some milliseconds.
const STEP: usize = 64;

/// The pause between two steps when nobody else has work: 64 records each make 1,000 a second.
const PAUSE: Duration = Duration::from_millis(60);

/// How long a pause is at least, in times of how long its step took.
const SHARE: u32 = 9;

/// The pause after a step that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// The longest time between two passes, and the shortest.
const SELDOM: Duration = Duration::from_secs(3600);
const OFTEN: Duration = Duration::from_secs(10);

/// A pass under way.
#[derive(Clone, Debug)]
struct Pass {
    /// Older than this is old.
    before: Timestamp,
    from: Option<SweepFrom>,
    gone: Bygone,
}

/// A pass that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// When it ended.
    pub at: Timestamp,
    /// What is gone.
    pub gone: Bygone,
}

struct State {
    keep: Duration,
    pass: Option<Pass>,
    next: Timestamp,
    last: Option<Swept>,
}

/// Lets go of what is settled and old.
pub struct Retention {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<RetentionMetrics>,
    state: Mutex<State>,
    changed: Notify,
}

impl std::fmt::Debug for Retention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Retention")
    }
}

/// How long between two passes: a tenth of what is kept.
fn interval(keep: Duration) -> Duration {
    (keep / 10).clamp(OFTEN, SELDOM)
}

/// The pause after a step of a pass that has gone on for so long; passes begin so often that each should be over within one
/// `interval`.
fn pause(took: Duration, going: Duration, interval: Duration) -> Duration {
    if going < interval {
        PAUSE.max(took * SHARE)
    } else if going < interval * 3 {
        (PAUSE / 4).max(took * SHARE / 3)
    } else {
        (PAUSE / 16).max(took)
    }
}

impl Retention {
    /// Keeps what is settled for `keep`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<RetentionMetrics>,
        keep: Duration,
    ) -> Self {
        // A start has more urgent work; but a process that is started every hour is to get there too.
        let soon = interval(keep).min(Duration::from_secs(60));
        let next = clock.now().plus(soon);
        Self {
            store,
            clock,
            metrics,
            state: Mutex::new(State {
                keep,
                pass: None,
                next,
                last: None,
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is settled for `keep` from now on.
    pub fn set(&self, keep: Duration) {
        let now = self.clock.now();
        let mut state = self.state();
        if state.keep != keep {
            state.keep = keep;
            // Under the old rule no further: what it is about may be wanted for longer now.
            state.pass = None;
            state.next = now.plus(interval(keep).min(Duration::from_secs(60)));
            self.changed.notify_one();
        }
    }

    /// How long settled work is kept.
    #[must_use]
    pub fn keep(&self) -> Duration {
        self.state().keep
    }

    /// The last pass since the start, if there was one.
    #[must_use]
    pub fn last(&self) -> Option<Swept> {
        self.state().last
    }

    /// What would go now, and that it is from before then.
    ///
    /// # Errors
    /// The store failed.
    pub async fn count(&self) -> Result<(Timestamp, Bygone), StoreError> {
        let before = self.clock.now().minus(self.keep());
        Ok((before, self.store.count_settled(before).await?))
    }

    /// Does the next step of a pass, or the first of a new one if it is time. Returns how much is gone; `None`: there is
    /// nothing to do before the next pass.
    ///
    /// # Errors
    /// The store failed; the step is done again.
    pub async fn advance(&self) -> Result<Option<u64>, StoreError> {
        let now = self.clock.now();
        let pass = {
            let mut state = self.state();
            if state.pass.is_none() && now < state.next {
                return Ok(None);
            }
            let before = now.minus(state.keep);
            state
                .pass
                .get_or_insert(Pass {
                    before,
                    from: None,
                    gone: Bygone::default(),
                })
                .clone()
        };
        let step = self.store.sweep(pass.before, pass.from, STEP).await;
        let step = step.inspect_err(|error| {
            if !matches!(error, StoreError::Stopping) {
                self.metrics.failed();
            }
        })?;
        for (record, number) in step.gone.kinds() {
            self.metrics.removed(record, number);
        }
        let gone = pass.gone.plus(step.gone);
        let mut state = self.state();
        // Another retention was set meanwhile: what comes is not this pass.
        if state
            .pass
            .as_ref()
            .is_none_or(|own| own.before != pass.before)
        {
            return Ok(Some(step.gone.total()));
        }
        state.pass = step.next.map(|from| Pass {
            before: pass.before,
            from: Some(from),
            gone,
        });
        if state.pass.is_none() {
            let at = self.clock.now();
            state.next = at.plus(interval(state.keep));
            state.last = Some(Swept { at, gone });
            self.metrics.passed(at);
            drop(state);
            tell(pass.before, gone);
        }
        Ok(Some(step.gone.total()))
    }

    /// The pause after a step that has just taken so long.
    fn pause(&self, now: Timestamp, took: Duration) -> Duration {
        let state = self.state();
        let interval = interval(state.keep);
        let going = state
            .pass
            .as_ref()
            .map(|pass| now.minus(state.keep).since(pass.before));
        pause(took, going.unwrap_or_default(), interval)
    }

    /// Makes passes until cancelled, which may be between any two steps.
    pub async fn run(&self, beat: Beat, cancel: CancellationToken) {
        loop {
            beat.turn();
            let began = self.clock.now();
            let wake = match self.advance().await {
                Ok(Some(_)) => {
                    let now = self.clock.now();
                    now.plus(self.pause(now, now.since(began)))
                }
                Ok(None) => self.state().next,
                Err(StoreError::Stopping) => return,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "what is settled and old could not be let go of; trying again"
                    );
                    self.clock.now().plus(AFTER_FAILURE)
                }
            };
            let time = self.until(wake, &beat);
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.changed.notified() => {}
                () = time => {}
            }
        }
    }

    /// Waits, and turns meanwhile.
    async fn until(&self, wake: Timestamp, beat: &Beat) {
        while self.clock.now() < wake {
            beat.turn();
            self.clock.sleep_until(wake.min(beat.next())).await;
        }
    }
}

fn tell(before: Timestamp, gone: Bygone) {
    if gone.total() == 0 {
        tracing::debug!(%before, "nothing settled is older than store.retention");
        return;
    }
    tracing::info!(
        %before, events = gone.events, deliveries = gone.deliveries, attempts = gone.attempts,
        callbacks = gone.callbacks, queries = gone.queries, jobs = gone.jobs,
        "settled work from before {before} is gone: {} events, {} callbacks, {} queries",
        gone.events, gone.callbacks, gone.queries
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_pass_that_is_behind_takes_more_of_the_time() {
        let millis = Duration::from_millis;
        let paused = |took: u64, going: Duration| pause(millis(took), going, HOUR).as_millis();
        assert_eq!((paused(2, HOUR / 2), paused(20, HOUR / 2)), (60, 180));
        assert_eq!((paused(2, HOUR), paused(20, HOUR * 2)), (15, 60));
        assert_eq!((paused(2, HOUR * 3), paused(20, HOUR * 9)), (3, 20));
    }
}
