//! Who is watched, how often they are asked about, and that nobody has to call back.

use std::collections::BTreeMap;

use vexora_relay::domain::{Answer, QueryFailure, Trust, VerifyLane, VerifyPhase};
use vexora_relay::store::Lane;

use crate::kit::{Shape, World, merchant, secs, user};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

#[tokio::test]
async fn a_user_we_applied_for_is_found_though_no_callback_ever_comes() {
    let world = World::new().await;
    world.apply("silent-u1").await;
    world.pass(secs(HOUR), secs(30)).await;
    assert_eq!(world.receiver.results("silent-u1"), ["approved"]);
    assert!(world.story("silent-u1").await.callbacks.is_empty());
    let asked = world.queries("silent-u1");
    assert!((1..=3).contains(&asked), "{asked} queries");
    world.end().await;
}

#[tokio::test]
async fn a_user_whom_an_operator_names_is_watched_until_final() {
    let world = World::new().await;
    world.set("u1", "0");
    world.set("u2", "2");
    let answer = world.watch(&["u1", "u2"]).await;
    assert_eq!(
        (answer["watched"].as_u64(), answer["new"].as_u64()),
        (Some(2), Some(2))
    );
    assert_eq!(world.watch(&["u1"]).await["new"].as_u64(), Some(0));
    world.pass(secs(HOUR), secs(MINUTE)).await;
    assert_eq!(world.receiver.results("u2"), ["approved"]);
    assert!(world.receiver.results("u1").is_empty());
    world.set("u1", "3");
    world.pass(secs(15 * MINUTE), secs(MINUTE)).await;
    assert_eq!(world.receiver.results("u1"), ["rejected"]);
    world.end().await;
}

#[tokio::test]
async fn a_callback_without_a_final_verdict_starts_a_watch() {
    let world = World::new().await;
    world.set("u1", "1");
    world.ring("u1", "1").await;
    world.pass(secs(2 * HOUR), secs(MINUTE)).await;
    let before = world.queries("u1");
    world.set("u1", "2");
    world.pass(secs(15 * MINUTE), secs(MINUTE)).await;
    assert_eq!(
        world.receiver.results("u1"),
        ["approved"],
        "after {before} queries"
    );
    world.end().await;
}

#[tokio::test]
async fn an_operators_question_that_finds_a_user_waiting_starts_a_watch() {
    let world = World::new().await;
    world.set("u1", "0");
    let (status, _) = world.api("POST", "users/1027749636/u1/verify", None).await;
    assert_eq!(status, 202);
    world.pass(secs(HOUR), secs(MINUTE)).await;
    world.set("u1", "2");
    world.pass(secs(15 * MINUTE), secs(MINUTE)).await;
    assert_eq!(world.receiver.results("u1"), ["approved"]);
    world.end().await;
}

