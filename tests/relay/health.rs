//! Contract §6: an endpoint that fails five times in a row is left alone but for a probe at a time, and nothing that is
//! held is lost, reordered or used up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use vexora_relay::domain::{DeliveryState, Timestamp};

use crate::kit::{Relay, Reply, Setup, Sink, secs};

/// Five users' results fail: the endpoint is down. Returns when that was.
async fn goes_down(relay: &Relay, sink: &Sink) -> Timestamp {
    sink.answers(Reply::status(500));
    for number in 0..5 {
        // One after the other, so that one of them is the oldest.
        relay.advance(Duration::from_millis(10));
        relay.result(&format!("u{number}"), "2").await;
    }
    relay.now()
}

async fn health(relay: &Relay, endpoint: &str) -> vexora_relay::domain::Health {
    let name = endpoint.parse().unwrap();
    relay.store().health(&name).await.unwrap()
}

/// Nothing goes out until `then`, and one does at that moment.
async fn next_probe_is_at(relay: &Relay, sink: &Sink, then: Timestamp) {
    let before = sink.count();
    relay.clock.advance_to(then.minus(Duration::from_millis(1)));
    relay.settle().await;
    assert_eq!(sink.count(), before, "went out before {then}");
    relay.clock.advance_to(then);
    relay.settle().await;
    assert_eq!(sink.count(), before + 1, "one probe at {then}");
}

#[tokio::test]
async fn five_failures_in_a_row_hold_everything_but_ever_rarer_probes() {
    let sink = Sink::start().await;
    let mut relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let mut last = goes_down(&relay, &sink).await;
    assert_eq!(sink.count(), 5);
    relay.result("u5", "2").await;
    assert_eq!(sink.count(), 5, "what is new is held too");
    for (number, wait) in [5, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
        last = last.plus(secs(wait));
        next_probe_is_at(&relay, &sink, last).await;
        if number == 3 {
            relay.restart().await;
        }
    }
    assert_eq!(sink.requests()[5].user(), "u0", "the probe is the oldest");
    let (oldest, attempts) = relay.delivery("u0", "ledger").await;
    assert_eq!(
        (attempts.len(), oldest.spent),
        (3, 1),
        "probes use up nothing"
    );

    sink.answers(Reply::status(204));
    relay.advance(secs(300));
    relay.settle().await;
    assert_eq!(sink.count(), 5 + 9 + 5, "all that was held, at once");
    for number in 0..6 {
        let (delivery, _) = relay.delivery(&format!("u{number}"), "ledger").await;
        let at = relay.now();
        assert_eq!(delivery.state, DeliveryState::Delivered { at }, "u{number}");
    }
    assert!(!health(&relay, "ledger").await.holds());
}

#[tokio::test]
async fn a_test_says_what_holds_it_and_goes_out_when_nothing_does() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let ask = async |what: &str| {
        let path = format!("/endpoints/ledger/{what}");
        relay.admin("POST", &path, &json!({})).await.1
    };
    let free = ask("test").await;
    assert_eq!(
        (&free["held"], &free["notBefore"]),
        (&Value::Null, &Value::Null)
    );
    sink.answers(Reply::with_header(503, "retry-after", "60"));
    relay.settle().await;
    let asked = ask("test").await;
    let until = relay.now().plus(secs(60)).to_string();
    assert_eq!(
        (&asked["held"], &asked["notBefore"]),
        (&Value::Null, &json!(until))
    );

    relay.advance(secs(60));
    let since = goes_down(&relay, &sink).await;
    let held = ask("test").await["held"].clone();
    assert_eq!(
        (&held["state"], &held["pausedBy"]),
        (&json!("down"), &Value::Null)
    );
    assert!(held["since"].as_str().unwrap() <= since.to_string().as_str());
    let (_, shown) = relay.admin("GET", "/endpoints/ledger", &json!({})).await;
    assert_eq!(held["nextProbe"], shown["nextProbe"]);
    assert!(held["nextProbe"].as_str().unwrap() > since.to_string().as_str());

    sink.answers(Reply::status(410));
    relay.advance(secs(5));
    relay.settle().await;
    let gone = json!({
        "state": "paused", "since": relay.now().to_string(), "pausedBy": "gone", "nextProbe": null,
    });
    assert_eq!(ask("test").await["held"], gone);

    ask("resume").await;
    sink.answers(Reply::status(204));
    let last = ask("test").await;
    assert_eq!(last["held"], Value::Null);
    relay.settle().await;
    let heard = sink.requests();
    assert!(
        heard
            .iter()
            .any(|one| one.header("webhook-id") == last["event"].as_str().unwrap())
    );

    let elsewhere = Setup::new().endpoint("other", &sink.url(), "");
    ask("pause").await;
    relay.result("u9", "2").await;
    let mut relay = relay;
    relay.reload(elsewhere);
    let (status, refused) = relay
        .admin("POST", "/endpoints/ledger/test", &json!({}))
        .await;
    assert_eq!(
        (status, &refused["code"]),
        (404, &json!("no_such_endpoint"))
    );
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("not in the configuration any more"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_success_in_between_keeps_an_endpoint_up() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    for number in 0..20 {
        let status = if number % 5 == 4 { 204 } else { 500 };
        sink.answers_next(Reply::status(status));
        relay.result(&format!("u{number}"), "2").await;
    }
    assert_eq!(sink.count(), 20);
    assert!(!health(&relay, "ledger").await.holds());
}

