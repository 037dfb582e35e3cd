//! The loop around a stage whose limits allow nothing for a while.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::clock::SimClock;

/// Nothing is ever due; each look is counted.
struct Limited {
    clock: SimClock,
    until: Timestamp,
    looks: AtomicUsize,
    looked: Notify,
    bell: Arc<Notify>,
    permits: Arc<Semaphore>,
}

#[async_trait]
impl Stage for Limited {
    type Claim = ();

    fn name(&self) -> String {
        "limited".to_owned()
    }

    fn permits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.permits)
    }

    fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    async fn claim(&self, _limit: usize) -> Result<Vec<()>, StoreError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.looked.notify_one();
        Ok(vec![])
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    fn rests_until(&self) -> Option<Timestamp> {
        (self.clock.now() < self.until).then_some(self.until)
    }

    async fn perform(
        &self,
        (): (),
        _permit: OwnedSemaphorePermit,
        _end: &CancellationToken,
    ) -> Option<((), OwnedSemaphorePermit)> {
        None
    }
}

/// Lets everything else on this thread go as far as it can.
async fn let_others_go() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_rings_while_the_limits_allow_nothing_wakes_nobody_and_is_heard_after() {
    let start = Timestamp::from_millis(1_000_000);
    let (clock, rest) = (SimClock::at(start), Duration::from_secs(1));
    let stage = Arc::new(Limited {
        clock: clock.clone(),
        until: start.plus(rest),
        looks: AtomicUsize::new(0),
        looked: Notify::new(),
        bell: Arc::default(),
        permits: Arc::new(Semaphore::new(1)),
    });
    let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let beat = Arc::new(Beats::new(Arc::clone(&shared))).join(stage.name(), None);
    tracker.spawn(run(
        Arc::clone(&stage),
        shared,
        beat,
        cancel.clone(),
        tracker.clone(),
    ));
    let looks = || stage.looks.load(Ordering::Relaxed);

    stage.looked.notified().await;
    for _ in 0..3 {
        let_others_go().await;
        stage.bell.notify_one();
    }
    let_others_go().await;
    assert_eq!(looks(), 1);

    clock.advance(rest);
    let_others_go().await;
    assert_eq!(
        looks(),
        3,
        "once as the rest is over, and once for who rang"
    );

    stage.bell.notify_one();
    let_others_go().await;
    assert_eq!(looks(), 4);

    cancel.cancel();
    tracker.close();
    tracker.wait().await;
}
