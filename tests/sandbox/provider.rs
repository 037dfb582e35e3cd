//! The two provider APIs: what is taken, and how everything else is declined.

use std::sync::Arc;

use serde_json::{Value, json};
use vexora_relay::domain::{Secret, Status};
use vexora_relay::sandbox::{Sandbox, SandboxConfig, SandboxError, UnknownUser};

use crate::kit::*;

const HTTPS_URL: &str = "https://relay.example.com/callback/1027749636/t";

#[tokio::test]
async fn a_query_signed_as_published_is_answered_as_published() {
    let rig = rig().await;
    let user = user("jp_user_100008");
    rig.sandbox
        .set_status(&merchant(), &user, Status::Rejected, Some("blurred"));
    // The sign was printed by md5sum.
    let body = r#"{"sign":"123f689e77814f21fe621c1c2f5f6c99","timestamp":"1732988442913","userId":"jp_user_100008"}"#;
    let answer = json(rig.query_request(body)).await;
    assert_eq!(
        answer,
        json!({
            "msg": "success", "code": "0000", "timestamp": "1732988442913", "success": true,
            "data": {"authenticationStatus": "3", "failReason": "blurred"},
        })
    );
    assert_eq!(rig.sandbox.queries(&merchant(), &user), 1);
    rig.sandbox.stop().await;
}

fn refused(answer: &Value, code: &str, word: &str) {
    assert_eq!(answer["code"], code, "{answer}");
    assert_eq!(answer["success"], false, "{answer}");
    assert!(answer["timestamp"].is_string(), "{answer}");
    let msg = answer["msg"].as_str().unwrap();
    assert!(msg.contains(word), "{answer} lacks {word:?}");
    assert!(!msg.contains(SECRET), "{answer} shows the secret");
}

