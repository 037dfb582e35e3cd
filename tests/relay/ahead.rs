//! Deliveries that are claimed before a hand is free for them: they go out as if they had not been, or are given back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use vexora_relay::domain::{DeliveryState, EndpointName};

use crate::kit::{Relay, Reply, Setup, Sink, secs};

const USERS: usize = 20;

/// An attempt that takes longer than any for which something is claimed ahead.
const SLOW: Duration = Duration::from_millis(50);

/// One after which what is claimed ahead is given back.
const VERY_SLOW: Duration = Duration::from_millis(250);

fn id(number: usize) -> String {
    format!("u{number}")
}

/// A relay whose only endpoint has a delivery for each of the users waiting, behind as many as may be out at a time, until
/// they are given leave.
async fn behind(sink: &Sink, hands: usize) -> (Relay, Arc<Semaphore>) {
    let leave = Arc::new(Semaphore::new(0));
    (0..hands).for_each(|_| sink.answers_next(Reply::Held(Arc::clone(&leave), vec![])));
    let lines = format!("concurrency = {hands}\ntimeout = \"5m\"");
    let relay = Setup::new()
        .vexora("rate_limit = \"off\"")
        .endpoint("ledger", &sink.url(), &lines)
        .endpoint("idle", &sink.url(), "events = [\"relay.test\"]")
        .with_workers_running()
        .start()
        .await;
    for number in 0..USERS {
        relay.says(&id(number), "2", None);
        relay.post_callback(&id(number), "2").await;
    }
    sink.has_received(hands).await;
    let are_made = async || relay.pending("ledger").await == USERS as u64;
    relay.is("everybody has a delivery", are_made).await;
    (relay, leave)
}

fn is_told(state: &DeliveryState) -> bool {
    matches!(state, DeliveryState::Delivered { .. })
}

fn told(states: &[DeliveryState]) -> usize {
    states.iter().filter(|state| is_told(state)).count()
}

fn ledger() -> EndpointName {
    "ledger".parse().unwrap()
}

/// How each stands, how often it was attempted, and how often it came; `None` while any is on its way or waits for its record.
async fn at_rest(relay: &Relay, sink: &Sink) -> Option<Vec<(DeliveryState, u32, usize)>> {
    let came: Vec<String> = sink.requests().iter().map(|one| one.user()).collect();
    let mut found = Vec::new();
    for number in 0..USERS {
        let (delivery, attempts) = relay.delivery(&id(number), "ledger").await;
        let times = came.iter().filter(|user| **user == id(number)).count();
        found.push((delivery, attempts, times));
    }
    let is_out = |state| matches!(state, DeliveryState::Delivering { .. });
    if sink.count() > came.len() || found.iter().any(|(one, ..)| is_out(one.state)) {
        return None;
    }
    let counted = found.into_iter().map(|(delivery, attempts, times)| {
        assert_eq!(attempts.len(), times, "{delivery:?}: {attempts:?}");
        (delivery.state, delivery.attempts, times)
    });
    Some(counted.collect())
}

/// Nothing is on its way, and each was counted as often as it came.
async fn counts_agree(relay: &Relay, sink: &Sink) -> Vec<DeliveryState> {
    relay
        .is("what is not sent is given back", async || {
            at_rest(relay, sink).await.is_some()
        })
        .await;
    let found = at_rest(relay, sink).await.expect("still so");
    let agree = found.into_iter().map(|(state, attempts, times)| {
        assert_eq!(attempts as usize, times, "{state:?}");
        state
    });
    agree.collect()
}

async fn all_are_told_once(relay: &Relay, sink: &Sink) {
    let is_done = async || relay.pending("ledger").await == 0;
    relay.is("all are told", is_done).await;
    let states = counts_agree(relay, sink).await;
    assert!(states.iter().all(is_told), "{states:?}");
    assert_eq!(sink.count(), USERS);
}

/// Attempts that were ever begun.
async fn claimed(relay: &Relay) -> u32 {
    let mut claimed = 0;
    for number in 0..USERS {
        claimed += relay.delivery(&id(number), "ledger").await.0.attempts;
    }
    claimed
}

/// Whoever is asked takes at least so long.
async fn takes(long: Duration) {
    let never = std::future::pending::<()>();
    assert!(tokio::time::timeout(long, never).await.is_err());
}

/// A relay with one hand whose first five deliveries are told, the sixth is out and the seventh will be, each of these two until it is
/// given leave.
async fn at_the_sixth(sink: &Sink) -> (Relay, [Arc<Semaphore>; 2]) {
    let (relay, leave) = behind(sink, 1).await;
    (0..4).for_each(|_| sink.answers_next(Reply::status(204)));
    let held = [0, 0].map(|none| Arc::new(Semaphore::new(none)));
    for one in &held {
        sink.answers_next(Reply::Held(Arc::clone(one), vec![]));
    }
    leave.add_permits(1);
    sink.has_received(6).await;
    (relay, held)
}

