//! Applications: sent once, their results found whatever becomes of the answer, and the name nowhere.

use std::path::Path;

use serde_json::json;
use vexora_relay::domain::ApplicationState;

use crate::kit::{NAME, Shape, World, merchant, secs, user};

#[tokio::test]
async fn an_application_is_sent_accepted_and_its_result_told() {
    let world = World::new().await;
    assert_eq!(world.apply("u1").await, (200, "accepted".into()));
    let sent = world.sandbox.applications(&merchant(), &user("u1"));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].username_furigana, NAME);
    assert!(sent[0].callback_url.contains("/callback/1027749636/"));
    world.pass(secs(61), secs(60)).await;
    assert_eq!(world.receiver.results("u1"), ["approved"]);
    world.end().await;
}

#[tokio::test]
async fn while_its_result_is_out_a_user_is_not_applied_for_twice_and_after_it_is() {
    let world = World::new().await;
    world.apply("reject-u1").await;
    assert_eq!(world.apply("reject-u1").await, (200, "already".into()));
    world.pass(secs(61), secs(60)).await;
    assert_eq!(world.apply("reject-u1").await, (200, "accepted".into()));
    assert_eq!(
        world
            .sandbox
            .applications(&merchant(), &user("reject-u1"))
            .len(),
        2
    );
    world.pass(secs(61), secs(60)).await;
    assert_eq!(
        world.receiver.results("reject-u1"),
        ["rejected", "rejected"]
    );
    world.check_heard().unwrap();
    world.end().await;
}

#[tokio::test]
async fn of_one_batch_a_user_is_applied_for_once_even_after_the_verdict() {
    let mut world = World::new().await;
    let apply = async |world: &World, batch: Option<&str>| {
        let body = json!({"userId": "reject-u1", "usernameFurigana": NAME, "batch": batch});
        let (status, body) = world.api("POST", "applications", Some(body)).await;
        assert_eq!(status, 200, "{body}");
        (body["result"].as_str().unwrap().to_owned(), body)
    };
    let sent = |world: &World| {
        let sent = world.sandbox.applications(&merchant(), &user("reject-u1"));
        sent.len()
    };
    assert_eq!(apply(&world, Some("monday")).await.0, "accepted");
    let (_, out) = apply(&world, Some("monday")).await;
    world.pass(secs(61), secs(60)).await;
    assert_eq!(world.receiver.results("reject-u1"), ["rejected"]);
    let (again, done) = apply(&world, Some("monday")).await;
    assert_eq!((again.as_str(), sent(&world)), ("already", 1));
    assert_eq!(
        (&done["since"], &done["known"]),
        (&out["since"], &true.into())
    );
    world.restart().await;
    assert_eq!(apply(&world, Some("monday")).await.0, "already");
    assert_eq!(sent(&world), 1);

    assert_eq!(apply(&world, Some("tuesday")).await.0, "accepted");
    assert_eq!(sent(&world), 2, "another batch");
    world.pass(secs(61), secs(60)).await;
    assert_eq!(apply(&world, None).await.0, "accepted");
    assert_eq!(sent(&world), 3, "and none");
    world.pass(secs(61), secs(60)).await;
    assert_eq!(apply(&world, Some("tuesday")).await.0, "already");
    assert_eq!(sent(&world), 3);
    world.end().await;
}

#[tokio::test]
async fn an_application_that_did_not_arrive_may_be_sent_again_by_its_batch() {
    let world = World::shaped(Shape {
        provider: false,
        ..Shape::default()
    })
    .await;
    for _ in 0..2 {
        let body = json!({"userId": "u1", "usernameFurigana": NAME, "batch": "monday"});
        let (status, problem) = world.api("POST", "applications", Some(body)).await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (502, Some("vexora_unreachable"))
        );
    }
    for wrong in ["", "with space", "é", &"x".repeat(65)] {
        let body = json!({"userId": "u1", "usernameFurigana": NAME, "batch": wrong});
        let (status, problem) = world.api("POST", "applications", Some(body)).await;
        assert_eq!(status, 400);
        assert!(problem["detail"].as_str().unwrap().contains("batch"));
    }
    world.end().await;
}