#[tokio::test]
async fn every_query_that_is_not_in_order_is_declined_and_told_why() {
    let rig = rig().await;
    let good = query_body("taro");
    let cases = [
        ("", "1003", "not JSON"),
        ("[]", "1003", "object"),
        (r#"{"userId":"taro"}"#, "1004", "sign"),
        (r#"{"userId":1}"#, "1004", "found a number"),
        (r#"{"userId":null}"#, "1004", "found null"),
        (r#"{"sign":"x","userId":"taro"}"#, "1004", "timestamp"),
        (
            r#"{"sign":"x","timestamp":"1","userId":""}"#,
            "1004",
            "userId",
        ),
        (
            r#"{"sign":"x","timestamp":"-1","userId":"a"}"#,
            "1005",
            "-1",
        ),
        (
            r#"{"sign":"x","timestamp":"99999999999999999999","userId":"a"}"#,
            "1005",
            "milliseconds",
        ),
        (
            r#"{"sign":"x","timestamp":"1","userId":"a"}"#,
            "1006",
            "timestamp=1userId=a<secret>",
        ),
        (good.as_str(), "2001", "never applied"),
    ];
    for (body, code, word) in cases {
        refused(&json(rig.query_request(body)).await, code, word);
    }
    // A merchant number of our own in place of the kit's: the header is set, not added.
    for (number, code, word) in [
        ("3000000003", "1002", "3000000003"),
        ("30", "1001", "ten digits"),
    ] {
        let mut request = rig.query_request(&good).build().unwrap();
        request
            .headers_mut()
            .insert("merchantNo", number.parse().unwrap());
        let response = rig.client.execute(request).await.unwrap();
        refused(
            &serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
            code,
            word,
        );
    }
    let mut headless = rig.query_request(&good).build().unwrap();
    headless.headers_mut().remove("merchantNo");
    let response = rig.client.execute(headless).await.unwrap();
    let answer = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    refused(&answer, "1001", "merchantNo is missing");
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn a_sign_with_another_merchants_secret_or_in_capitals_is_wrong() {
    let rig = rig().await;
    let params = [("userId", "taro"), ("timestamp", "1")];
    for sign in [
        own_sign(&params, "other"),
        own_sign(&params, SECRET).to_uppercase(),
    ] {
        let body = json!({"userId": "taro", "timestamp": "1", "sign": sign}).to_string();
        refused(&json(rig.query_request(&body)).await, "1006", "<secret>");
    }
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn an_unknown_user_is_pending_where_that_is_configured() {
    let rig = rig_with(|config| config.unknown_user = UnknownUser::Pending).await;
    assert_eq!(rig.status("nobody").await, "0");
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn an_application_signed_by_md5sum_is_taken_and_reviewed() {
    let rig = rig().await;
    let answer = json(rig.apply_request(&[
        ("sign", "f39b10df3213befb4295e882b6a7105f"),
        ("timestamp", "1732988442913"),
        ("userId", "jp_user_100008"),
        ("callBackUrl", HTTPS_URL),
        ("usernameFurigana", "ヤマダ タロウ1"),
    ]))
    .await;
    assert_eq!(answer["code"], "0000", "{answer}");
    assert_eq!(answer["success"], true);
    assert_eq!(answer["data"]["userId"], "jp_user_100008");
    assert_eq!(answer["data"]["authenticationStatus"], "0");
    assert!(answer["data"]["message"].is_string());
    let taken = rig
        .sandbox
        .applications(&merchant(), &user("jp_user_100008"));
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].callback_url, HTTPS_URL);
    assert_eq!(taken[0].username_furigana, "ヤマダ タロウ1");

    assert_eq!(rig.status("jp_user_100008").await, "0");
    rig.clock.advance(secs(1));
    assert_eq!(rig.status("jp_user_100008").await, "1");
    rig.clock.advance(secs(1));
    assert_eq!(rig.status("jp_user_100008").await, "2");
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn every_application_that_is_not_in_order_is_declined_and_told_why() {
    let rig = rig().await;
    let whole = apply_fields("taro", HTTPS_URL);
    for (name, _) in &whole {
        let without: Vec<_> = pairs(&whole)
            .into_iter()
            .filter(|(other, _)| other != name)
            .collect();
        refused(&json(rig.apply_request(&without)).await, "1004", name);
    }
    let mut twice = pairs(&whole);
    twice.push(("userId", "hanako"));
    refused(&json(rig.apply_request(&twice)).await, "1003", "twice");
    let mut spoilt = pairs(&whole);
    spoilt[3].1 = "スズキ";
    let answer = json(rig.apply_request(&spoilt)).await;
    refused(&answer, "1006", "usernameFurigana=スズキ<secret>");
    for url in ["http://relay.example.com/", "ftp://127.0.0.1/", "relay"] {
        refused(&rig.apply("taro", url).await, "1007", "callBackUrl");
    }
    let many: Vec<(String, &str)> = (0..40).map(|n| (n.to_string(), "x")).collect();
    let many: Vec<_> = many.iter().map(|(name, x)| (name.as_str(), *x)).collect();
    refused(&json(rig.apply_request(&many)).await, "1003", "more than");
    let garbage = rig.apply_request(&[]).build().unwrap();
    for (content_type, body) in [
        ("multipart/form-data", "x"),
        ("multipart/form-data; boundary=b", "not parts at all"),
        (
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
        ),
    ] {
        let request = rig
            .client
            .post(garbage.url().clone())
            .header("merchantNo", "1027749636")
            .header("content-type", content_type)
            .body(body);
        refused(&json(request).await, "1003", "");
    }
    let file = reqwest::multipart::Part::text("x").file_name("x.txt");
    let form = reqwest::multipart::Form::new().part("userId", file);
    let request = rig.client.post(garbage.url().clone());
    let request = request.header("merchantNo", "1027749636").multipart(form);
    refused(&json(request).await, "1004", "found a file");
    assert!(
        rig.sandbox
            .applications(&merchant(), &user("taro"))
            .is_empty()
    );
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn what_a_web_server_declines_is_an_http_status() {
    let rig = rig().await;
    let base = rig.sandbox.base_url();
    let query = format!("{base}/v1/vexora/kycStatusQuery");
    let apply = format!("{base}/v1/vexora/kycApplyFor");
    let send = async |request: reqwest::RequestBuilder| request.send().await.unwrap();
    assert_eq!(
        send(rig.client.get(format!("{base}/v2"))).await.status(),
        404
    );
    for url in [&query, &apply] {
        let response = send(rig.client.get(url)).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "POST");
        let text = rig.client.post(url).header("content-type", "text/plain");
        assert_eq!(send(text.body("{}")).await.status(), 415);
        assert_eq!(send(rig.client.post(url).body("{}")).await.status(), 415);
    }
    let large = "x".repeat(64 * 1024 + 1);
    assert_eq!(send(rig.query_request(&large)).await.status(), 413);
    let large = rig.apply_request(&[("userId", &large)]);
    assert_eq!(send(large).await.status(), 413);
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn a_rejected_user_may_apply_again_and_one_under_review_joins_it() {
    let rig = rig().await;
    let id = "reject-once-1";
    rig.apply(id, HTTPS_URL).await;
    rig.clock.advance(secs(1));
    let joined = rig.apply(id, HTTPS_URL).await;
    assert_eq!(joined["data"]["authenticationStatus"], "1");
    rig.clock.advance(secs(1));
    let answer = rig.query(id).await;
    assert_eq!(answer["data"]["authenticationStatus"], "3");
    assert!(answer["data"]["failReason"].is_string());
    rig.apply(id, HTTPS_URL).await;
    assert_eq!(rig.status(id).await, "0");
    rig.clock.advance(secs(2));
    assert_eq!(rig.status(id).await, "2");
    assert_eq!(rig.sandbox.applications(&merchant(), &user(id)).len(), 3);
    rig.sandbox.stop().await;
}

#[actix_web::test]
async fn it_starts_in_an_actix_runtime_refuses_other_addresses_and_frees_its_port() {
    let merchants = vec![(merchant(), Secret::new(SECRET))];
    let mut config = SandboxConfig::new(merchants);
    config.listen = "0.0.0.0:0".parse().unwrap();
    let refused = Sandbox::start(config.clone()).await;
    assert!(matches!(refused, Err(SandboxError::NotLoopback(_))));
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.time_scale = -1.0;
    let refused = Sandbox::start(config.clone()).await;
    assert!(matches!(refused, Err(SandboxError::TimeScale(_))));
    config.time_scale = 1.0;
    let sandbox = Sandbox::start(config.clone()).await.unwrap();
    config.listen = sandbox.address();
    config.clock = Arc::new(vexora_relay::clock::SystemClock);
    let taken = Sandbox::start(config.clone()).await;
    assert!(matches!(taken, Err(SandboxError::Listen { .. })));
    sandbox.stop().await;
    Sandbox::start(config).await.unwrap().stop().await;
}
