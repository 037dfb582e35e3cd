//! Whether the loops turn: each notes when it last went round, so that one that hangs is seen from outside.
//!
//! Promise: an idle loop turns as often as a busy one waits, so a loop that has not turned for [`STUCK_AFTER`] does
//! not lack work; it hangs, or has panicked. Nothing here waits for a loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::Stage;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::StoreError;

/// How long a loop may take for one turn (contract §7). The slowest honest turn is a claim behind a full commit queue.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);

/// How late the oldest due work of a loop may be (contract §7).
pub const LATE_AFTER: Duration = Duration::from_secs(60);

/// How often a loop without work turns: a third of what is taken for stuck. It then looks for work too, so that a
/// lost bell costs this much and no work.
const TURN_EVERY: Duration = Duration::from_secs(20);

/// What a loop works off, as far as lateness goes. Every [`Stage`] has it.
#[async_trait]
pub trait Work: Send + Sync {
    /// When its oldest due piece was due that waits for nobody but us.
    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Whether all of it is held: a breaker is open, or somebody paused it.
    async fn is_held(&self) -> Result<bool, StoreError>;
}

#[async_trait]
impl<S: Stage> Work for S {
    async fn oldest_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Stage::oldest_due(self).await
    }

    async fn is_held(&self) -> Result<bool, StoreError> {
        Stage::is_held(self).await
    }
}

/// One loop, as others see it.
struct Turning {
    name: String,
    /// Milliseconds of the clock.
    last: AtomicU64,
    work: Option<Weak<dyn Work>>,
}

/// All loops that should be turning.
pub struct Beats {
    clock: Arc<dyn Clock>,
    every: AtomicU64,
    loops: Mutex<Vec<Arc<Turning>>>,
    turned: Notify,
}

impl std::fmt::Debug for Beats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Beats of {} loops", self.loops().len())
    }
}

/// A loop that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Which one.
    pub worker: String,
    /// For how long it has not turned, or how late its oldest work is.
    pub by: Duration,
}

impl Beats {
    /// No loops yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let every = u64::try_from(TURN_EVERY.as_millis()).unwrap_or(u64::MAX);
        Self {
            clock,
            every: AtomicU64::new(every),
            loops: Mutex::default(),
            turned: Notify::new(),
        }
    }

    fn loops(&self) -> MutexGuard<'_, Vec<Arc<Turning>>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a loop without work waits before it turns.
    #[must_use]
    pub fn every(&self) -> Duration {
        Duration::from_millis(self.every.load(Ordering::Relaxed))
    }

    /// Loops are to turn at least so often, if that is more often than they do anyway.
    pub fn turn_every(&self, every: Duration) {
        let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        self.every.fetch_min(every.max(1), Ordering::Relaxed);
    }

    /// A loop begins to turn. `work`: what it works off, if its lateness counts.
    #[must_use]
    pub fn join(self: &Arc<Self>, name: String, work: Option<Weak<dyn Work>>) -> Beat {
        let turning = Arc::new(Turning {
            name,
            last: AtomicU64::new(self.clock.now().as_millis()),
            work,
        });
        self.loops().push(Arc::clone(&turning));
        Beat {
            beats: Arc::clone(self),
            turning,
        }
    }

    /// The loops that have not turned for longer than `limit`.
    #[must_use]
    pub fn silent(&self, limit: Duration) -> Vec<Behind> {
        let now = self.clock.now().as_millis();
        let loops = self.loops();
        let silent = loops.iter().filter_map(|turning| {
            // Either way: when the clock is set back, a loop that turns has noted the new time by the limit.
            let by = now.abs_diff(turning.last.load(Ordering::Relaxed));
            let by = Duration::from_millis(by);
            (by > limit).then(|| Behind {
                worker: turning.name.clone(),
                by,
            })
        });
        silent.collect()
    }

    /// How late the oldest due work is that waits for nobody but us, and whose it is; zero and nobody: all is in time.
    ///
    /// # Errors
    /// The store failed.
    pub async fn latest(&self) -> Result<Option<Behind>, StoreError> {
        let loops = self.loops().clone();
        let now = self.clock.now();
        let mut latest: Option<Behind> = None;
        for turning in loops {
            let Some(work) = turning.work.as_ref().and_then(Weak::upgrade) else {
                continue;
            };
            let Some(due) = work.oldest_due().await? else {
                continue;
            };
            let by = now.since(due);
            if by > latest.as_ref().map_or(Duration::ZERO, |known| known.by) {
                latest = Some(Behind {
                    worker: turning.name.clone(),
                    by,
                });
            }
        }
        Ok(latest)
    }

    /// The loops whose work is held.
    ///
    /// # Errors
    /// The store failed.
    pub async fn held(&self) -> Result<Vec<String>, StoreError> {
        let loops = self.loops().clone();
        let mut held = Vec::new();
        for turning in loops {
            let work = turning.work.as_ref().and_then(Weak::upgrade);
            if let Some(work) = work
                && work.is_held().await?
            {
                held.push(turning.name.clone());
            }
        }
        Ok(held)
    }

    /// Ends when a loop turns, or has turned since this was last awaited.
    pub async fn turned(&self) {
        self.turned.notified().await;
    }
}