#[tokio::test]
async fn what_was_held_goes_out_in_order_for_each_user() {
    let sink = Sink::start().await;
    let mut relay = Setup::new()
        .endpoint("ledger", &sink.url(), "events = [\"kyc.*\"]")
        .start()
        .await;
    goes_down(&relay, &sink).await;
    for status in ["3", "2", "3"] {
        for number in 0..5 {
            relay.result(&format!("u{number}"), status).await;
        }
    }
    relay.restart().await;
    let failed = sink.count();
    sink.answers(Reply::status(204));
    relay.advance(secs(3600));
    relay.settle().await;
    for number in 0..5 {
        let id = format!("u{number}");
        let heard: Vec<u64> = sink.requests()[failed..]
            .iter()
            .filter(|request| request.user() == id)
            .map(|request| request.json()["data"]["sequence"].as_u64().unwrap())
            .collect();
        assert_eq!(heard, [1, 2, 3, 4], "{id}");
    }
}

#[tokio::test]
async fn what_was_held_goes_out_one_two_four_at_a_time() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .vexora("rate_limit = \"off\"")
        .endpoint("ledger", &sink.url(), "concurrency = 6\ntimeout = \"60s\"")
        .with_workers_running()
        .start()
        .await;
    sink.answers(Reply::status(500));
    let users: Vec<String> = (0..30).map(|number| format!("u{number}")).collect();
    for (number, id) in users.iter().enumerate() {
        relay.says(id, "2", None);
        relay.post_callback(id, "2").await;
        if number < 5 {
            sink.has_received(number + 1).await;
        }
    }
    relay
        .is("down", async || health(&relay, "ledger").await.holds())
        .await;
    relay
        .is("known of all", async || relay.pending("ledger").await == 30)
        .await;
    let leave = Arc::new(Semaphore::new(0));
    let before = sink.count();
    sink.answers(Reply::Held(Arc::clone(&leave), vec![]));
    sink.forget_most_open();
    relay.advance(secs(300));
    let mut heard = 0;
    for step in [1, 1, 2, 4, 6, 6] {
        sink.has_received(before + heard + step).await;
        assert_eq!(sink.most_open(), step, "after {heard} were heard");
        leave.add_permits(step);
        heard += step;
    }
    leave.add_permits(100);
    sink.has_received(before + 30).await;
    assert_eq!(sink.most_open(), 6);
}

#[tokio::test]
async fn one_that_has_too_much_to_do_gets_one_at_a_time_until_it_hears() {
    for status in [429, 502, 503, 504] {
        let sink = Sink::start().await;
        let relay = Setup::new()
            .vexora("rate_limit = \"off\"")
            .endpoint("ledger", &sink.url(), "concurrency = 6\ntimeout = \"60s\"")
            .with_workers_running()
            .start()
            .await;
        sink.answers(Reply::status(status));
        relay.says("first", "2", None);
        relay.post_callback("first", "2").await;
        relay
            .is("answered", async || {
                let story = relay.story("first").await;
                let told = story.events.last().and_then(|(_, told)| told.first());
                told.is_some_and(|(_, attempts)| attempts.len() == 1)
            })
            .await;
        let leave = Arc::new(Semaphore::new(0));
        sink.answers(Reply::Held(Arc::clone(&leave), vec![]));
        for id in ["a", "b", "c", "d"] {
            relay.says(id, "2", None);
            relay.post_callback(id, "2").await;
        }
        relay
            .is("known of all", async || relay.pending("ledger").await == 5)
            .await;
        let mut heard = 1;
        for step in [1, 2] {
            sink.has_received(heard + step).await;
            assert_eq!(sink.most_open(), step, "{status}, after {heard}");
            leave.add_permits(step);
            heard += step;
        }
        leave.add_permits(100);
        sink.has_received(5).await;
    }
}

