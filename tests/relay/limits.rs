//! Contract §3: concurrency and rate of an endpoint.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;

use crate::kit::{Relay, Reply, Setup, Sink};

async fn results(relay: &Relay, users: usize) {
    for number in 0..users {
        let id = format!("u{number}");
        relay.says(&id, "2", None);
        relay.post_callback(&id, "2").await;
    }
}

#[tokio::test]
async fn as_many_attempts_as_allowed_are_out_at_once_and_no_more() {
    let sink = Sink::start().await;
    // Answers only when three are there: fewer at a time would never end.
    sink.answers(Reply::Together(Arc::new(Barrier::new(3))));
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "concurrency = 3")
        .start()
        .await;
    results(&relay, 9).await;
    relay.settle().await;
    assert_eq!(sink.count(), 9);
    assert_eq!(sink.most_open(), 3);
}

#[tokio::test]
async fn attempts_keep_to_the_endpoints_rate() {
    let (slow, fast) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .endpoint("slow", &slow.url(), "rate_limit = \"2/s\"")
        .endpoint("fast", &fast.url(), "")
        .start()
        .await;
    results(&relay, 6).await;
    relay.settle().await;
    assert_eq!((slow.count(), fast.count()), (2, 6));
    for so_far in 3..=6 {
        relay.advance(Duration::from_millis(499));
        assert_eq!(relay.settle().await, 0);
        relay.advance(Duration::from_millis(1));
        relay.settle().await;
        assert_eq!(slow.count(), so_far);
    }
}

#[tokio::test]
async fn queries_out_at_once_keep_to_their_limit() {
    let vexora = Sink::start().await;
    vexora.answers(Reply::Together(Arc::new(Barrier::new(2))));
    let relay = Setup::new()
        .provider(&vexora.base_url())
        .vexora("max_in_flight = 2")
        .start()
        .await;
    for number in 0..4 {
        relay.post_callback(&format!("u{number}"), "2").await;
    }
    relay.settle().await;
    assert_eq!((vexora.count(), vexora.most_open()), (4, 2));
}
