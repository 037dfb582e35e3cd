//! Forged callbacks in numbers: what they may cost, and what they may not.

use std::time::Duration;

use vexora_relay::domain::{Stranger, Trust};

use crate::kit::{Shape, World, secs};

const HOUR: u64 = 3600;

async fn open() -> World {
    World::shaped(Shape {
        token: false,
        rate: "20/s",
        ..Shape::default()
    })
    .await
}

#[tokio::test]
async fn an_invention_is_kept_compactly_and_dropped_after_a_day() {
    let world = open().await;
    let padding = "x".repeat(10_000);
    for _ in 0..10 {
        let body =
            format!(r#"{{"userId":"nobody","authenticationStatus":"2","padding":"{padding}"}}"#);
        assert_eq!(world.post(&body).await, 200);
    }
    let story = world.story("nobody").await;
    assert_eq!(story.callbacks.len(), Stranger::CALLBACKS_KEPT);
    let longest = story
        .callbacks
        .iter()
        .map(|one| one.arrival.body.len())
        .max();
    assert_eq!(longest, Some(Stranger::BODY_KEPT));
    world.pass(secs(23 * HOUR), secs(600)).await;
    assert!(
        world.story("nobody").await.verification.is_some(),
        "still asked about"
    );
    world.pass(secs(2 * HOUR), secs(600)).await;
    let story = world.story("nobody").await;
    assert_eq!(story, Default::default(), "nothing is left");
    assert_eq!(world.store().pending().await.unwrap().verifications, 0);
    world.end().await;
}

#[tokio::test]
async fn an_invention_that_turns_out_true_is_told() {
    let world = open().await;
    world.forge("u1", "2").await;
    world.pass(secs(20 * HOUR), secs(600)).await;
    world.set("u1", "1");
    world.pass(secs(8 * HOUR), secs(600)).await;
    assert!(
        world.story("u1").await.verification.is_some(),
        "waiting, so watched"
    );
    world.set("u1", "2");
    world.pass(secs(HOUR), secs(600)).await;
    assert_eq!(world.receiver.results("u1"), ["approved"]);
    world.end().await;
}

#[tokio::test]
async fn a_provider_that_is_down_all_day_makes_nobody_forgotten() {
    let world = open().await;
    world.forge("u1", "2").await;
    world.faults(|faults| faults.query_500 = true);
    world.pass(secs(30 * HOUR), secs(600)).await;
    world.set("u1", "2");
    world.faults(|_| {});
    world.pass(secs(300), secs(5)).await;
    assert_eq!(world.receiver.results("u1"), ["approved"]);
    world.end().await;
}

#[tokio::test]
async fn a_flood_of_inventions_has_a_small_lane_and_does_not_delay_the_genuine() {
    let world = open().await;
    for n in 0..300 {
        assert_eq!(world.forge(&format!("nobody-{n}"), "2").await, 200);
    }
    world.set("u1", "2");
    world.ring("u1", "2").await;
    world.soon().await;
    assert_eq!(
        world.receiver.results("u1"),
        ["approved"],
        "as in quiet times"
    );
    world.pass(secs(60), Duration::from_millis(100)).await;
    let asked: u64 = (0..300)
        .map(|n| world.queries(&format!("nobody-{n}")))
        .sum();
    assert!(
        (110..=125).contains(&asked),
        "a tenth of 20/s for a minute: {asked}"
    );
    world.end().await;
}

#[tokio::test]
async fn a_flood_for_a_watched_user_has_it_asked_about_every_ten_seconds_at_most() {
    let world = open().await;
    world.set("u1", "1");
    world.watch(&["u1"]).await;
    world.settle().await;
    let before = world.queries("u1");
    for _ in 0..600 {
        world.forge("u1", "2").await;
        world.pass(Duration::from_millis(200), secs(1)).await;
    }
    let asked = world.queries("u1") - before;
    assert!((11..=13).contains(&asked), "{asked} queries in two minutes");
    world.end().await;
}

#[tokio::test]
async fn a_flood_for_a_known_user_leaves_a_bounded_number_behind_and_nothing_trusted_goes() {
    let world = open().await;
    world.set("known", "2");
    world.ring("known", "2").await;
    world.pass(secs(60), secs(10)).await;
    assert_eq!(world.receiver.results("known"), ["approved"]);
    assert_eq!(world.forge("known", "0").await, 200);
    for _ in 0..3 * Stranger::UNTRUSTED_KEPT {
        assert_eq!(world.forge("known", "3").await, 200);
    }
    let kept = world.story("known").await.callbacks;
    let claims: Vec<_> = kept.iter().filter_map(|one| one.claim.as_deref()).collect();
    assert!(!claims.contains(&"0"), "the newest are kept: {claims:?}");
    assert_eq!(kept.len(), Stranger::UNTRUSTED_KEPT + 1);
    assert_ne!(kept[0].trust(), Trust::Open, "the genuine one, the oldest");
    world.end().await;
}
