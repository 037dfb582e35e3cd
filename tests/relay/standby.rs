//! Workers that stand by: how many hands they give to what comes in.

use vexora_relay::domain::{Source, Trust, Verification};
use vexora_relay::store::{DeliveryClaim, Hand, VerifyClaim};

use std::time::Duration;

use crate::kit::{MERCHANT, Relay, Reply, Setup, Sink, in_time, secs};

fn hand_of(relay: &Relay, endpoint: &str) -> Option<Hand<DeliveryClaim>> {
    let store = relay.store();
    let endpoint = endpoint.parse().unwrap();
    store.signals().deliverer(&endpoint)
}

fn asks(relay: &Relay) -> Option<Hand<VerifyClaim>> {
    relay.store().signals().verifier(&MERCHANT.parse().unwrap())
}

/// Until it is there: a worker stands by once it runs.
async fn comes<H>(mut look: impl FnMut() -> Option<H>) -> H {
    in_time("a hand, or none", async {
        loop {
            if let Some(hand) = look() {
                return hand;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Until there is none.
async fn goes<H>(mut look: impl FnMut() -> Option<H>) {
    comes(|| look().is_none().then_some(())).await;
}

fn claim(relay: &Relay) -> VerifyClaim {
    let now = relay.now();
    let begun = Verification::new(Source::Callback, Trust::Signed, now).claimed(now, secs(30));
    VerifyClaim {
        merchant: MERCHANT.parse().unwrap(),
        user: "nobody".parse().unwrap(),
        verification: begun,
    }
}

#[tokio::test]
async fn a_deliverer_gives_as_many_hands_as_attempts_may_be_out() {
    let (sink, paced) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "concurrency = 2")
        .endpoint("paced", &paced.url(), "rate_limit = \"5/s\"")
        .with_workers_running()
        .start()
        .await;
    relay.says("u1", "2", None);
    relay.post_callback("u1", "2").await;
    paced.has_received(1).await;
    assert!(hand_of(&relay, "paced").is_none(), "its loop counts");
    let first = comes(|| hand_of(&relay, "ledger")).await;
    let _second = comes(|| hand_of(&relay, "ledger")).await;
    assert!(hand_of(&relay, "ledger").is_none(), "two at a time");
    drop(first);
    assert!(hand_of(&relay, "ledger").is_some());
}

#[tokio::test]
async fn one_that_is_eased_in_gets_what_its_loop_claims() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .with_workers_running()
        .start()
        .await;
    let _there = comes(|| hand_of(&relay, "ledger")).await;
    sink.answers_next(Reply::status(503));
    relay.says("u1", "2", None);
    relay.post_callback("u1", "2").await;
    goes(|| hand_of(&relay, "ledger")).await;
}

#[tokio::test]
async fn a_verifier_gives_hands_within_its_rate_and_what_it_takes_counts() {
    let relay = Setup::new()
        .vexora("rate_limit = \"2/s\"\nmax_in_flight = 3")
        .with_workers_running()
        .start()
        .await;
    let hand = comes(|| asks(&relay)).await;
    drop(hand);
    // What is taken counts though it is not begun yet; what is not taken does not.
    for _ in 0..2 {
        let hand = asks(&relay).expect("two a second");
        drop((hand.take)(claim(&relay)));
    }
    assert!(asks(&relay).is_none(), "two were taken");
    relay.advance(Duration::from_millis(500));
    let hands: Vec<_> = (0..3).map_while(|_| asks(&relay)).collect();
    assert_eq!(hands.len(), 3, "as many may be out");
    assert!(asks(&relay).is_none());
    drop(hands);
    assert!(asks(&relay).is_some());
}

#[tokio::test]
async fn while_the_provider_is_down_nobody_is_asked_about_beside_the_probe() {
    let vexora = Sink::start().await;
    vexora.answers(Reply::status(500));
    let relay = Setup::new()
        .provider(&vexora.base_url())
        .with_workers_running()
        .start()
        .await;
    let _there = comes(|| asks(&relay)).await;
    for number in 0..5 {
        relay.post_callback(&format!("u{number}"), "2").await;
    }
    goes(|| asks(&relay)).await;
    relay.advance(secs(3600));
    assert!(asks(&relay).is_none(), "though a probe is due");
}
