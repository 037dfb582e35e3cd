//! The control API: everything can be steered and seen from `curl`, and mistakes are told.

use serde_json::json;

use crate::kit::*;

const TARO: &str = "/users/1027749636/taro";

#[tokio::test]
async fn faults_are_set_as_a_whole_and_read_back() {
    let rig = rig().await;
    let order = r#"{"query_lag":"1m 30s","callback_never":true}"#;
    let (status, faults) = rig.control("PUT", "/faults", order).await;
    assert_eq!(status, 200);
    assert_eq!(faults["query_lag"], "1m 30s");
    assert_eq!(rig.control("GET", "/faults", "").await, (200, faults));
    let (_, faults) = rig.control("PUT", "/faults", "{}").await;
    assert_eq!(faults["callback_never"], false);
    assert_eq!(faults["query_lag"], "0s");
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn a_user_is_set_called_back_and_looked_at() {
    let rig = rig().await;
    let mut sink = Sink::start();
    let order =
        json!({"status": "3", "failReason": "blurred", "callBackUrl": sink.url, "callback": true});
    let (status, report) = rig.control("PUT", TARO, &order.to_string()).await;
    assert_eq!(status, 200, "{report}");
    assert_eq!(rig.sandbox.run_due().await, 1);
    assert_eq!(sink.next().await.json()["failReason"], "blurred");
    assert_eq!(rig.status("taro").await, "3");

    let (status, attempt) = rig
        .control(
            "POST",
            &format!("{TARO}/callback"),
            r#"{"status":"2","sign":"missing","form":"nested","timestamp_as_number":true}"#,
        )
        .await;
    assert_eq!(status, 200, "{attempt}");
    assert_eq!(attempt["confirmed"], true);
    let body = sink.next().await.json();
    assert_eq!(body["data"]["authenticationStatus"], "2");
    assert!(body["data"]["timestamp"].is_u64());
    assert_eq!(body["data"].get("sign"), None);
    let (status, _) = rig.control("POST", &format!("{TARO}/callback"), "").await;
    assert_eq!(status, 200);

    let (_, report) = rig.control("GET", TARO, "").await;
    assert_eq!(report["status"], "3");
    assert_eq!(report["queries"], 1);
    assert_eq!(report["callbacks"].as_array().unwrap().len(), 3);
    assert_eq!(report["callbacks"][0]["state"], "confirmed");
    assert_eq!(report["callbacks"][0]["attempts"][0]["body"], "OK");
    let (_, users) = rig.control("GET", "/users", "").await;
    assert_eq!(users, json!([report]));
    let (_, requests) = rig.control("GET", "/requests", "").await;
    assert_eq!(
        requests,
        json!({"query": {"0000": 1}, "apply": {}, "callbacks_confirmed": 3, "callbacks_failed": 0})
    );
    rig.sandbox.stop().await;
    sink.stop().await;
}

#[tokio::test]
async fn a_decision_and_faults_can_be_ordered_before_a_user_applies() {
    let rig = rig().await;
    let order =
        r#"{"decision":{"status":"3","failReason":"expired"},"faults":{"callback_never":true}}"#;
    assert_eq!(
        rig.control("PUT", "/users/1027749636/%E5%A4%AA%E9%83%8E%2F1", order)
            .await
            .0,
        200
    );
    assert_eq!(rig.query("太郎/1").await["code"], "2001", "not known yet");
    rig.apply("太郎/1", "https://relay.example.com/").await;
    rig.clock.advance(secs(2));
    assert_eq!(rig.sandbox.run_due().await, 0);
    assert_eq!(rig.query("太郎/1").await["data"]["failReason"], "expired");
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let rig = rig().await;
    let callback = format!("{TARO}/callback");
    for (method, path, body, word) in [
        ("PUT", "/faults", r#"{"query_lags":"5s"}"#, "query_lags"),
        ("PUT", "/faults", r#"{"query_lag":"soon"}"#, "duration"),
        ("PUT", "/faults", "no", "expected"),
        ("PUT", TARO, r#"{"state":"2"}"#, "state"),
        ("PUT", TARO, r#"{"status":""}"#, "status"),
        ("PUT", TARO, r#"{"failReason":"x"}"#, "without status"),
        ("PUT", TARO, r#"{"decision":{"status":"2","x":1}}"#, "x"),
        (
            "PUT",
            TARO,
            r#"{"callBackUrl":"http://relay.example.com"}"#,
            "https",
        ),
        (
            "PUT",
            TARO,
            r#"{"status":"2","callback":true}"#,
            "callBackUrl",
        ),
        (
            "PUT",
            TARO,
            r#"{"callback":true,"callBackUrl":"https://relay.example.com"}"#,
            "no status",
        ),
        ("PUT", "/users/1/taro", "{}", "ten digits"),
        ("POST", callback.as_str(), r#"{"sign":"maybe"}"#, "maybe"),
        ("POST", callback.as_str(), r#"{"signs":"valid"}"#, "signs"),
        ("POST", callback.as_str(), "{}", "callBackUrl"),
    ] {
        let (status, answer) = rig.control(method, path, body).await;
        assert_eq!(status, 400, "{method} {path} {body}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(word), "{body}: {error:?} lacks {word:?}");
    }
    assert_eq!(rig.control("GET", "/users", "").await, (200, json!([])));
    assert_eq!(
        rig.control("GET", "/users/1027749636/hanako", "").await.0,
        404
    );
    assert_eq!(
        rig.control("PUT", "/users/3000000003/taro", "{}").await.0,
        404
    );
    assert_eq!(rig.control("DELETE", TARO, "").await.0, 405);
    assert_eq!(rig.control("GET", "/nothing", "").await.0, 404);
    rig.sandbox.stop().await;
}
