//! Contract §6: when a failed attempt is made again, and when no more.

use std::time::Duration;

use vexora_relay::domain::{AbandonReason, DeliveryState};

use crate::kit::{Relay, Reply, Setup, Sink, hours, secs};

/// The wait after the latest attempt of u1's delivery.
async fn wait(relay: &Relay, endpoint: &str) -> Duration {
    let (delivery, attempts) = relay.delivery("u1", endpoint).await;
    let last = attempts.last().unwrap();
    delivery.due().expect("pending").since(last.at)
}

/// Another user's result is taken in between: the endpoint is not down, it only refuses u1's.
async fn endpoint_is_up(relay: &Relay, sink: &Sink, number: usize) {
    sink.answers_next(Reply::status(204));
    relay.result(&format!("other-{number}"), "2").await;
}

fn of_u1(sink: &Sink) -> usize {
    sink.requests()
        .iter()
        .filter(|request| request.user() == "u1")
        .count()
}

fn abandoned(state: DeliveryState) -> Option<AbandonReason> {
    match state {
        DeliveryState::Abandoned { reason, .. } => Some(reason),
        _ => None,
    }
}

#[tokio::test]
async fn the_schedule_is_kept_to_the_millisecond_and_then_it_is_abandoned() {
    let sink = Sink::start().await;
    sink.answers(Reply::status(500));
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.result("u1", "2").await;
    let steps = [
        secs(5),
        secs(60),
        secs(300),
        secs(1800),
        hours(2),
        hours(5),
        hours(10),
        hours(14),
        hours(20),
        hours(24),
    ];
    for (made, step) in (1..).zip(steps) {
        assert_eq!(of_u1(&sink), made);
        endpoint_is_up(&relay, &sink, made).await;
        assert_eq!(wait(&relay, "ledger").await, step, "after attempt {made}");
        let (delivery, _) = relay.delivery("u1", "ledger").await;
        let due = delivery.due().unwrap();
        relay.clock.advance_to(due.minus(Duration::from_millis(1)));
        assert_eq!(relay.settle().await, 0, "tried before its time");
        relay.try_next("u1", "ledger").await;
    }
    let (delivery, attempts) = relay.delivery("u1", "ledger").await;
    assert_eq!(abandoned(delivery.state), Some(AbandonReason::Exhausted));
    assert_eq!((of_u1(&sink), attempts.len()), (11, 11));
}

#[tokio::test]
async fn jitter_strays_within_its_bounds_and_does_stray() {
    let sink = Sink::start().await;
    sink.answers(Reply::status(500));
    let relay = Setup::new()
        .endpoint(
            "ledger",
            &sink.url(),
            "retry = [\"100s\", \"100s\", \"100s\", \"100s\", \"100s\", \"100s\"]\njitter = 0.2",
        )
        .start()
        .await;
    relay.result("u1", "2").await;
    let mut waits = Vec::new();
    for number in 0..6 {
        waits.push(wait(&relay, "ledger").await);
        endpoint_is_up(&relay, &sink, number).await;
        relay.try_next("u1", "ledger").await;
    }
    assert!(
        waits
            .iter()
            .all(|wait| (secs(80)..=secs(120)).contains(wait)),
        "{waits:?}"
    );
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 3, "{waits:?}");
}

#[tokio::test]
async fn a_delivery_that_is_too_old_is_abandoned_at_its_deadline() {
    let sink = Sink::start().await;
    sink.answers(Reply::status(500));
    let relay = Setup::new()
        .endpoint(
            "ledger",
            &sink.url(),
            "retry = [\"1h\", \"1h\", \"1h\"]\ngive_up_after = \"90m\"",
        )
        .start()
        .await;
    relay.result("u1", "2").await;
    relay.try_next("u1", "ledger").await;
    relay.try_next("u1", "ledger").await;
    let (delivery, attempts) = relay.delivery("u1", "ledger").await;
    assert_eq!(abandoned(delivery.state), Some(AbandonReason::TooOld));
    assert_eq!(attempts.len(), 3, "a last attempt at the deadline itself");
    assert_eq!(attempts[2].at, delivery.created.plus(secs(90 * 60)));
}

#[tokio::test]
async fn a_retry_after_hint_lengthens_the_wait_and_never_shortens_it() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint(
            "ledger",
            &sink.url(),
            "retry = [\"1m\", \"1m\", \"1m\", \"1m\", \"1m\", \"1m\", \"1m\"]",
        )
        .start()
        .await;
    relay.says("u1", "2", None);
    relay.post_callback("u1", "2").await;
    let cases = [
        (429, "600", secs(600)),
        (503, "5", secs(60)),
        (503, "600", secs(600)),
        (500, "600", secs(60)),
        (429, "soon", secs(60)),
        (429, "99999999999999999999999", hours(24)),
    ];
    let mut spared = secs(0);
    for (number, (status, hint, expected)) in cases.into_iter().enumerate() {
        if number > 0 {
            relay.advance(spared);
            endpoint_is_up(&relay, &sink, number).await;
        }
        // For so long nothing at all goes to an endpoint that asked for time.
        spared = match (status, hint) {
            (503, "5") => secs(5),
            (500, _) | (_, "soon") => secs(0),
            _ => secs(300),
        };
        sink.answers(Reply::with_header(status, "retry-after", hint));
        if sink.count() == 0 {
            relay.settle().await;
        } else {
            relay.try_next("u1", "ledger").await;
        }
        assert_eq!(wait(&relay, "ledger").await, expected, "{status} {hint}");
    }
}

#[tokio::test]
async fn a_retry_after_date_is_when_it_is_tried_again() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "retry = [\"1m\"]")
        .start()
        .await;
    let asked = relay.now().as_secs() + 900;
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + secs(asked));
    sink.answers(Reply::with_header(503, "retry-after", &date));
    relay.result("u1", "2").await;
    let (delivery, _) = relay.delivery("u1", "ledger").await;
    assert_eq!(delivery.due().unwrap().as_secs(), asked);
}