/// A loop's side: noted at each turn. Dropped at the loop's end, unless that is a panic: then it stays, silent.
pub struct Beat {
    beats: Arc<Beats>,
    turning: Arc<Turning>,
}

impl Beat {
    /// The loop has gone round.
    pub fn turn(&self) {
        let now = self.beats.clock.now().as_millis();
        self.turning.last.store(now, Ordering::Relaxed);
        self.beats.turned.notify_one();
    }

    /// When it is to go round again, work or not: so long after it last did, however long that turn takes.
    #[must_use]
    pub fn next(&self) -> Timestamp {
        let last = Timestamp::from_millis(self.turning.last.load(Ordering::Relaxed));
        last.plus(self.beats.every())
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let mut loops = self.beats.loops();
            loops.retain(|other| !Arc::ptr_eq(other, &self.turning));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn beats() -> (SimClock, Arc<Beats>) {
        let clock = SimClock::at(Timestamp::from_millis(10_000_000));
        let beats = Arc::new(Beats::new(Arc::new(clock.clone())));
        (clock, beats)
    }

    fn silent(beats: &Beats) -> Vec<(String, u64)> {
        let silent = beats.silent(STUCK_AFTER).into_iter();
        silent.map(|one| (one.worker, one.by.as_secs())).collect()
    }

    #[test]
    fn a_loop_that_has_not_turned_for_more_than_a_minute_is_named() {
        let (clock, beats) = beats();
        let (one, other) = (
            beats.join("one".into(), None),
            beats.join("other".into(), None),
        );
        clock.advance(60 * SECOND);
        assert_eq!(silent(&beats), []);
        one.turn();
        clock.advance(SECOND);
        assert_eq!(silent(&beats), [("other".to_owned(), 61)]);
        other.turn();
        assert_eq!(silent(&beats), []);
        clock.advance(61 * SECOND);
        drop((one, other));
        assert_eq!(silent(&beats), [], "loops that have ended need not turn");
    }

    #[test]
    fn a_loop_that_panicked_stays_silent() {
        let (clock, beats) = beats();
        let beat = beats.join("one".into(), None);
        let panicked = std::thread::spawn(move || {
            let _held = beat;
            panic!("as a bug would");
        });
        assert!(panicked.join().is_err());
        clock.advance(61 * SECOND);
        assert_eq!(silent(&beats), [("one".to_owned(), 61)]);
    }

    #[test]
    fn a_clock_that_is_set_back_hides_nobody() {
        let (_, beats) = beats();
        let beat = beats.join("one".into(), None);
        let ahead = 10_000_000 + 3_600_000;
        beat.turning.last.store(ahead, Ordering::Relaxed);
        assert_eq!(silent(&beats), [("one".to_owned(), 3600)]);
    }
}