#[tokio::test]
async fn the_watched_are_asked_about_spread_evenly_over_the_interval() {
    let world = World::new().await;
    let names: Vec<String> = (0..90).map(|n| format!("u{n}")).collect();
    for name in &names {
        world.set(name, "1");
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    world.watch(&all).await;
    let mut per_minute = BTreeMap::new();
    let mut before = 0;
    for minute in 0..30 {
        world.pass(secs(MINUTE), secs(10)).await;
        let asked: u64 = names.iter().map(|name| world.queries(name)).sum();
        per_minute.insert(minute, asked - before);
        before = asked;
    }
    assert!(
        per_minute.values().all(|asked| (4..=8).contains(asked)),
        "{per_minute:?}"
    );
    assert!(
        (178..=182).contains(&before),
        "{before} queries in two intervals"
    );
    world.end().await;
}

#[tokio::test]
async fn they_are_asked_about_ever_slower_then_given_up_loudly_and_still_asked_daily() {
    let world = World::shaped(Shape {
        events: r#"["kyc.*", "relay.verification.stuck"]"#,
        ..Shape::default()
    })
    .await;
    world.set("u1", "1");
    world.watch(&["u1"]).await;
    let mut per_day = Vec::new();
    let mut before = 0;
    for _ in 0..6 {
        world.pass(secs(DAY), secs(15 * MINUTE)).await;
        per_day.push(world.queries("u1") - before);
        before = world.queries("u1");
    }
    assert!(
        (95..=97).contains(&per_day[0]) && (47..=49).contains(&per_day[1]),
        "{per_day:?}"
    );
    let daily: u64 = per_day[3..].iter().sum();
    assert!((2..=3).contains(&daily), "{per_day:?}");
    let phase = world.story("u1").await.verification.unwrap().phase;
    assert!(matches!(phase, VerifyPhase::Stuck { .. }));
    assert_eq!(
        world.receiver.kinds(),
        ["kyc.under_review", "relay.verification.stuck"]
    );
    world.set("u1", "2");
    world.pass(secs(DAY + HOUR), secs(HOUR)).await;
    assert_eq!(world.receiver.results("u1").last().unwrap(), "approved");
    world.end().await;
}

#[tokio::test]
async fn what_a_callback_started_goes_before_the_watch() {
    let world = World::shaped(Shape {
        rate: "1/s",
        ..Shape::default()
    })
    .await;
    let names: Vec<String> = (0..20).map(|n| format!("w{n}")).collect();
    for name in &names {
        world.set(name, "1");
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    world.watch(&all).await;
    world.clock.advance(secs(15 * MINUTE));
    world.set("called", "2");
    world.ring("called", "2").await;
    world.soon().await;
    assert_eq!(
        world.receiver.results("called"),
        ["approved"],
        "at once, before twenty that are due"
    );
    let asked: u64 = names.iter().map(|name| world.queries(name)).sum();
    assert!(asked <= 2, "within the rate limit; {asked}");
    world.end().await;
}

#[tokio::test]
async fn after_a_downtime_all_the_watched_are_asked_about_once_soon() {
    let mut world = World::new().await;
    for name in ["u1", "u2", "u3"] {
        world.set(name, "1");
    }
    world.watch(&["u1", "u2", "u3"]).await;
    world.pass(secs(15 * MINUTE), secs(MINUTE)).await;
    let before: Vec<u64> = ["u1", "u2", "u3"].map(|name| world.queries(name)).to_vec();
    // As its heartbeat would.
    world
        .store()
        .beat(vexora_relay::clock::Clock::now(&world.clock))
        .await
        .unwrap();
    world.stop().await;
    world.clock.advance(secs(44));
    world.start().await;
    world.soon().await;
    let short: Vec<u64> = ["u1", "u2", "u3"].map(|name| world.queries(name)).to_vec();
    world.stop().await;
    world.clock.advance(secs(46));
    world.set("u2", "2");
    world.start().await;
    world.soon().await;
    let long: Vec<u64> = ["u1", "u2", "u3"].map(|name| world.queries(name)).to_vec();
    assert!(
        short.iter().sum::<u64>() - before.iter().sum::<u64>() <= 1,
        "{before:?} {short:?}"
    );
    assert!(
        long.iter()
            .zip(&short)
            .all(|(after, before)| *after == before + 1),
        "{short:?} {long:?}"
    );
    assert_eq!(world.receiver.results("u2"), ["approved"]);
    world.end().await;
}

#[tokio::test]
async fn an_operators_word_lifts_a_user_out_of_the_small_lane_for_good() {
    let world = World::shaped(Shape {
        token: false,
        ..Shape::default()
    })
    .await;
    world.forge("u1", "2").await;
    world.settle().await;
    let story = world.story("u1").await;
    assert_eq!(story.verification.unwrap().trust, Trust::Open);
    assert!(matches!(
        story.queries[0].answer,
        Answer::Failed(QueryFailure::Refused(_))
    ));
    assert_eq!(world.watch(&["u1"]).await["new"].as_u64(), Some(1));
    world.pass(secs(2 * DAY), secs(HOUR)).await;
    world.set("u1", "2");
    world.pass(secs(HOUR), secs(MINUTE)).await;
    assert_eq!(world.receiver.results("u1"), ["approved"]);
    world.end().await;
}

#[tokio::test]
async fn a_watch_that_was_there_before_an_application_outlives_its_refusal() {
    let world = World::new().await;
    let now = || vexora_relay::clock::Clock::now(&world.clock);
    let (merchant, watched, applied) = (merchant(), user("watched"), user("applied"));
    world.watch(&["watched"]).await;
    world.clock.advance(secs(10));
    let store = world.store();
    for user in [&watched, &applied] {
        let begun = store
            .begin_application(&merchant, user, None, now(), now())
            .await;
        assert!(begun.unwrap().is_none());
        let ended = store.finish_application(&merchant, user, false, None).await;
        ended.unwrap();
    }
    assert!(world.story("watched").await.verification.is_some());
    assert!(world.story("applied").await.verification.is_none());
    world.end().await;
}

#[tokio::test]
async fn who_is_only_watched_makes_nothing_late() {
    let world = World::new().await;
    let store = world.store();
    world.watch(&["u1"]).await;
    let lane = Lane::Verify(merchant(), VerifyLane::Main);
    assert!(store.next_due(&lane).await.unwrap().is_some());
    assert_eq!(store.next_rung(&merchant()).await.unwrap(), None);
    world.ring("u2", "2").await;
    let rung = store.next_rung(&merchant()).await.unwrap();
    assert_eq!(rung, Some(vexora_relay::clock::Clock::now(&world.clock)));
    world.end().await;
}

#[tokio::test]
async fn a_start_that_ends_before_everyone_is_asked_about_leaves_the_gap_to_the_next() {
    let world = World::new().await;
    let store = world.store();
    let now = vexora_relay::clock::Clock::now(&world.clock);
    store.beat(now).await.unwrap();
    // Looking is not noting.
    assert_eq!(store.alive().await.unwrap(), Some(now));
    assert_eq!(store.alive().await.unwrap(), Some(now));
    world.end().await;
}
