//! Work that is claimed as it comes in for a worker that stands by, as every store must keep to it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;
use vexora_relay::domain::{DeliveryState, Outcome, SignCheck, Timestamp, VerifyLane};
use vexora_relay::store::{DeliveryClaim, Hand, Lane, Standby, VerifyClaim};

use super::{Bench, LEASE, Opener, at, heard, merchant, refused, says};

/// A worker with so many hands, and what it was given.
struct Desk<C> {
    hands: Arc<Semaphore>,
    given: Arc<Mutex<Vec<C>>>,
    _standby: Standby<C>,
}

impl<C: Send + 'static> Desk<C> {
    fn new(
        bench: &Bench,
        hands: usize,
        stand_by: impl FnOnce(Box<dyn Fn() -> Option<Hand<C>> + Send + Sync>) -> Standby<C>,
    ) -> Self {
        let hands = Arc::new(Semaphore::new(hands));
        let given: Arc<Mutex<Vec<C>>> = Arc::default();
        let (free, into) = (Arc::clone(&hands), Arc::clone(&given));
        let clock = Arc::clone(&bench.clock);
        let offer = move || {
            let hand = Arc::clone(&free).try_acquire_owned().ok()?;
            let into = Arc::clone(&into);
            let take = move |claim| -> Box<dyn FnOnce() + Send> {
                Box::new(move || {
                    into.lock().expect("whole").push(claim);
                    hand.forget();
                })
            };
            Some(Hand {
                from: Timestamp::from_millis(clock.load(Ordering::SeqCst)),
                lease: LEASE,
                take: Box::new(take),
            })
        };
        Self {
            hands,
            given,
            _standby: stand_by(Box::new(offer)),
        }
    }

    fn given(&self) -> Vec<C> {
        std::mem::take(&mut self.given.lock().expect("whole"))
    }

    /// How many hands are free.
    fn free(&self) -> usize {
        self.hands.available_permits()
    }

    fn frees(&self, hands: usize) {
        self.hands.add_permits(hands);
    }
}

fn asks(bench: &Bench, hands: usize) -> Desk<VerifyClaim> {
    let signals = bench.store().signals();
    Desk::new(bench, hands, |offer| {
        signals.stand_by_verifications(merchant(), offer)
    })
}

fn tells(bench: &Bench, endpoint: &str, hands: usize) -> Desk<DeliveryClaim> {
    let (signals, endpoint) = (bench.store().signals(), endpoint.parse().expect("valid"));
    Desk::new(bench, hands, |offer| {
        signals.stand_by_deliveries(endpoint, offer)
    })
}

fn users(claims: &[VerifyClaim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.user.as_str()).collect()
}

async fn rings(bench: &Bench, name: &str, secs: u64) {
    bench.ring(name, SignCheck::Valid, true, at(secs)).await;
}

pub(super) async fn what_comes_in_is_claimed_for_a_free_hand(open: Opener) {
    let bench = Bench::new(open);
    let (asks, tells) = (asks(&bench, 1), tells(&bench, "ledger", 1));
    rings(&bench, "taro", 0).await;
    rings(&bench, "jiro", 0).await;
    let given = asks.given();
    assert_eq!(users(&given), ["taro"], "there was no hand for the other");
    let lane = Lane::Verify(merchant(), VerifyLane::Main);
    let waiting = bench.claim(VerifyLane::Main, at(0), 9).await;
    assert_eq!(users(&waiting), ["jiro"], "whose lease is the caller's");
    let next = bench.store().next_due(&lane).await.expect("reads");
    assert_eq!(next, Some(at(0).plus(LEASE)));

    assert!(bench.answer(&given[0], says("2"), at(1)).await.counted);
    assert!(bench.answer(&waiting[0], says("2"), at(1)).await.counted);
    let told = tells.given();
    let [first] = &told[..] else {
        panic!("one hand: {told:?}")
    };
    assert_eq!(first.delivery.attempts, 1, "counted before it is sent");
    let until = at(1).plus(LEASE);
    assert_eq!(first.delivery.state, DeliveryState::Delivering { until });
    let second = bench.claim_for("ledger", at(1), 9).await;
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].event.id, first.event.id);
    // Who does not stand by is not forgotten.
    assert_eq!(bench.claim_for("audit", at(1), 9).await.len(), 2);
    for claim in [first, &second[0]] {
        let after = bench.report(claim, heard(), at(2)).await.expect("ours");
        assert!(matches!(after.state, DeliveryState::Delivered { .. }));
    }
    // Whoever was given something and never came back is replaced.
    rings(&bench, "saburo", 3).await;
    asks.frees(1);
    rings(&bench, "shiro", 4).await;
    assert_eq!(asks.given().len(), 0, "saburo goes before");
    assert_eq!(bench.claim(VerifyLane::Main, at(4), 9).await.len(), 2);
    assert_eq!(
        bench
            .claim(VerifyLane::Main, at(4).plus(LEASE), 9)
            .await
            .len(),
        2
    );
}