#[tokio::test]
async fn what_is_claimed_ahead_is_given_back_by_one_that_becomes_slow() {
    let sink = Sink::start().await;
    let (relay, [sixth, seventh]) = at_the_sixth(&sink).await;
    takes(VERY_SLOW).await;
    sixth.add_permits(1);
    sink.has_received(7).await;
    assert_eq!(claimed(&relay).await, 7);
    seventh.add_permits(1);
    all_are_told_once(&relay, &sink).await;
}

#[tokio::test]
async fn what_is_claimed_ahead_goes_out_with_a_lease_that_is_long_enough() {
    let sink = Sink::start().await;
    let (relay, [sixth, seventh]) = at_the_sixth(&sink).await;
    // More than one timeout, and not yet two.
    relay.advance(secs(400));
    sixth.add_permits(1);
    sink.has_received(7).await;
    let last = sink.requests().pop().unwrap();
    let (delivery, _) = relay.delivery(&last.user(), "ledger").await;
    let long_enough = relay.now().plus(secs(5 * 60 + 20));
    assert!(delivery.due().unwrap() >= long_enough, "{delivery:?}");
    seventh.add_permits(1);
    all_are_told_once(&relay, &sink).await;
}

#[tokio::test]
async fn a_backlog_goes_out_once_each_and_no_more_at_a_time_than_is_allowed() {
    let sink = Sink::start().await;
    let (relay, leave) = behind(&sink, 1).await;
    sink.forget_most_open();
    leave.add_permits(1);
    all_are_told_once(&relay, &sink).await;
    assert_eq!(sink.most_open(), 1);
}

#[tokio::test]
async fn what_is_claimed_ahead_does_not_go_out_to_one_that_was_paused() {
    let sink = Sink::start().await;
    let (relay, [sixth, seventh]) = at_the_sixth(&sink).await;
    seventh.add_permits(1);
    let paused = relay.store().pause(&ledger(), relay.now()).await;
    assert!(paused.unwrap().holds());
    sixth.add_permits(1);
    let states = counts_agree(&relay, &sink).await;
    assert_eq!(sink.count(), 6, "the sixth was out");
    assert_eq!(told(&states), 6);
    relay.store().resume(&ledger(), relay.now()).await.unwrap();
    all_are_told_once(&relay, &sink).await;
}

#[tokio::test]
async fn what_is_claimed_ahead_uses_up_no_attempt_at_one_that_goes_down() {
    let sink = Sink::start().await;
    let (relay, leave) = behind(&sink, 2).await;
    (0..4).for_each(|_| sink.answers_next(Reply::status(204)));
    sink.answers(Reply::status(500));
    leave.add_permits(2);
    let is_down = async || relay.store().health(&ledger()).await.unwrap().holds();
    relay.is("it is down", is_down).await;
    let states = counts_agree(&relay, &sink).await;
    // Five failures in a row, and the one other that may be out with the fifth.
    assert_eq!(told(&states), 6);
    assert!((11..=12).contains(&sink.count()), "{}", sink.count());
    sink.answers(Reply::status(204));
    relay.advance(secs(10));
    let is_done = async || relay.pending("ledger").await == 0;
    relay.is("all are told in the end", is_done).await;
    counts_agree(&relay, &sink).await;
}

#[tokio::test]
async fn what_is_claimed_ahead_is_given_back_at_the_end() {
    let sink = Sink::start().await;
    let (mut relay, [sixth, seventh]) = at_the_sixth(&sink).await;
    seventh.add_permits(1);
    let store = relay.store();
    let meanwhile = async move {
        // Whoever stands by does so until the workers are told to end.
        let idle = "idle".parse().unwrap();
        while store.signals().deliverer(&idle).is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(sink.count(), 6);
        sixth.add_permits(1);
        sink
    };
    let (_, sink) = futures_util::future::join(relay.restart(), meanwhile).await;
    // As an attempt that nobody saw the end of it would be in the story of whom it was claimed for.
    all_are_told_once(&relay, &sink).await;
}

#[tokio::test]
async fn what_was_heard_is_recorded_though_others_hang() {
    let sink = Sink::start().await;
    let (relay, leave) = behind(&sink, 3).await;
    for hangs in [false, false, true, false, true] {
        let answer = Reply::status(204);
        sink.answers_next(if hangs { Reply::Stalls(vec![]) } else { answer });
    }
    leave.add_permits(3);
    let only_two = async || relay.pending("ledger").await == 2;
    relay.is("all others are told", only_two).await;
    assert_eq!(sink.count(), USERS);
}

#[tokio::test]
async fn nothing_is_claimed_ahead_for_one_that_is_slow() {
    let sink = Sink::start().await;
    let (relay, leave) = behind(&sink, 1).await;
    sink.answers(Reply::Held(Arc::clone(&leave), vec![]));
    for number in 1..5 {
        sink.has_received(number).await;
        takes(SLOW).await;
        assert_eq!(claimed(&relay).await as usize, number);
        leave.add_permits(1);
    }
}
