//! Contract §1: a crash at any point leaves work that is picked up again, under the same `webhook-id`.

use crate::kit::{MERCHANT, Relay, Reply, Service, Setup, Sink, TOKEN, merchant, post, secs};
use vexora_relay::domain::VerifyLane;

const LEASE: std::time::Duration = secs(30);

/// A process claims the one query that is due, and is never heard of again.
async fn claim_the_query(relay: &Relay) {
    let (store, merchant) = (relay.store(), merchant());
    let claimed = store
        .claim_verifications(&merchant, VerifyLane::Main, relay.now(), LEASE, 10)
        .await;
    assert_eq!(claimed.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_accepted_is_asked_about_after_a_restart() {
    let sink = Sink::start().await;
    let mut relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.says("u1", "2", None);
    relay.post_callback("u1", "2").await;
    relay.restart().await;
    relay.settle().await;
    assert_eq!(sink.kinds(), ["kyc.approved"]);
}

#[tokio::test]
async fn a_query_that_was_out_is_asked_again_after_a_restart() {
    let sink = Sink::start().await;
    let mut relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.says("u1", "2", None);
    relay.post_callback("u1", "2").await;
    claim_the_query(&relay).await;
    assert_eq!(relay.settle().await, 0, "somebody else asks already");
    relay.restart().await;
    relay.settle().await;
    assert_eq!(sink.count(), 1);
}

#[tokio::test]
async fn a_query_that_nobody_answers_for_is_asked_again_when_its_lease_ends() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.says("u1", "2", None);
    relay.post_callback("u1", "2").await;
    claim_the_query(&relay).await;
    relay.advance(LEASE - secs(1));
    assert_eq!(relay.settle().await, 0);
    relay.advance(secs(1));
    relay.settle().await;
    assert_eq!(sink.count(), 1);
}

#[tokio::test]
async fn a_verdict_that_was_recorded_is_told_after_a_restart_under_its_id() {
    let sink = Sink::start().await;
    let mut relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    sink.answers_next(Reply::status(500));
    relay.result("u1", "2").await;
    relay.restart().await;
    relay.try_next("u1", "ledger").await;
    let requests = sink.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(
        requests[0].header("webhook-id"),
        requests[1].header("webhook-id")
    );
    assert_eq!(relay.outcomes("u1", "ledger").await, ["status", "ok"]);
}

#[tokio::test]
async fn an_attempt_that_was_out_counts_and_is_made_again_under_the_same_id() {
    let sink = Sink::start().await;
    let mut relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    sink.answers_next(Reply::status(500));
    relay.result("u1", "2").await;
    let (delivery, _) = relay.delivery("u1", "ledger").await;
    relay.clock.advance_to(delivery.due().unwrap());
    let endpoint = "ledger".parse().unwrap();
    let claimed = relay
        .store()
        .claim_deliveries(&endpoint, relay.now(), LEASE, 10)
        .await
        .unwrap();
    assert_eq!(claimed[0].delivery.attempts, 2);
    relay.restart().await;
    relay.settle().await;
    let requests = sink.requests();
    assert_eq!(
        requests.len(),
        2,
        "the attempt in between never reached the wire"
    );
    assert_eq!(
        requests[1].header("webhook-id"),
        claimed[0].event.id.to_string()
    );
    assert_eq!(
        requests[1].header("webhook-id"),
        requests[0].header("webhook-id")
    );
    assert_eq!(
        relay.outcomes("u1", "ledger").await,
        ["status", "interrupted", "ok"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_a_query_or_an_attempt_is_out_loses_nothing() {
    let (sink, vexora) = (Sink::start().await, Sink::start().await);
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new()
        .provider(&vexora.base_url())
        .log("format = \"json\"")
        .endpoint("ledger", &sink.url(), "");
    let (_sandbox, file) = setup.write(directory.path()).await;
    vexora.answers(Reply::Stalls(vec![]));
    sink.answers(Reply::Stalls(vec![]));
    let service = Service::start(&file);
    let path = format!("/callback/{MERCHANT}/{TOKEN}");
    let answer = post(service.address, &path, br#"{"userId":"u1"}"#).await;
    assert_eq!(answer, (200, "OK".into()));
    vexora.has_received(1).await;
    service.kill();

    vexora.answers(Reply::verdict("2"));
    let service = Service::start(&file);
    sink.has_received(1).await;
    service.kill();

    sink.answers(Reply::status(204));
    let mut service = Service::start(&file);
    sink.has_received(2).await;
    service.wait_for("delivered to ledger");
    service.stop();
    let requests = sink.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(
        requests[0].header("webhook-id"),
        requests[1].header("webhook-id")
    );
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(vexora.count(), 2);
}
