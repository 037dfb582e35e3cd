//! Contract §1 and §6: in order per user and endpoint, and one line's trouble is nobody else's.

use serde_json::json;

use crate::kit::{Relay, Reply, Request, Setup, Sink, secs};

fn told(sink: &Sink) -> Vec<(String, u64)> {
    let sequence = |r: &Request| r.json()["data"]["sequence"].as_u64().unwrap();
    sink.requests()
        .iter()
        .map(|r| (r.user(), sequence(r)))
        .collect()
}

#[tokio::test]
async fn a_users_later_result_waits_for_the_earlier_and_other_users_do_not() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    sink.answers_next(Reply::status(500));
    relay.result("u1", "3").await;
    relay.result("u1", "2").await;
    relay.result("u2", "2").await;
    let first = ("u1".to_owned(), 1);
    assert_eq!(told(&sink), [first.clone(), ("u2".into(), 1)]);
    relay.advance(secs(6));
    relay.settle().await;
    assert_eq!(told(&sink)[2..], [first, ("u1".into(), 2)]);
}

#[tokio::test]
async fn what_is_abandoned_does_not_hold_up_what_comes_after() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "retry = [\"5s\"]")
        .start()
        .await;
    sink.answers_next(Reply::status(500));
    sink.answers_next(Reply::status(500));
    relay.result("u1", "3").await;
    relay.result("u1", "2").await;
    relay.advance(secs(6));
    relay.settle().await;
    let sequences: Vec<u64> = told(&sink)
        .into_iter()
        .map(|(_, sequence)| sequence)
        .collect();
    assert_eq!(sequences, [1, 1, 2]);
    assert_eq!(relay.outcomes("u1", "ledger").await, ["ok"]);
}

#[tokio::test]
async fn without_order_each_result_goes_as_soon_as_it_can() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "ordering = \"none\"")
        .start()
        .await;
    sink.answers_next(Reply::status(500));
    relay.result("u1", "3").await;
    relay.result("u1", "2").await;
    assert_eq!(told(&sink), [("u1".into(), 1), ("u1".into(), 2)]);
    assert_eq!(relay.outcomes("u1", "ledger").await, ["ok"]);
}

#[tokio::test]
async fn an_endpoint_that_never_answers_delays_no_other() {
    let (hung, good) = (Sink::start().await, Sink::start().await);
    hung.answers(Reply::Stalls(vec![]));
    let relay = Setup::new()
        .endpoint("a-hung", &hung.url(), "timeout = \"5m\"\nconcurrency = 2")
        .endpoint("good", &good.url(), "")
        .with_workers_running()
        .start()
        .await;
    for number in 0..10 {
        let id = format!("u{number}");
        relay.says(&id, "2", None);
        relay.post_callback(&id, "2").await;
    }
    good.has_received(10).await;
    hung.has_received(2).await;
    assert_eq!(hung.most_open(), 2, "more at once than its concurrency");
}

/// A user's first results are given up on, each after two attempts.
async fn given_up(sink: &Sink, results: &[&str]) -> Relay {
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "retry = [\"5s\"]")
        .start()
        .await;
    for code in results {
        sink.answers_next(Reply::status(500));
        sink.answers_next(Reply::status(500));
        relay.result("u1", code).await;
        relay.advance(secs(6));
        relay.settle().await;
    }
    assert_eq!(told(sink).len(), 2 * results.len());
    relay
}

async fn retry_all(relay: &Relay) {
    let path = "/endpoints/ledger/retry";
    assert_eq!(relay.admin("POST", path, &json!({})).await.0, 202);
    relay.settle().await;
}

fn sequences(sink: &Sink) -> Vec<u64> {
    told(sink)
        .into_iter()
        .map(|(_, sequence)| sequence)
        .collect()
}

fn is_replay(request: &Request) -> bool {
    request
        .headers
        .iter()
        .any(|(name, _)| name == "relay-replay")
}

#[tokio::test]
async fn what_is_tried_again_keeps_its_place_before_the_users_newer_results() {
    let sink = Sink::start().await;
    let relay = given_up(&sink, &["3", "2"]).await;
    relay.advance(secs(1));
    sink.answers_next(Reply::status(500));
    retry_all(&relay).await;
    relay.advance(secs(6));
    relay.settle().await;
    assert_eq!(sequences(&sink)[4..], [1, 1, 2]);
    assert!(!sink.requests().iter().any(is_replay));
}

#[tokio::test]
async fn one_that_is_tried_again_goes_before_a_newer_one_that_waits() {
    let sink = Sink::start().await;
    let relay = given_up(&sink, &["3"]).await;
    sink.answers_next(Reply::status(500));
    relay.result("u1", "2").await;
    relay.advance(secs(3));
    sink.answers_next(Reply::status(500));
    retry_all(&relay).await;
    relay.advance(secs(3));
    relay.settle().await;
    assert_eq!(sequences(&sink)[2..], [2, 1], "due, and behind the older");
    relay.advance(secs(6));
    relay.settle().await;
    assert_eq!(sequences(&sink)[4..], [1, 2]);
    assert!(!sink.requests().iter().any(is_replay));
}

#[tokio::test]
async fn one_that_is_tried_again_after_a_newer_one_was_told_is_marked() {
    let sink = Sink::start().await;
    let relay = given_up(&sink, &["3"]).await;
    relay.result("u1", "2").await;
    relay.advance(secs(1));
    retry_all(&relay).await;
    assert_eq!(sequences(&sink)[2..], [2, 1]);
    let marked: Vec<bool> = sink.requests().iter().map(is_replay).collect();
    assert_eq!(marked, [false, false, false, true]);
}
