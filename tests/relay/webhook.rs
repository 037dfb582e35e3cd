//! Contract §6: what goes over the wire to a receiver, to the letter.

use serde_json::json;
use vexora_relay::clock::Clock;

use crate::kit::{MERCHANT, Reply, Setup, Sink, WHSEC, hmac_signature, secs};

#[tokio::test]
async fn a_webhook_is_what_the_contract_says() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint(
            "ledger",
            &sink.url(),
            "headers = { Authorization = \"Bearer of-the-ledger\" }",
        )
        .start()
        .await;
    relay.advance(std::time::Duration::from_millis(1_234));
    relay.says("jp_user_100008", "3", Some("証明書の期限切れ \"quoted\""));
    relay.post_callback("jp_user_100008", "3").await;
    relay.settle().await;
    let request = sink.only();
    assert_eq!(request.path, "POST /hooks/kyc HTTP/1.1");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(
        request.header("user-agent"),
        concat!("vexora-relay/", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(request.header("authorization"), "Bearer of-the-ledger");
    let event = relay.events("jp_user_100008").await.remove(0);
    let text = format!(
        r#"{{"type":"kyc.rejected","timestamp":"{}","data":{{"merchantNo":"{MERCHANT}","userId":"jp_user_100008","authenticationStatus":"3","status":"rejected","failReason":"証明書の期限切れ \"quoted\"","sequence":1,"source":"callback"}}}}"#,
        event.at
    );
    assert_eq!(String::from_utf8(request.body.clone()).unwrap(), text);
    let id = request.header("webhook-id");
    assert_eq!(id, event.id.to_string());
    assert!(id.starts_with("evt_") && id.len() == 30, "{id}");
    let stamp = request.header("webhook-timestamp");
    assert_eq!(stamp, relay.clock.now().as_secs().to_string());
    assert_eq!(
        request.header("webhook-signature"),
        hmac_signature(WHSEC, id, stamp, &request.body)
    );
}

#[tokio::test]
async fn every_attempt_has_the_same_id_and_body_and_a_timestamp_of_its_own() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "retry = [\"5s\", \"1m\"]")
        .start()
        .await;
    sink.answers_next(Reply::status(500));
    sink.answers_next(Reply::status(500));
    relay.result("u1", "2").await;
    relay.try_next("u1", "ledger").await;
    relay.try_next("u1", "ledger").await;
    let requests = sink.requests();
    assert_eq!(requests.len(), 3);
    let stamps: Vec<u64> = requests
        .iter()
        .map(|r| r.header("webhook-timestamp").parse().unwrap())
        .collect();
    assert!(
        stamps[1] >= stamps[0] + 5 && stamps[2] >= stamps[1] + 60,
        "{stamps:?}"
    );
    for request in &requests {
        assert_eq!(
            request.header("webhook-id"),
            requests[0].header("webhook-id")
        );
        assert_eq!(request.body, requests[0].body);
        let (id, stamp) = (
            request.header("webhook-id"),
            request.header("webhook-timestamp"),
        );
        assert_eq!(
            request.header("webhook-signature"),
            hmac_signature(WHSEC, id, stamp, &request.body)
        );
    }
    assert_eq!(
        relay.outcomes("u1", "ledger").await,
        ["status", "status", "ok"]
    );
}

#[tokio::test]
async fn two_endpoints_hear_of_one_result_under_one_id() {
    let (one, two) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .endpoint("one", &one.url(), "")
        .endpoint(
            "two",
            &two.url(),
            "secret = \"whsec_//////////////////////////////////////////8=\"",
        )
        .start()
        .await;
    relay.result("u1", "2").await;
    let (one, two) = (one.only(), two.only());
    assert_eq!(one.header("webhook-id"), two.header("webhook-id"));
    assert_eq!(one.body, two.body);
    assert_ne!(
        one.header("webhook-signature"),
        two.header("webhook-signature")
    );
}

#[tokio::test]
async fn what_made_us_ask_is_told() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.says("u1", "2", None);
    let (source, trust) = (
        vexora_relay::domain::Source::Reconcile,
        vexora_relay::domain::Trust::Watch,
    );
    relay
        .store()
        .request_verification(
            &crate::kit::merchant(),
            &crate::kit::user("u1"),
            source,
            trust,
            relay.now(),
        )
        .await
        .unwrap();
    relay.settle().await;
    assert_eq!(sink.only().json()["data"]["source"], json!("reconcile"));
}

#[tokio::test]
async fn an_abandoned_delivery_is_told_to_others_and_not_to_the_endpoint_itself() {
    let (dead, pager) = (Sink::start().await, Sink::start().await);
    dead.answers(Reply::status(500));
    let relay = Setup::new()
        .endpoint("dead", &dead.url(), "events = [\"*\"]\nretry = [\"5s\"]")
        .endpoint("pager", &pager.url(), "events = [\"relay.*\"]")
        .start()
        .await;
    relay.result("u1", "2").await;
    relay.try_next("u1", "dead").await;
    let told = pager.only().json();
    let event = relay.events("u1").await.remove(0);
    assert_eq!(told["type"], "relay.delivery.abandoned");
    assert_eq!(
        told["data"],
        json!({"endpoint": "dead", "event": event.id.to_string(), "attempts": 2, "reason": "exhausted", "lastFailure": "status"})
    );
    relay.advance(secs(3600));
    assert_eq!(relay.settle().await, 0, "abandoned and still tried");
    assert_eq!(dead.count(), 2);
}