#[tokio::test]
async fn others_are_told_that_it_is_down_and_back_and_it_is_not() {
    let (ledger, audit) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .endpoint("ledger", &ledger.url(), "events = [\"*\"]")
        .endpoint("audit", &audit.url(), "events = [\"relay.endpoint.*\"]")
        .start()
        .await;
    let since = goes_down(&relay, &ledger).await;
    let down = audit.only();
    assert_eq!(down.kind(), "relay.endpoint.down");
    assert_eq!(down.json()["data"]["endpoint"], "ledger");
    assert_eq!(down.json()["data"]["since"], since.to_string());
    relay.advance(secs(5));
    relay.settle().await;
    assert_eq!(audit.count(), 1, "told once");
    ledger.answers(Reply::status(204));
    relay.advance(secs(10));
    relay.settle().await;
    assert_eq!(
        audit.kinds(),
        ["relay.endpoint.down", "relay.endpoint.recovered"]
    );
    assert_eq!(
        audit.requests()[1].json()["data"]["since"],
        since.to_string()
    );
    assert!(
        ledger.kinds().iter().all(|kind| kind == "kyc.approved"),
        "{:?}",
        ledger.kinds()
    );
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_held_told_of_once_and_resumed_by_an_operator() {
    let (ledger, audit) = (Sink::start().await, Sink::start().await);
    let mut relay = Setup::new()
        .endpoint(
            "ledger",
            &ledger.url(),
            "retry = [\"5s\"]\ngive_up_after = \"1h\"",
        )
        .endpoint("audit", &audit.url(), "events = [\"relay.*\"]")
        .start()
        .await;
    ledger.answers(Reply::status(500));
    relay.result("u0", "2").await;
    // Its last attempt meets the 410: it is held all the same.
    ledger.answers(Reply::status(410));
    relay.try_next("u0", "ledger").await;
    relay.result("u1", "2").await;
    assert_eq!(ledger.count(), 2);
    relay.restart().await;
    relay.advance(secs(7 * 24 * 3600));
    relay.settle().await;
    assert_eq!(ledger.count(), 2, "held for as long as it takes");
    assert_eq!(audit.kinds(), ["relay.endpoint.down"], "told once");
    ledger.answers(Reply::status(204));
    relay
        .store()
        .resume(&"ledger".parse().unwrap(), relay.now())
        .await
        .unwrap();
    relay.settle().await;
    for id in ["u0", "u1"] {
        assert_eq!(
            relay.outcomes(id, "ledger").await.last(),
            Some(&"ok"),
            "{id}"
        );
    }
    assert_eq!(ledger.count(), 4);
}

#[tokio::test]
async fn an_endpoint_that_asks_for_time_gets_it_from_all_users() {
    for (status, hint, pause) in [
        (429, Some("60"), 60),
        (503, Some("60"), 60),
        (429, Some("7200"), 300),
        (502, Some("60"), 0),
        (504, Some("60"), 0),
        (429, None, 0),
    ] {
        let sink = Sink::start().await;
        let relay = Setup::new()
            .endpoint("ledger", &sink.url(), "")
            .start()
            .await;
        sink.answers_next(match hint {
            Some(hint) => Reply::with_header(status, "retry-after", hint),
            None => Reply::status(status),
        });
        relay.result("u0", "2").await;
        relay.result("u1", "2").await;
        if pause > 0 {
            assert_eq!(sink.count(), 1, "{status}: u1 went out");
            relay.advance(secs(pause) - Duration::from_millis(1));
            relay.settle().await;
            assert_eq!(sink.count(), 1, "{status}: u1 went out early");
            relay.advance(Duration::from_millis(1));
            relay.settle().await;
        }
        assert_eq!(relay.outcomes("u1", "ledger").await, ["ok"], "{status}");
        assert_eq!(relay.outcomes("u0", "ledger").await[0], "status");
    }
}
