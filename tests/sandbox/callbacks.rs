//! Callbacks: what they look like, when they come, and what ends them.

use std::sync::Arc;

use vexora_relay::clock::SystemClock;
use vexora_relay::domain::{Status, Timestamp};
use vexora_relay::sandbox::{CallbackSpec, CallbackState, Form, SignMode};

use crate::kit::*;

#[tokio::test]
async fn a_result_is_called_back_once_with_a_sign_that_md5sum_agrees_with() {
    let rig = rig().await;
    let mut sink = Sink::start();
    let id = "jp_user_100008";
    rig.sandbox
        .set_decision(&merchant(), &user(id), Status::Rejected, Some("blurred"));
    rig.apply(id, &sink.url).await;
    assert_eq!(rig.sandbox.run_due().await, 0);
    assert_eq!(
        rig.sandbox.next_due(),
        Some(Timestamp::from_millis(STAMP + 2000))
    );
    rig.clock.advance(secs(2));
    assert_eq!(rig.sandbox.run_due().await, 1);
    let arrived = sink.next().await;
    assert_eq!(arrived.content_type, "application/json");
    let sign = own_sign(
        &[
            ("userId", id),
            ("authenticationStatus", "3"),
            ("failReason", "blurred"),
            ("timestamp", "1732988444913"),
        ],
        SECRET,
    );
    assert_eq!(
        arrived.json(),
        serde_json::json!({
            "userId": id, "authenticationStatus": "3", "failReason": "blurred",
            "timestamp": "1732988444913", "sign": sign,
        })
    );
    rig.clock.advance(secs(100_000));
    assert_eq!(rig.sandbox.run_due().await, 0);
    let callbacks = rig.sandbox.callbacks(&merchant(), &user(id));
    assert_eq!(callbacks.len(), 1);
    assert_eq!(callbacks[0].state, CallbackState::Confirmed);
    rig.sandbox.stop().await;
    sink.stop().await;
}

/// When each try came, in milliseconds since the result, until nothing more was due.
async fn tries(rig: &Rig, sink: &Sink, answers: &[(u16, &str)]) -> Vec<u64> {
    for (status, body) in answers {
        sink.answer(*status, body);
    }
    rig.apply("taro", &sink.url).await;
    rig.clock.advance_to(rig.sandbox.next_due().unwrap());
    let decided = rig.at();
    let mut times = Vec::new();
    loop {
        for _ in 0..rig.sandbox.run_due().await {
            times.push(rig.at() - decided);
        }
        match rig.sandbox.next_due() {
            Some(due) => rig.clock.advance_to(due),
            None => return times,
        }
    }
}

