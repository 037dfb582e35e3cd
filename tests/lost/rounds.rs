//! What is a new result and what is an old one again: rounds, repeated callbacks, and a query that lags.

use vexora_relay::sandbox::{CallbackSpec, SignMode};

use crate::kit::{Shape, World, merchant, secs, user};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

#[tokio::test]
async fn each_application_of_ours_is_a_round_with_a_result_of_its_own() {
    let world = World::new().await;
    for round in 1..=3 {
        world.apply("reject-u1").await;
        world.pass(secs(2 * MINUTE), secs(5)).await;
        assert_eq!(world.receiver.results("reject-u1").len(), round);
    }
    world.check_heard().unwrap();
    world.end().await;
}

#[tokio::test]
async fn a_status_0_or_1_after_a_final_one_is_a_new_round_whoever_applied() {
    let world = World::new().await;
    for waiting in ["0", "1"] {
        world.set("u1", "3");
        world.ring("u1", "3").await;
        world.soon().await;
        world.set("u1", waiting);
        world.ring("u1", waiting).await;
        world.soon().await;
    }
    world.set("u1", "3");
    world.pass(secs(HOUR), secs(MINUTE)).await;
    assert_eq!(
        world.receiver.results("u1"),
        ["rejected", "rejected", "rejected"]
    );
    world.check_heard().unwrap();
    world.end().await;
}

#[tokio::test]
async fn callbacks_of_one_round_are_one_event_however_often_and_in_whatever_order_and_time() {
    let world = World::new().await;
    world.set("u1", "2");
    let stamps = [
        "1760000000000",
        "1",
        "1760009999999",
        "1760000000000",
        "not a time",
    ];
    for (stamp, sign) in stamps.into_iter().zip([
        SignMode::Valid,
        SignMode::Wrong,
        SignMode::Valid,
        SignMode::Missing,
        SignMode::Valid,
    ]) {
        let spec = CallbackSpec {
            timestamp: Some(stamp.to_owned()),
            sign: Some(sign),
            ..CallbackSpec::default()
        };
        let body = world
            .sandbox
            .callback_body(&merchant(), &user("u1"), &spec)
            .unwrap();
        let text = std::str::from_utf8(&body.bytes).unwrap();
        assert_eq!(world.post(text).await, 200);
        world.ring("u1", "1").await;
        world.pass(secs(HOUR), secs(10 * MINUTE)).await;
    }
    assert_eq!(
        world.receiver.heard().len(),
        1,
        "{:?}",
        world.receiver.heard()
    );
    assert_eq!(
        world.story("u1").await.callbacks.len(),
        10,
        "every one is kept"
    );
    world.end().await;
}

#[tokio::test]
async fn a_claim_that_the_query_does_not_show_yet_is_asked_again_within_seconds_then_slower() {
    let world = World::new().await;
    world.faults(|faults| faults.query_lag = secs(20));
    world.apply("u1").await;
    world.pass(secs(60), secs(60)).await;
    let asked = world.queries("u1");
    assert!(
        world.receiver.results("u1").is_empty(),
        "only the query changes state"
    );
    world.pass(secs(7), secs(1)).await;
    assert_eq!(world.queries("u1") - asked, 2, "after 1 s and 5 s");
    let (_, story) = world.api("GET", "users/1027749636/u1", None).await;
    let timeline = story["timeline"].as_array().unwrap();
    let mismatch = timeline
        .iter()
        .find(|entry| entry["kind"] == "query")
        .unwrap();
    assert_eq!(
        (&mismatch["claimed"], &mismatch["authenticationStatus"]),
        (&"2".into(), &"1".into())
    );
    world.pass(secs(30), secs(1)).await;
    assert_eq!(world.receiver.results("u1"), ["approved"]);
    world.end().await;
}

#[tokio::test]
async fn a_non_final_claim_after_a_final_verdict_opens_nothing_by_itself() {
    let world = World::new().await;
    world.set("u1", "2");
    world.ring("u1", "2").await;
    world.soon().await;
    for claim in ["0", "1", "3"] {
        world.ring("u1", claim).await;
        world.pass(secs(HOUR), secs(MINUTE)).await;
    }
    assert_eq!(world.receiver.results("u1"), ["approved"]);
    assert!(world.story("u1").await.verification.is_none());
    world.end().await;
}

/// A rejected user applies again, and the query goes on showing the rejection.
async fn applied_again(world: &World) {
    world.set("u1", "3");
    world.ring("u1", "3").await;
    world.soon().await;
    world.apply("u1").await;
    // The provider has it, and its query does not know yet.
    world.set("u1", "3");
}

#[tokio::test]
async fn the_old_verdict_showing_through_after_an_application_is_not_told_as_new() {
    let world = World::new().await;
    applied_again(&world).await;
    world.pass(secs(50 * MINUTE), secs(MINUTE)).await;
    assert!(world.queries("u1") >= 3, "it is asked on");
    assert_eq!(world.receiver.results("u1"), ["rejected"]);
    world.set("u1", "2");
    world.pass(secs(16 * MINUTE), secs(MINUTE)).await;
    assert_eq!(world.receiver.results("u1"), ["rejected", "approved"]);
    world.end().await;
}

#[tokio::test]
async fn a_retry_of_the_old_rounds_callback_does_not_make_the_old_verdict_new() {
    let world = World::new().await;
    world.set("u1", "3");
    let spec = CallbackSpec::default();
    let body = world
        .sandbox
        .callback_body(&merchant(), &user("u1"), &spec)
        .unwrap();
    let old = std::str::from_utf8(&body.bytes).unwrap().to_owned();
    world.post(&old).await;
    world.soon().await;
    world.clock.advance(secs(60));
    world.apply("u1").await;
    world.set("u1", "3");
    world.post(&old).await;
    world.soon().await;
    assert_eq!(world.receiver.results("u1"), ["rejected"]);
    world.end().await;
}

#[tokio::test]
async fn a_new_callback_with_the_same_claim_makes_the_same_verdict_a_new_result() {
    let world = World::new().await;
    applied_again(&world).await;
    world.clock.advance(secs(60));
    world.ring("u1", "3").await;
    world.soon().await;
    assert_eq!(world.receiver.results("u1"), ["rejected", "rejected"]);
    world.pass(secs(3 * HOUR), secs(MINUTE)).await;
    assert_eq!(world.receiver.results("u1").len(), 2);
    world.check_heard().unwrap();
    world.end().await;
}

#[tokio::test]
async fn an_hour_without_anything_else_the_same_verdict_is_the_new_rounds() {
    let world = World::new().await;
    applied_again(&world).await;
    world.pass(secs(80 * MINUTE), secs(MINUTE)).await;
    assert_eq!(world.receiver.results("u1"), ["rejected", "rejected"]);
    assert!(world.story("u1").await.verification.is_none());
    world.end().await;
}

#[tokio::test]
async fn what_happens_while_nobody_listens_is_found_on_coming_back() {
    let mut world = World::shaped(Shape {
        review: secs(5 * MINUTE),
        ..Shape::default()
    })
    .await;
    world.apply("u1").await;
    world.stop().await;
    // The provider tries nine times within ten hours, and never again.
    world.pass(secs(12 * HOUR), secs(MINUTE)).await;
    world.start().await;
    world.soon().await;
    assert_eq!(world.receiver.results("u1"), ["approved"]);
    assert!(world.story("u1").await.callbacks.is_empty());
    world.end().await;
}
