//! Each fault shows, and shows nothing else.

use serde_json::{Value, json};
use vexora_relay::domain::Status;
use vexora_relay::sandbox::{CallbackState, Faults};

use crate::kit::*;

/// The first callback of an approved user under these faults.
async fn callback_under(faults: Faults) -> Arrived {
    let rig = rig_with(|config| config.faults = faults).await;
    let mut sink = Sink::start();
    rig.apply("jp_user_100008", &sink.url).await;
    rig.clock.advance(secs(2));
    assert_eq!(rig.sandbox.run_due().await, 1);
    let arrived = sink.next().await;
    rig.sandbox.stop().await;
    sink.stop().await;
    arrived
}

fn sign_of(status: &str) -> String {
    let params = [
        ("userId", "jp_user_100008"),
        ("authenticationStatus", status),
        ("timestamp", "1732988444913"),
    ];
    own_sign(&params, SECRET)
}

fn faults(order: impl FnOnce(&mut Faults)) -> Faults {
    let mut faults = Faults::default();
    order(&mut faults);
    faults
}

#[tokio::test]
async fn callbacks_lie_and_are_forged_as_ordered() {
    let body = callback_under(faults(|f| f.callback_lying = true))
        .await
        .json();
    assert_eq!(body["authenticationStatus"], "3");
    assert_eq!(body["sign"], sign_of("3"));
    let body = callback_under(faults(|f| f.callback_forged = true))
        .await
        .json();
    assert_eq!(body["authenticationStatus"], "3");
    assert_ne!(body["sign"], sign_of("3"));
    assert_ne!(body["sign"], sign_of("2"));
    let body = callback_under(faults(|f| f.callback_wrong_sign = true))
        .await
        .json();
    assert_eq!(body["authenticationStatus"], "2");
    assert_ne!(body["sign"], sign_of("2"));
    assert_eq!(body["sign"].as_str().unwrap().len(), 32);
    let body = callback_under(faults(|f| f.callback_no_sign = true))
        .await
        .json();
    assert_eq!(body.get("sign"), None);
}

#[tokio::test]
async fn numbers_nulls_and_unknown_statuses_are_signed_as_their_text() {
    let body = callback_under(faults(|f| f.callback_number_timestamp = true))
        .await
        .json();
    assert_eq!(body["timestamp"], json!(1_732_988_444_913_u64));
    assert_eq!(body["sign"], sign_of("2"));
    let body = callback_under(faults(|f| f.status_number = true))
        .await
        .json();
    assert_eq!(body["authenticationStatus"], json!(2));
    assert_eq!(body["sign"], sign_of("2"));
    let body = callback_under(faults(|f| f.status_unknown = true))
        .await
        .json();
    assert_eq!(body["authenticationStatus"], "4");
    assert_eq!(body["sign"], sign_of("4"));
    let body = callback_under(faults(|f| f.callback_null_reason = true))
        .await
        .json();
    assert_eq!(body.get("failReason"), Some(&Value::Null));
    let signed = [
        ("userId", "jp_user_100008"),
        ("authenticationStatus", "2"),
        ("failReason", "null"),
        ("timestamp", "1732988444913"),
    ];
    assert_eq!(body["sign"], own_sign(&signed, SECRET));
}

#[tokio::test]
async fn callbacks_come_in_other_forms_as_ordered() {
    let form = callback_under(faults(|f| f.callback_as_form = true)).await;
    assert_eq!(form.content_type, "application/x-www-form-urlencoded");
    let expected = format!(
        "userId=jp_user_100008&authenticationStatus=2&timestamp=1732988444913&sign={}",
        sign_of("2")
    );
    assert_eq!(String::from_utf8(form.body).unwrap(), expected);
    let nested = callback_under(faults(|f| f.callback_nested = true))
        .await
        .json();
    assert_eq!(nested["data"]["sign"], sign_of("2"));
    let text = callback_under(faults(|f| f.callback_nested_text = true))
        .await
        .json();
    let inner: Value = serde_json::from_str(text["data"].as_str().unwrap()).unwrap();
    assert_eq!(inner["sign"], sign_of("2"));
}

#[tokio::test]
async fn callbacks_come_late_never_or_twice_as_ordered() {
    let rig = rig().await;
    let sink = Sink::start();
    let order = |order: fn(&mut Faults)| Some(faults(order));
    let late = user("late");
    let never = user("never");
    let twice = user("twice");
    rig.sandbox
        .set_user_faults(&merchant(), &late, order(|f| f.callback_late = secs(30)));
    rig.sandbox
        .set_user_faults(&merchant(), &never, order(|f| f.callback_never = true));
    rig.sandbox
        .set_user_faults(&merchant(), &twice, order(|f| f.callback_twice = true));
    for id in ["late", "never", "twice", "silent-1"] {
        rig.apply(id, &sink.url).await;
    }
    rig.clock.advance(secs(2));
    assert_eq!(rig.sandbox.run_due().await, 2, "the one that comes twice");
    assert_eq!(rig.sandbox.callbacks(&merchant(), &twice).len(), 2);
    rig.clock.advance(secs(30));
    assert_eq!(rig.sandbox.run_due().await, 1, "the late one");
    rig.clock.advance(secs(1_000_000));
    assert_eq!(rig.sandbox.run_due().await, 0);
    for id in ["never", "silent-1"] {
        assert_eq!(rig.status(id).await, "2");
        let callbacks = rig.sandbox.callbacks(&merchant(), &user(id));
        assert_eq!(callbacks[0].state, CallbackState::Withheld);
    }
    rig.sandbox.stop().await;
    sink.stop().await;
}

