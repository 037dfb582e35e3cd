//! Contract §7: `/readyz` refuses, with the reason, while a worker hangs or falls behind without anybody else's fault.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vexora_relay::clock::Clock;
use vexora_relay::domain::{Timestamp, VerifyLane};
use vexora_relay::store::{Lane, StoreError};
use vexora_relay::worker::{self, Hands, Stage};

use crate::kit::{MERCHANT, Relay, Reply, Setup, Sink, hours, secs};

/// A stage whose store does not answer until it is let.
struct Hanging {
    reached: Notify,
    claims: Semaphore,
    permits: Arc<Semaphore>,
}

#[async_trait]
impl Stage for Hanging {
    type Claim = ();

    fn name(&self) -> String {
        "deliver ledger".to_owned()
    }

    fn permits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.permits)
    }

    fn bell(&self) -> Arc<Notify> {
        Arc::default()
    }

    async fn claim(&self, _limit: usize) -> Result<Vec<()>, StoreError> {
        self.reached.notify_one();
        self.claims.acquire().await.expect("open").forget();
        Ok(vec![])
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
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

fn hanging(relay: &Relay, permits: usize) -> (Arc<Hanging>, CancellationToken) {
    let stage = Arc::new(Hanging {
        reached: Notify::new(),
        claims: Semaphore::new(0),
        permits: Arc::new(Semaphore::new(permits)),
    });
    let cancel = CancellationToken::new();
    let tracker = TaskTracker::new();
    let clock: Arc<dyn Clock> = Arc::new(relay.clock.clone());
    let beat = relay.beats().join(stage.name(), None);
    let turning = worker::run(
        Arc::clone(&stage),
        clock,
        beat,
        cancel.clone(),
        tracker.clone(),
    );
    tracker.spawn(turning);
    (stage, cancel)
}

async fn says(relay: &Relay, reasons: &[&str]) {
    let status = if reasons.is_empty() { 200 } else { 503 };
    relay
        .is(&format!("{status} for {reasons:?}"), async || {
            relay.readiness().await == (status, reasons.iter().map(ToString::to_string).collect())
        })
        .await;
}

#[tokio::test]
async fn a_worker_that_has_not_turned_for_a_minute_is_named() {
    let relay = Setup::new().start().await;
    let (stage, cancel) = hanging(&relay, 1);
    stage.reached.notified().await;
    relay.advance(secs(60));
    says(&relay, &[]).await;
    relay.advance(secs(1));
    let reason = "worker_stuck: deliver ledger has not turned for 61 s";
    assert_eq!(relay.readiness().await, (503, vec![reason.to_owned()]));
    stage.claims.add_permits(1000);
    says(&relay, &[]).await;
    relay.advance(secs(61));
    says(&relay, &[]).await;
    cancel.cancel();
}

#[tokio::test]
async fn waiting_for_what_is_under_way_is_not_hanging() {
    let relay = Setup::new().start().await;
    let (_stage, cancel) = hanging(&relay, 0);
    for _ in 0..10 {
        relay.advance(secs(30));
        says(&relay, &[]).await;
    }
    cancel.cancel();
}

#[tokio::test]
async fn idle_workers_turn_within_any_minute() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .with_workers_running()
        .start()
        .await;
    for _ in 0..4 {
        relay.advance(hours(1));
        says(&relay, &[]).await;
    }
}

#[tokio::test]
async fn due_work_that_is_over_a_minute_late_is_named_unless_a_breaker_holds_it() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "rate_limit = \"1/h\"")
        .with_workers_running()
        .start()
        .await;
    for id in ["a", "b"] {
        relay.says(id, "2", None);
        relay.post_callback(id, "2").await;
    }
    relay
        .is("one delivered, one held back", async || {
            // Both, or what is pending may be the one that is out, and the other not there yet.
            let made = relay.events("a").await.len() + relay.events("b").await.len();
            made == 2 && sink.requests().len() == 1 && relay.pending("ledger").await == 1
        })
        .await;
    relay.advance(secs(60));
    says(&relay, &[]).await;
    relay.advance(secs(1));
    says(&relay, &["work_late: deliver ledger is 61 s late"]).await;

    let paused = serde_json::Value::Null;
    relay
        .admin("POST", "/endpoints/ledger/pause", &paused)
        .await;
    says(&relay, &[]).await;
}

#[tokio::test]
async fn an_endpoint_that_is_down_makes_nothing_late() {
    let sink = Sink::start().await;
    sink.answers(Reply::status(500));
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "retry = [\"1s\"]")
        .with_workers_running()
        .start()
        .await;
    for number in 0..8 {
        let id = format!("u{number}");
        relay.says(&id, "2", None);
        relay.post_callback(&id, "2").await;
    }
    relay
        .is("five attempts", async || sink.requests().len() >= 5)
        .await;
    relay.advance(secs(4));
    says(&relay, &[]).await;
    for _ in 0..20 {
        relay.advance(secs(30));
        says(&relay, &[]).await;
    }
}

#[tokio::test]
async fn verification_that_falls_behind_is_named_and_one_that_a_breaker_holds_is_not() {
    let relay = Setup::new()
        .vexora("rate_limit = \"1/h\"")
        .with_workers_running()
        .start()
        .await;
    for id in ["a", "b"] {
        relay.says(id, "2", None);
        relay.post_callback(id, "2").await;
    }
    relay
        .is("one asked about", async || {
            relay.queries("a") + relay.queries("b") == 1
        })
        .await;
    relay.advance(secs(61));
    let reason = format!("work_late: verify {MERCHANT} Main is 61 s late");
    says(&relay, &[&reason]).await;

    let relay = Setup::new().with_workers_running().start().await;
    relay.sandbox.set_faults(vexora_relay::sandbox::Faults {
        query_500: true,
        ..Default::default()
    });
    for number in 0..8 {
        relay.post_callback(&format!("u{number}"), "2").await;
    }
    let asked = async || (0..8).map(|n| relay.queries(&format!("u{n}"))).sum::<u64>() >= 5;
    relay.is("the breaker opens", asked).await;
    for _ in 0..10 {
        relay.advance(secs(30));
        says(&relay, &[]).await;
    }
}

#[tokio::test]
async fn who_is_only_watched_waits_for_room_and_makes_nothing_late() {
    let relay = Setup::new()
        .vexora("rate_limit = \"1/h\"")
        .verify("reconcile = \"1m\"")
        .with_workers_running()
        .start()
        .await;
    let users = ["a", "b", "c"];
    let watched = serde_json::json!({ "users": users });
    assert_eq!(relay.admin("POST", "/watch", &watched).await.0, 200);
    relay.advance(secs(60));
    let asked = || users.iter().map(|id| relay.queries(id)).sum::<u64>();
    relay.is("one asked about", async || asked() == 1).await;
    relay.advance(secs(120));
    let lane = Lane::Verify(MERCHANT.parse().unwrap(), VerifyLane::Main);
    let due = relay.store().next_due(&lane).await.unwrap().unwrap();
    assert!(
        relay.now().since(due) > secs(61),
        "others have been due for long"
    );
    says(&relay, &[]).await;
    // A callback waits for nobody but us.
    relay.post_callback("d", "2").await;
    relay.advance(secs(61));
    let reason = format!("work_late: verify {MERCHANT} Main is 61 s late");
    says(&relay, &[&reason]).await;
}