#[tokio::test]
async fn a_declined_application_leaves_nothing_behind_but_its_code() {
    let world = World::new().await;
    world.faults(|faults| faults.success_text = true);
    let body = json!({"userId": "", "usernameFurigana": NAME});
    let (status, problem) = world.api("POST", "applications", Some(body)).await;
    assert_eq!(
        (status, problem["code"].as_str()),
        (400, Some("invalid_request"))
    );
    let body = json!({"userId": "u1", "usernameFurigana": "山田"});
    let (status, problem) = world.api("POST", "applications", Some(body)).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("katakana"));
    assert!(
        !problem.to_string().contains('山'),
        "the name is repeated: {problem}"
    );
    assert!(world.story("u1").await.verification.is_none());
    assert_eq!(world.sandbox.requests().apply.len(), 0, "nothing was sent");
    world.end().await;
}

#[tokio::test]
async fn an_application_without_an_answer_is_settled_by_a_query_and_never_sent_twice() {
    let mut world = World::new().await;
    world.faults(|faults| {
        faults.apply_hang = true;
        faults.callback_never = true;
    });
    let body = json!({"userId": "u1", "usernameFurigana": NAME});
    let (status, answer) = world.api("POST", "applications", Some(body)).await;
    let expected = json!({"result": "unknown", "cause": "no answer (timeout)"});
    assert_eq!((status, answer), (202, expected));
    world.faults(|faults| faults.callback_never = true);
    assert_eq!(world.apply("u1").await, (200, "already".into()));
    world.restart().await;
    assert_eq!(world.apply("u1").await, (200, "already".into()));
    world.pass(secs(30), secs(30)).await;
    let sent = world.story("u1").await.state.application.unwrap();
    assert_eq!(
        sent.state,
        ApplicationState::Accepted,
        "a query found it under review"
    );
    world.pass(secs(3600), secs(60)).await;
    assert_eq!(world.receiver.results("u1"), ["approved"]);
    assert_eq!(
        world.sandbox.applications(&merchant(), &user("u1")).len(),
        1
    );
    world.end().await;
}

#[tokio::test]
async fn an_application_that_never_left_can_be_sent_again_at_once() {
    let world = World::shaped(Shape {
        provider: false,
        ..Shape::default()
    })
    .await;
    assert_eq!(world.apply("u1").await, (502, "vexora_unreachable".into()));
    assert_eq!(world.apply("u1").await, (502, "vexora_unreachable".into()));
    assert!(world.story("u1").await.state.application.is_none());
    assert!(world.story("u1").await.verification.is_none());
    world.end().await;
}

#[tokio::test]
async fn a_callback_that_is_faster_than_the_answer_is_one_result() {
    let world = World::new().await;
    world.faults(|faults| faults.callback_early = true);
    assert_eq!(world.apply("u1").await, (200, "accepted".into()));
    world.settle().await;
    world.pass(secs(2 * 3600), secs(60)).await;
    assert_eq!(world.receiver.results("u1"), ["approved"]);
    assert!(world.story("u1").await.verification.is_none());
    world.end().await;
}

fn holds(directory: &Path, needles: &[&[u8]]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, needles);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        needles
            .iter()
            .any(|needle| bytes.windows(needle.len()).any(|window| window == *needle))
    })
}

#[tokio::test]
async fn the_name_is_nowhere_on_disk() {
    let mut world = World::new().await;
    let name = "ケンサク ミツカラナイ";
    let body = json!({"userId": "u-on-disk", "usernameFurigana": name});
    world.api("POST", "applications", Some(body)).await;
    let wrong = json!({"userId": "u2", "usernameFurigana": format!("{name}!")});
    world.api("POST", "applications", Some(wrong)).await;
    world.pass(secs(61), secs(60)).await;
    world.stop().await;
    let data = world.data().to_owned();
    assert!(
        holds(&data, &[b"u-on-disk"]),
        "the search finds what is there"
    );
    let escaped = serde_json::to_string(name).unwrap();
    assert!(!holds(
        &data,
        &[name.as_bytes(), escaped.trim_matches('"').as_bytes()]
    ));
    world.end().await;
}