#[tokio::test]
async fn an_unconfirmed_callback_comes_nine_times_on_the_published_schedule() {
    let rig = rig().await;
    let mut sink = Sink::start();
    // Each of these is some way of not quite saying `OK`.
    let wrong = [
        (200, "ok"),
        (200, "OK\n"),
        (200, "\"OK\""),
        (200, r#"{"code":"OK"}"#),
        (200, ""),
        (201, "OK"),
        (302, "OK"),
        (503, "OK"),
        (200, " OK"),
    ];
    let times = tries(&rig, &sink, &wrong).await;
    let seconds = [2, 5, 10, 30, 3600, 10_800, 10_800, 10_800];
    let mut expected = vec![0];
    for step in seconds {
        expected.push(expected.last().unwrap() + step * 1000);
    }
    assert_eq!(times, expected);
    let callback = &rig.sandbox.callbacks(&merchant(), &user("taro"))[0];
    assert_eq!(callback.state, CallbackState::GivenUp);
    let answers: Vec<_> = callback
        .attempts
        .iter()
        .map(|attempt| (attempt.status.unwrap(), attempt.body.as_str()))
        .collect();
    assert_eq!(answers, wrong);
    let first = sink.next().await;
    for _ in 1..9 {
        assert_eq!(sink.next().await.body, first.body);
    }
    assert!(sink.is_empty(), "a redirect was followed");
    rig.sandbox.stop().await;
    sink.stop().await;
}

#[tokio::test]
async fn the_first_ok_ends_the_schedule() {
    let rig = rig().await;
    let sink = Sink::start();
    assert_eq!(
        tries(&rig, &sink, &[(500, ""), (404, "OK")]).await,
        [0, 2000, 7000]
    );
    assert_eq!(rig.sandbox.requests().callbacks_failed, 2);
    assert_eq!(rig.sandbox.requests().callbacks_confirmed, 1);
    rig.sandbox.stop().await;
    sink.stop().await;
}

#[tokio::test]
async fn scaled_time_scales_reviews_and_schedules() {
    let rig = rig_with(|config| config.time_scale = 0.01).await;
    let sink = Sink::start();
    let times = tries(&rig, &sink, &[(500, ""); 9]).await;
    assert_eq!(times[1], 20);
    assert_eq!(times[8], 360_470);
    assert_eq!(rig.at(), 20 + 360_470, "a review of 2 s takes 20 ms");
    rig.sandbox.stop().await;
    sink.stop().await;
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_recorded_as_such() {
    let rig = rig().await;
    let sink = Sink::start();
    let url = sink.url.clone();
    sink.stop().await;
    rig.apply("taro", &url).await;
    rig.clock.advance(secs(2));
    assert_eq!(rig.sandbox.run_due().await, 1);
    let callback = &rig.sandbox.callbacks(&merchant(), &user("taro"))[0];
    assert_eq!(callback.attempts[0].error, Some("connect"));
    assert_eq!(callback.attempts[0].status, None);
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn in_the_background_callbacks_go_out_by_themselves() {
    let rig = rig_with(|config| {
        config.background = true;
        config.clock = Arc::new(SystemClock);
        config.time_scale = 0.01;
    })
    .await;
    let mut sink = Sink::start();
    sink.answer(503, "");
    rig.apply("taro", &sink.url).await;
    let first = sink.next().await;
    assert_eq!(sink.next().await.body, first.body);
    rig.sandbox.stop().await;
    sink.stop().await;
}

#[tokio::test]
async fn a_callback_by_hand_is_what_was_ordered_and_is_not_retried() {
    let rig = rig().await;
    let mut sink = Sink::start();
    let (merchant, user) = (merchant(), user("jp_user_100008"));
    rig.sandbox
        .set_status(&merchant, &user, Status::Approved, None);
    let mut spec = CallbackSpec {
        timestamp: Some("1732988442913".to_owned()),
        ..CallbackSpec::default()
    };
    assert!(
        rig.sandbox
            .send_callback(&merchant, &user, &spec)
            .await
            .is_err()
    );
    spec.url = Some("http://relay.example.com/".to_owned());
    assert!(
        rig.sandbox
            .send_callback(&merchant, &user, &spec)
            .await
            .is_err()
    );
    spec.url = Some(sink.url.clone());
    sink.answer(500, "no");
    let attempt = rig
        .sandbox
        .send_callback(&merchant, &user, &spec)
        .await
        .unwrap();
    assert_eq!((attempt.status, attempt.body.as_str()), (Some(500), "no"));
    // Printed by md5sum.
    assert_eq!(
        sink.next().await.json()["sign"],
        "59b05312e8028d8a66501f32c5a6cc00"
    );
    rig.clock.advance(secs(100_000));
    assert_eq!(rig.sandbox.run_due().await, 0);

    spec.fail_reason = Some("blurred".to_owned());
    spec.status = Some("3".to_owned());
    let body = rig.sandbox.callback_body(&merchant, &user, &spec).unwrap();
    let text = String::from_utf8(body.bytes).unwrap();
    assert!(text.contains("f3e486433a08b479e49494bbba4a66af"), "{text}");
    spec.sign = Some(SignMode::Missing);
    spec.form = Some(Form::Form);
    let body = rig.sandbox.callback_body(&merchant, &user, &spec).unwrap();
    assert_eq!(body.content_type, "application/x-www-form-urlencoded");
    assert_eq!(
        String::from_utf8(body.bytes).unwrap(),
        "userId=jp_user_100008&authenticationStatus=3&timestamp=1732988442913&failReason=blurred"
    );
    rig.sandbox.stop().await;
    sink.stop().await;
}
