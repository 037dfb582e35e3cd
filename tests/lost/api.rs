//! The admin API: who may use it, what each route answers, and the story it tells.

use serde_json::{Value, json};

use crate::kit::{ADMIN, World, secs};

const ROUTES: [(&str, &str); 5] = [
    ("GET", "status"),
    ("GET", "users/1027749636/u1"),
    ("POST", "users/1027749636/u1/verify"),
    ("POST", "applications"),
    ("POST", "watch"),
];

#[tokio::test]
async fn nothing_is_answered_without_the_token() {
    let world = World::new().await;
    for (method, path) in ROUTES {
        for given in [
            None,
            Some(""),
            Some("wrong"),
            Some("callback-token-of-the-tests"),
        ] {
            let url = format!("{}/api/v1/{path}", world.admin());
            let mut request = world.http.request(method.parse().unwrap(), url);
            if let Some(token) = given {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{method} {path} {given:?}");
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("www-authenticate"), "Bearer");
            assert_eq!(header("content-type"), "application/problem+json");
            let body = response.text().await.unwrap();
            assert!(body.contains("unauthorized") && !body.contains(ADMIN));
        }
    }
    for path in ["healthz", "readyz"] {
        let url = format!("{}/{path}", world.admin());
        assert_eq!(world.http.get(url).send().await.unwrap().status(), 200);
    }
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_a_problem_with_a_stable_code() {
    let world = World::new().await;
    let long = "x".repeat(129);
    for (method, path, body, status, code) in [
        ("GET", "nothing", None, 404, "not_found"),
        ("GET", "users/1027749637/u1", None, 404, "no_such_merchant"),
        ("GET", "users/12/u1", None, 400, "invalid_request"),
        (
            "GET",
            &format!("users/1027749636/{long}"),
            None,
            400,
            "invalid_request",
        ),
        (
            "POST",
            "users/1027749636/u%01/verify",
            None,
            400,
            "invalid_request",
        ),
        (
            "POST",
            "applications",
            Some(json!({"userId": "u1"})),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "applications",
            Some(json!({"userId": "u\n", "usernameFurigana": "ヤマダ"})),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "watch",
            Some(json!({"users": ["u1", ""]})),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "watch",
            Some(json!({"merchant": "1027749637", "users": []})),
            404,
            "no_such_merchant",
        ),
    ] {
        let (answered, problem) = world.api(method, path, body).await;
        assert_eq!(
            (answered, problem["code"].as_str()),
            (status, Some(code)),
            "{method} {path}"
        );
        assert_eq!(problem["status"], json!(status));
    }
    world.end().await;
}

#[tokio::test]
async fn a_user_id_may_be_anything_that_a_path_can_carry_escaped() {
    let world = World::new().await;
    let name = "ü/ser?#% 1";
    world.set(name, "2");
    world.watch(&[name]).await;
    world.soon().await;
    let (status, story) = world
        .api("GET", "users/1027749636/%C3%BC%2Fser%3F%23%25%201", None)
        .await;
    assert_eq!((status, story["userId"].as_str()), (200, Some(name)));
    assert_eq!(story["status"], "approved");
    world.end().await;
}

#[tokio::test]
async fn the_story_of_a_user_is_whole_and_in_order_with_cause_before_effect() {
    let world = World::new().await;
    world.apply("reject-u1").await;
    world.receiver.refuse(true);
    world.pass(secs(61), secs(1)).await;
    world.receiver.refuse(false);
    world.pass(secs(10), secs(1)).await;
    let (status, story) = world.api("GET", "users/1027749636/reject-u1", None).await;
    assert_eq!(status, 200);
    let timeline = story["timeline"].as_array().unwrap();
    let kinds: Vec<&str> = timeline
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "application",
            "callback",
            "query",
            "event",
            "attempt",
            "attempt"
        ]
    );
    let times: Vec<&str> = timeline
        .iter()
        .map(|entry| entry["at"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    let [application, callback, query, event, failed, heard] = timeline.as_slice() else {
        panic!("six entries");
    };
    assert_eq!(application["result"], "accepted");
    assert_eq!(
        (&callback["claim"], &callback["sign"]),
        (&json!("3"), &json!("valid"))
    );
    assert_eq!(
        (&query["outcome"], &query["claimed"]),
        (&json!("rejected"), &Value::Null)
    );
    assert_eq!(
        (&event["type"], &event["sequence"]),
        (&json!("kyc.rejected"), &json!(1))
    );
    assert_eq!(
        (&failed["outcome"], &failed["status"]),
        (&json!("status"), &json!(503))
    );
    assert_eq!(
        (&heard["outcome"], &heard["attempt"]),
        (&json!("delivered"), &json!(2))
    );
    assert_eq!(story["deliveries"][0]["state"], "delivered");
    assert_eq!(story["application"], Value::Null, "it is settled");
    assert!(story["failReason"].as_str().unwrap().contains("simulated"));
    world.end().await;
}

#[tokio::test]
async fn the_status_counts_what_waits() {
    let world = World::new().await;
    world.set("u1", "2");
    world.set("u2", "1");
    world.receiver.refuse(true);
    world.ring("u1", "2").await;
    world.watch(&["u2"]).await;
    world.settle().await;
    let (_, status) = world.api("GET", "status", None).await;
    assert_eq!(
        status["pending"],
        json!({"verifications": 1, "deliveries": {"ledger": 1}})
    );
    assert_eq!(
        (&status["ready"], &status["reasons"]),
        (&json!(true), &json!([]))
    );
    world.end().await;
}