#[tokio::test]
async fn an_early_callback_is_there_before_the_apply_call_returns() {
    let rig = rig_with(|config| config.faults.callback_early = true).await;
    let mut sink = Sink::start();
    let answer = rig.apply("taro", &sink.url).await;
    assert!(!sink.is_empty());
    assert_eq!(answer["data"]["authenticationStatus"], "0");
    assert_eq!(sink.next().await.json()["authenticationStatus"], "2");
    assert_eq!(rig.status("taro").await, "2");
    assert_eq!(rig.sandbox.run_due().await, 0);
    rig.sandbox.stop().await;
    sink.stop().await;
}

#[tokio::test]
async fn a_restamped_callback_is_signed_anew_on_every_try() {
    let rig = rig_with(|config| config.faults.callback_restamped = true).await;
    let mut sink = Sink::start();
    sink.answer(500, "");
    rig.apply("jp_user_100008", &sink.url).await;
    for wait in [2, 2] {
        rig.clock.advance(secs(wait));
        assert_eq!(rig.sandbox.run_due().await, 1);
    }
    assert_eq!(sink.next().await.json()["timestamp"], "1732988444913");
    let second = sink.next().await.json();
    assert_eq!(second["timestamp"], "1732988446913");
    assert_ne!(second["sign"], sign_of("2"));
    rig.sandbox.stop().await;
    sink.stop().await;
}

#[tokio::test]
async fn a_lagging_query_shows_the_old_status_after_the_callback() {
    let rig = rig_with(|config| config.faults.query_lag = secs(5)).await;
    let sink = Sink::start();
    rig.apply("taro", &sink.url).await;
    rig.clock.advance(secs(2));
    assert_eq!(rig.sandbox.run_due().await, 1);
    assert_eq!(rig.status("taro").await, "1");
    rig.clock.advance(secs(5));
    assert_eq!(rig.status("taro").await, "2");
    rig.sandbox.stop().await;
    sink.stop().await;
}

#[tokio::test]
async fn the_query_answers_wrongly_as_ordered() {
    let rig = rig().await;
    rig.sandbox
        .set_status(&merchant(), &user("taro"), Status::Approved, None);
    rig.sandbox.set_faults(faults(|f| f.query_500 = true));
    let send = async || rig.query_request(&query_body("taro")).send().await.unwrap();
    assert_eq!(send().await.status(), 500);
    rig.sandbox.set_faults(faults(|f| f.query_not_json = true));
    let html = send().await;
    assert_eq!(html.status(), 200);
    assert!(html.text().await.unwrap().starts_with("<html>"));
    rig.sandbox
        .set_faults(faults(|f| f.query_wrong_code = true));
    let answer = rig.query("taro").await;
    assert_eq!(answer["code"], "9999");
    assert_eq!(answer["data"]["authenticationStatus"], "2");
    rig.sandbox.set_faults(faults(|f| f.success_text = true));
    assert_eq!(rig.query("taro").await["success"], "true");
    rig.sandbox.set_faults(faults(|f| f.status_number = true));
    let answer = rig.query("taro").await;
    assert_eq!(answer["data"]["authenticationStatus"], json!(2));
    rig.sandbox.set_faults(faults(|f| f.status_unknown = true));
    assert_eq!(rig.status("taro").await, "4");
    assert_eq!(rig.sandbox.queries(&merchant(), &user("taro")), 6);
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn hanging_calls_are_taken_but_not_answered_and_do_not_keep_it_from_stopping() {
    let rig = rig().await;
    rig.sandbox.set_faults(faults(|f| {
        f.query_hang = true;
        f.apply_hang = true;
    }));
    // Real time: how long a client waits is its own affair.
    let patience = std::time::Duration::from_millis(300);
    let fields = apply_fields("taro", "https://relay.example.com/");
    let apply = rig.apply_request(&pairs(&fields)).timeout(patience);
    assert!(apply.send().await.unwrap_err().is_timeout());
    let query = rig.query_request(&query_body("taro")).timeout(patience);
    assert!(query.send().await.unwrap_err().is_timeout());
    assert_eq!(
        rig.sandbox.applications(&merchant(), &user("taro")).len(),
        1
    );
    assert_eq!(rig.sandbox.queries(&merchant(), &user("taro")), 1);
    tokio::time::timeout(secs(20), rig.sandbox.stop())
        .await
        .expect("it stops");
}
