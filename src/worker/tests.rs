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
        self: Arc<Self>,
        (): (),
        _permit: OwnedSemaphorePermit,
        _hands: &Hands,
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

/// Stands by, and keeps what it was given for that.
#[derive(Default)]
struct Ready {
    hands: std::sync::Mutex<Option<Hands>>,
    stands_by: Arc<()>,
    stands: Notify,
    did: AtomicUsize,
}

#[async_trait]
impl Stage for Ready {
    type Claim = usize;

    fn name(&self) -> String {
        "ready".to_owned()
    }

    fn permits(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1))
    }

    fn bell(&self) -> Arc<Notify> {
        Arc::default()
    }

    async fn claim(&self, _limit: usize) -> Result<Vec<usize>, StoreError> {
        Ok(vec![])
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    fn stand_by(self: Arc<Self>, hands: &Hands) -> Option<Box<dyn Send>> {
        *self.hands.lock().unwrap() = Some(hands.clone());
        self.stands.notify_one();
        Some(Box::new(Arc::clone(&self.stands_by)))
    }

    /// As many pieces follow as the number says.
    async fn perform(
        self: Arc<Self>,
        left: usize,
        permit: OwnedSemaphorePermit,
        _hands: &Hands,
    ) -> Option<(usize, OwnedSemaphorePermit)> {
        self.did.fetch_add(1, Ordering::Relaxed);
        left.checked_sub(1).map(|left| (left, permit))
    }
}

#[tokio::test]
async fn who_stands_by_does_what_it_is_given_and_whatever_follows_until_it_ends() {
    let stage = Arc::new(Ready::default());
    let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
    let clock: Arc<dyn Clock> = Arc::new(SimClock::at(Timestamp::from_millis(1_000_000)));
    let beat = Arc::new(Beats::new(Arc::clone(&clock))).join(stage.name(), None);
    let (own, end) = (Arc::clone(&stage), cancel.clone());
    let work = TaskTracker::new().spawn(run(own, clock, beat, end, tracker.clone()));
    stage.stands.notified().await;
    let hands = stage.hands.lock().unwrap().clone().unwrap();
    assert!(hands.hold().is_some());
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    // From a thread that knows of no runtime, as the store's.
    let (given, own) = (hands.clone(), Arc::clone(&stage));
    std::thread::spawn(move || given.begin(own, 2, permit))
        .join()
        .unwrap();
    let held = hands.hold();
    tracker.close();
    let_others_go().await;
    assert!(!tracker.is_empty(), "one is about to be claimed");
    drop(held);
    tracker.wait().await;
    assert_eq!(stage.did.load(Ordering::Relaxed), 3);

    assert_eq!(Arc::strong_count(&stage.stands_by), 2);
    cancel.cancel();
    work.await.unwrap();
    assert!(hands.hold().is_none(), "nothing more is begun");
    assert_eq!(
        Arc::strong_count(&stage.stands_by),
        1,
        "it stands by no more"
    );
}