pub(super) async fn what_is_due_is_not_overtaken_by_what_comes_in(open: Opener) {
    let bench = Bench::new(open);
    let asks = asks(&bench, 1);
    // Nothing is due, and is known not to be: it is given. Then there is no hand.
    rings(&bench, "first", 0).await;
    rings(&bench, "second", 1).await;
    asks.frees(1);
    rings(&bench, "third", 2).await;
    assert_eq!(users(&asks.given()), ["first"]);
    assert_eq!(asks.free(), 1, "the hand that took nothing is free again");
    let waited = bench.claim(VerifyLane::Main, at(2), 9).await;
    assert_eq!(users(&waited), ["second", "third"]);
    rings(&bench, "fourth", 3).await;
    assert_eq!(users(&asks.given()), ["fourth"]);
    // The lease of the first has run out.
    asks.frees(1);
    rings(&bench, "fifth", 30).await;
    assert_eq!(asks.free(), 1);
    let again = bench.claim(VerifyLane::Main, at(30), 1).await;
    assert_eq!(users(&again), ["first"]);
    // A doorbell for one who is asked about does not ask twice.
    assert_eq!(bench.claim(VerifyLane::Main, at(30), 9).await.len(), 1);
    rings(&bench, "first", 30).await;
    assert_eq!(asks.free(), 1);
    rings(&bench, "sixth", 30).await;
    assert_eq!(users(&asks.given()), ["sixth"]);
}

pub(super) async fn a_users_results_are_not_given_out_of_order(open: Opener) {
    let bench = Bench::new(open);
    let tells = tells(&bench, "ledger", 2);
    bench.settle_user("taro", "2", at(0)).await;
    bench.settle_user("taro", "3", at(1)).await;
    bench.settle_user("jiro", "2", at(2)).await;
    let given = tells.given();
    let told: Vec<_> = given.iter().map(|claim| claim.delivery.sequence).collect();
    assert_eq!(told, [1, 1], "the second of a user waits, others do not");
    tells.frees(2);
    assert!(bench.claim_for("ledger", at(3), 9).await.is_empty());
    bench.report(&given[0], heard(), at(3)).await.expect("ours");
    let second = bench.claim_for("ledger", at(3), 9).await;
    assert_eq!(second[0].delivery.sequence, 2);
    // One that is due again goes before what comes in.
    bench
        .report(&given[1], refused(), at(4))
        .await
        .expect("ours");
    bench.settle_user("saburo", "2", at(9)).await;
    assert_eq!((tells.given().len(), tells.free()), (0, 2));
    let both = bench.claim_for("ledger", at(9), 9).await;
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].event.id, given[1].event.id, "the older first");
}

pub(super) async fn forgeries_and_whoever_is_held_are_given_nothing(open: Opener) {
    let bench = Bench::new(open);
    let asks = asks(&bench, 1);
    bench.ring("nobody", SignCheck::Invalid, false, at(0)).await;
    assert_eq!(asks.free(), 1, "what anybody could have sent is looked for");
    drop(asks);

    let tells = tells(&bench, "ledger", 9);
    let ledger = "ledger".parse().expect("valid");
    let now = at(1);
    bench.store().pause(&ledger, now).await.expect("pauses");
    bench.store().resume(&ledger, now).await.expect("resumes");
    bench.settle_user("resumed", "2", now).await;
    assert_eq!(tells.free(), 9, "whether it is well is to be found out");
    bench.store().pause(&ledger, now).await.expect("pauses");
    bench.settle_user("paused", "2", now).await;
    assert_eq!(tells.free(), 9);
    bench.store().resume(&ledger, now).await.expect("resumes");
    for _waiting in 0..2 {
        let alone = bench.claim_for("ledger", now, 9).await.remove(0);
        bench.report(&alone, heard(), now).await.expect("ours");
    }
    bench.settle_user("well", "2", now).await;
    let well = tells.given();
    assert_eq!(well.len(), 1, "it has heard");
    // It asks for time, and nothing comes before that is over.
    let busy = Outcome {
        status: Some(503),
        retry_after: Some(Duration::from_secs(60)),
        ..refused()
    };
    bench.report(&well[0], busy, now).await.expect("ours");
    bench.settle_user("early", "2", at(2)).await;
    bench.settle_user("early-too", "2", at(2)).await;
    assert_eq!(tells.given().len(), 0);
    // Four more failures, and it is down.
    let mut now = at(61);
    for _failure in 0..4 {
        let claim = bench.claim_for("ledger", now, 1).await.remove(0);
        bench.report(&claim, refused(), now).await.expect("ours");
        now = now.plus(Duration::from_secs(6));
    }
    let health = bench.store().health(&ledger).await.expect("reads");
    assert!(health.holds(), "{health:?}");
    bench.settle_user("down", "2", now.plus(LEASE)).await;
    assert_eq!(tells.given().len(), 0);
}
