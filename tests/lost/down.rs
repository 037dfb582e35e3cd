//! The provider as a whole fails and comes back.

use serde_json::Value;

use crate::kit::{Shape, World, secs};

async fn noticed() -> World {
    let world = World::shaped(Shape {
        events: r#"["kyc.*", "relay.provider.*"]"#,
        rate: "2/s",
        ..Shape::default()
    })
    .await;
    world.faults(|faults| faults.query_500 = true);
    for n in 0..8 {
        let name = format!("u{n}");
        world.set(&name, "2");
        assert_eq!(
            world.ring(&name, "2").await,
            200,
            "callbacks are still taken"
        );
        world.pass(secs(1), secs(1)).await;
    }
    world
}

fn asked(world: &World) -> u64 {
    (0..8).map(|n| world.queries(&format!("u{n}"))).sum()
}

#[tokio::test]
async fn it_is_told_of_once_and_left_alone_but_for_one_probe_a_minute() {
    let world = noticed().await;
    assert_eq!(world.receiver.kinds(), ["relay.provider.down"]);
    world.pass(secs(300), secs(1)).await;
    let before = asked(&world);
    world.pass(secs(600), secs(1)).await;
    let probes = asked(&world) - before;
    assert!((9..=11).contains(&probes), "{probes} probes in ten minutes");
    assert_eq!(world.receiver.kinds(), ["relay.provider.down"]);
    world.end().await;
}

#[tokio::test]
async fn callbacks_that_came_meanwhile_survive_a_restart_and_all_go_out_when_it_is_back() {
    let mut world = noticed().await;
    world.pass(secs(3600), secs(60)).await;
    world.crash().await;
    for n in 0..8 {
        assert!(!world.story(&format!("u{n}")).await.callbacks.is_empty());
    }
    world.faults(|_| {});
    world.pass(secs(70), secs(1)).await;
    for n in 0..8 {
        assert_eq!(world.receiver.results(&format!("u{n}")), ["approved"]);
    }
    world.check_heard().unwrap();
    world.end().await;
}

#[tokio::test]
async fn when_it_is_back_all_that_waits_goes_out_within_the_rate() {
    let world = noticed().await;
    world.pass(secs(3600), secs(60)).await;
    world.faults(|_| {});
    let mut order: Vec<String> = Vec::new();
    for _ in 0..70 {
        let before = order.len();
        world.pass(secs(1), secs(1)).await;
        let heard = world.receiver.heard().into_iter();
        order = heard
            .filter(|told| told.kind == "kyc.approved")
            .map(|told| told.user)
            .collect();
        // A burst of the rate's own size, and what comes due in the second itself.
        assert!(
            order.len() - before <= 4,
            "{} in a second",
            order.len() - before
        );
    }
    assert_eq!(order.len(), 8);
    assert!(
        world
            .receiver
            .kinds()
            .contains(&"relay.provider.recovered".to_owned())
    );
    world.end().await;
}

#[tokio::test]
async fn when_it_is_back_those_who_wait_longest_are_first() {
    let world = noticed().await;
    let mut names: Vec<String> = (0..8).map(|n| format!("u{n}")).collect();
    // While it is down the earlier ones are asked in vain, are due later or overdue again; these never were.
    for n in 0..12 {
        let name = format!("v{n:02}");
        world.set(&name, "2");
        world.ring(&name, "2").await;
        world.pass(secs(20), secs(1)).await;
        names.push(name);
    }
    world.faults(|_| {});
    world.pass(secs(90), secs(1)).await;
    let heard = world.receiver.heard().into_iter();
    let order: Vec<String> = heard
        .filter(|told| told.kind == "kyc.approved")
        .map(|told| told.user)
        .collect();
    assert_eq!(order.len(), 20);
    // The first was the probe by which it was noticed; two may go out, and be told of, in the same second.
    let probe = order.first().unwrap();
    names.retain(|name| name != probe);
    for (place, name) in order.iter().skip(1).enumerate() {
        let right = names.iter().position(|other| other == name).unwrap();
        assert!(place.abs_diff(right) <= 1, "{name} in {order:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn more_waiting_than_fit_one_batch_all_go_out_when_it_is_back() {
    let world = World::new().await;
    world.faults(|faults| faults.query_500 = true);
    let names: Vec<String> = (0..1200).map(|n| format!("u{n:04}")).collect();
    for name in &names {
        world.set(name, "1");
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    world.watch(&all).await;
    // Half of them come due while it is down, the rest wait for their turn.
    world.pass(secs(450), secs(5)).await;
    world.faults(|_| {});
    world.pass(secs(61), secs(1)).await;
    let never: usize = names.iter().filter(|name| world.queries(name) == 0).count();
    assert_eq!(never, 0, "nobody waits for a schedule of before");
    world.end().await;
}

#[tokio::test]
async fn what_waits_is_counted() {
    let world = noticed().await;
    let (status, body) = world.api("GET", "status", None).await;
    assert_eq!(status, 200);
    assert_eq!(body["pending"]["verifications"], Value::from(8));
    world.end().await;
}
