//! Contract §6 and §7: what was held goes out when an operator resumes an endpoint, as gently as after an outage; and
//! whoever was told that it was down hears when it is not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use crate::kit::{Relay, Reply, Setup, Sink, secs};

async fn order(relay: &Relay, endpoint: &str, what: &str) {
    let path = format!("/endpoints/{endpoint}/{what}");
    let (status, answer) = relay.admin("POST", &path, &json!(null)).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn what_a_pause_held_goes_out_one_two_four_at_a_time_and_in_order_for_each_user() {
    let sink = Sink::start().await;
    let mut relay = Setup::new()
        .vexora("rate_limit = \"off\"")
        .endpoint("ledger", &sink.url(), "concurrency = 6\ntimeout = \"60s\"")
        .with_workers_running()
        .start()
        .await;
    order(&relay, "ledger", "pause").await;
    for status in ["3", "2"] {
        for number in 0..10 {
            let id = format!("u{number}");
            // One after the other, so that each has its place.
            relay.advance(Duration::from_millis(10));
            relay.says(&id, status, None);
            relay.post_callback(&id, status).await;
            relay
                .is("known", async || {
                    relay
                        .told(&id)
                        .await
                        .last()
                        .is_some_and(|(_, last)| last == status)
                })
                .await;
        }
    }
    relay.restart().await;
    assert_eq!(sink.count(), 0);
    let leave = Arc::new(Semaphore::new(0));
    sink.answers(Reply::Held(Arc::clone(&leave), vec![]));
    order(&relay, "ledger", "resume").await;
    let mut heard = 0;
    for step in [1, 1, 2, 4, 6, 6] {
        sink.has_received(heard + step).await;
        assert_eq!(sink.most_open(), step, "after {heard} were heard");
        leave.add_permits(step);
        heard += step;
    }
    assert_eq!(heard, 20);
    for number in 0..10 {
        let id = format!("u{number}");
        let requests = sink.requests().into_iter();
        let of_user = requests.filter(|request| request.user() == id);
        let heard: Vec<String> = of_user.map(|request| request.kind()).collect();
        assert_eq!(heard, ["kyc.rejected", "kyc.approved"], "{id}");
    }
}

#[tokio::test]
async fn whoever_was_told_that_it_is_gone_hears_that_it_is_back_once_it_has_heard() {
    let (ledger, audit) = (Sink::start().await, Sink::start().await);
    let mut relay = Setup::new()
        .endpoint("ledger", &ledger.url(), "")
        .endpoint("audit", &audit.url(), "events = [\"relay.*\"]")
        .start()
        .await;
    ledger.answers(Reply::status(410));
    relay.result("u0", "2").await;
    let since = relay.now();
    assert_eq!(audit.kinds(), ["relay.endpoint.down"]);

    // Resumed too early: told again, by the first attempt.
    relay.advance(secs(60));
    order(&relay, "ledger", "resume").await;
    relay.settle().await;
    let again = relay.now();
    assert_eq!((audit.count(), ledger.count()), (2, 2));
    assert_eq!(audit.kinds()[1], "relay.endpoint.down");

    ledger.answers(Reply::status(204));
    relay.restart().await;
    order(&relay, "ledger", "resume").await;
    relay.restart().await;
    assert_eq!(audit.count(), 2, "nobody knows yet");
    relay.settle().await;
    assert_eq!(audit.count(), 3);
    let told = &audit.requests()[2];
    assert_eq!(told.kind(), "relay.endpoint.recovered");
    assert_eq!(told.json()["data"]["endpoint"], "ledger");
    assert_eq!(told.json()["data"]["since"], again.to_string());
    assert!(since < again);
    relay.result("u1", "2").await;
    assert_eq!(audit.count(), 3, "told once");
}

#[tokio::test]
async fn one_that_was_down_when_it_was_paused_is_told_to_be_back() {
    let (ledger, audit) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .endpoint("ledger", &ledger.url(), "")
        .endpoint("audit", &audit.url(), "events = [\"relay.*\"]")
        .start()
        .await;
    ledger.answers(Reply::status(500));
    for number in 0..5 {
        relay.result(&format!("u{number}"), "2").await;
    }
    order(&relay, "ledger", "pause").await;
    relay.advance(secs(3600));
    relay.settle().await;
    ledger.answers(Reply::status(204));
    assert_eq!((ledger.count(), audit.count()), (5, 1));
    order(&relay, "ledger", "resume").await;
    relay.settle().await;
    assert_eq!(ledger.count(), 10);
    assert_eq!(
        audit.kinds(),
        ["relay.endpoint.down", "relay.endpoint.recovered"]
    );
}

#[tokio::test]
async fn a_pause_by_an_operator_alone_is_no_news() {
    let (ledger, audit) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .endpoint("ledger", &ledger.url(), "")
        .endpoint("audit", &audit.url(), "events = [\"relay.*\"]")
        .start()
        .await;
    ledger.answers_next(Reply::status(500));
    relay.result("u0", "2").await;
    order(&relay, "ledger", "pause").await;
    relay.result("u1", "2").await;
    assert_eq!(ledger.count(), 1);
    order(&relay, "ledger", "resume").await;
    relay.settle().await;
    // What had failed does not wait for its old schedule.
    assert_eq!(relay.outcomes("u0", "ledger").await, ["status", "ok"]);
    assert_eq!(relay.outcomes("u1", "ledger").await, ["ok"]);
    assert_eq!(audit.count(), 0);
}
