//! Contract §6: what goes out while an endpoint is down, and when: one event that is refused for its own sake does not
//! keep the others, and what a receiver asked for is kept to by probes and deliveries, also after a restart.

use std::time::Duration;

use vexora_relay::domain::Timestamp;

use crate::kit::{Relay, Reply, Setup, Sink, hours, secs};

async fn holds(relay: &Relay) -> bool {
    let name = "ledger".parse().unwrap();
    relay.store().health(&name).await.unwrap().holds()
}

/// Which users' results went out since, in order.
fn users(sink: &Sink, since: usize) -> Vec<String> {
    let requests = sink.requests();
    requests[since..].iter().map(|one| one.user()).collect()
}

/// Nothing goes out before `then`, and the result of this user does at that moment or hardly later.
async fn goes_out_at(relay: &Relay, sink: &Sink, then: Timestamp, id: &str) {
    let before = sink.count();
    relay.clock.advance_to(then.minus(Duration::from_millis(1)));
    relay.settle().await;
    assert_eq!(users(sink, before), Vec::<String>::new(), "before {then}");
    // How long an attempt took is measured in real time.
    relay.clock.advance_to(then.plus(secs(1)));
    relay.settle().await;
    assert_eq!(users(sink, before), [id], "at {then}");
}

#[tokio::test]
async fn one_event_that_is_always_refused_does_not_keep_a_quiet_endpoint_down() {
    let sink = Sink::start().await;
    sink.refuses("poison");
    let mut relay = Setup::new()
        .endpoint("ledger", &sink.url(), "events = [\"kyc.*\"]")
        .start()
        .await;
    relay.result("poison", "2").await;
    while !holds(&relay).await {
        relay.try_next("poison", "ledger").await;
    }
    assert_eq!(sink.count(), 5);
    // Down, by its doing alone; it is probed with it, as there is nothing else.
    relay.advance(secs(5));
    relay.settle().await;
    relay.advance(secs(10));
    relay.settle().await;
    assert_eq!(users(&sink, 5), ["poison", "poison"]);
    relay.restart().await;
    for id in ["u0", "u1"] {
        relay.advance(secs(1));
        relay.result(id, "3").await;
        relay.result(id, "2").await;
    }
    relay.result("poison", "3").await;
    assert_eq!(sink.count(), 7);
    // The next probe is the oldest that was not tried since: it is heard, and lets the others out.
    relay.advance(secs(18));
    relay.settle().await;
    let mut told = users(&sink, 7);
    assert_eq!(told[0], "u0");
    told.retain(|id| id != "poison");
    told.sort();
    assert_eq!(told, ["u0", "u0", "u1", "u1"]);
    assert!(!holds(&relay).await);
    let (refused, _) = relay.delivery("poison", "ledger").await;
    assert!(refused.is_pending(), "what comes after it waits for it");
}

#[tokio::test]
async fn while_everything_is_refused_the_probes_go_round() {
    let sink = Sink::start().await;
    sink.answers(Reply::status(500));
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let ids = ["u0", "u1", "u2", "u3", "u4"];
    for id in ids {
        relay.advance(Duration::from_millis(10));
        relay.result(id, "2").await;
    }
    assert!(holds(&relay).await);
    for wait in [5, 10, 20, 40, 80, 160, 300] {
        relay.advance(secs(wait));
        relay.settle().await;
    }
    assert_eq!(
        users(&sink, 5),
        ["u0", "u1", "u2", "u3", "u4", "u0", "u1"],
        "the oldest first"
    );
}

#[tokio::test]
async fn a_probe_keeps_to_what_the_endpoint_asked_for() {
    for restart in [false, true] {
        let sink = Sink::start().await;
        let mut relay = Setup::new()
            .endpoint("ledger", &sink.url(), "")
            .start()
            .await;
        sink.answers(Reply::status(500));
        for id in ["u0", "u1", "u2", "u3"] {
            relay.advance(Duration::from_millis(10));
            relay.result(id, "2").await;
        }
        relay.advance(Duration::from_millis(10));
        sink.answers(Reply::with_header(503, "retry-after", "120"));
        relay.result("u4", "2").await;
        assert!(holds(&relay).await);
        let asked = relay.now().plus(secs(120));
        if restart {
            relay.restart().await;
        }
        goes_out_at(&relay, &sink, asked, "u0").await;
        // The probe is asked to wait for longer than anybody waits for one delivery.
        let answered = relay.now();
        sink.answers(Reply::with_header(429, "retry-after", "7200"));
        if restart {
            relay.restart().await;
        }
        goes_out_at(&relay, &sink, answered.plus(secs(120)), "u1").await;
        let answered = relay.now();
        sink.answers(Reply::status(204));
        if restart {
            relay.restart().await;
        }
        // The others after the longest pause; the one that was told to come back in two hours, then.
        relay.clock.advance_to(answered.plus(secs(299)));
        relay.settle().await;
        assert_eq!(sink.count(), 7);
        relay.clock.advance_to(answered.plus(secs(300)));
        relay.settle().await;
        assert_eq!(users(&sink, 7)[0], "u2");
        let mut rest = users(&sink, 7);
        rest.sort();
        assert_eq!(rest, ["u0", "u2", "u3", "u4"]);
        goes_out_at(&relay, &sink, answered.plus(hours(2)), "u1").await;
    }
}

#[tokio::test]
async fn what_one_delivery_was_asked_to_wait_outlives_an_outage_and_a_resumption() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    sink.answers_next(Reply::with_header(429, "retry-after", "7200"));
    relay.result("patient", "2").await;
    let asked = relay.now().plus(hours(2));
    relay.advance(secs(300));
    sink.answers(Reply::status(500));
    for number in 0..4 {
        relay.result(&format!("u{number}"), "2").await;
    }
    assert!(holds(&relay).await);
    sink.answers(Reply::status(204));
    relay
        .store()
        .resume(&"ledger".parse().unwrap(), relay.now())
        .await
        .unwrap();
    relay.settle().await;
    let mut told = users(&sink, 5);
    told.sort();
    assert_eq!(told, ["u0", "u1", "u2", "u3"]);
    goes_out_at(&relay, &sink, asked, "patient").await;
}

#[tokio::test]
async fn what_an_endpoint_asked_for_outlives_a_restart() {
    let sink = Sink::start().await;
    let mut relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let until = Timestamp::from_millis((relay.now().as_secs() + 91) * 1000);
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + secs(until.as_secs()));
    sink.answers_next(Reply::with_header(503, "retry-after", &date));
    relay.result("u0", "2").await;
    relay.restart().await;
    relay.result("u1", "2").await;
    relay
        .clock
        .advance_to(until.minus(Duration::from_millis(1)));
    relay.settle().await;
    assert_eq!(sink.count(), 1, "before the time it named");
    relay.clock.advance_to(until.plus(secs(1)));
    relay.settle().await;
    assert_eq!(sink.count(), 3);
}
