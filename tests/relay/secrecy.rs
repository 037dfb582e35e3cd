//! Contract §1.7: nothing secret and nothing personal in the log of the real program, whatever happens.

use crate::kit::{
    APP_SECRET, MERCHANT, Reply, Service, Setup, Sink, TOKEN, WHSEC, merchant, own_sign, post, user,
};
use vexora_relay::domain::Status;

const REASON: &str = "reason-that-stays-private";
const FURIGANA: &str = "ヤマダタロウ";
const USERS: [&str; 3] = [
    "approved-person-77",
    "rejected-person-77",
    "unsigned-person-77",
];

fn callback(id: &str, secret: &str) -> (String, String) {
    let params = [
        ("userId", id),
        ("authenticationStatus", "3"),
        ("failReason", REASON),
        ("usernameFurigana", FURIGANA),
    ];
    let sign = own_sign(&params, secret);
    let mut body: serde_json::Map<_, _> = params
        .iter()
        .map(|(name, value)| ((*name).to_owned(), serde_json::json!(value)))
        .collect();
    body.insert("sign".into(), serde_json::json!(sign));
    (serde_json::Value::Object(body).to_string(), sign)
}

/// Runs through everything that can happen to a callback; returns the log, and all that must not be in it.
async fn full_flow(level: &str, on_bad_sign: &str) -> (Vec<String>, Vec<String>) {
    let (good, bad) = (Sink::start().await, Sink::start().await);
    good.answers(Reply::body("receivers-answer-good"));
    bad.answers(Reply::Answer(500, vec![], b"receivers-answer-bad".to_vec()));
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new()
        .log(&format!("level = \"{level}\"\nformat = \"json\""))
        .verify(&format!("on_bad_sign = \"{on_bad_sign}\""))
        .endpoint(
            "good",
            &good.url(),
            "events = [\"*\"]\nheaders = { X-Key = \"key-of-the-endpoint\" }",
        )
        .endpoint(
            "bad",
            &format!("{}?apikey=key-in-the-address", bad.url()),
            "retry = [\"100ms\"]",
        )
        .endpoint(
            "closed",
            "http://127.0.0.1:1/hooks?apikey=key-in-the-address",
            "retry = [\"100ms\"]",
        )
        .endpoint(
            "nameless",
            "http://nonexistent.invalid/hooks?apikey=key-in-the-address",
            "allow_http = true\nretry = [\"100ms\"]",
        );
    let (sandbox, file) = setup.write(directory.path()).await;
    sandbox.set_status(&merchant(), &user(USERS[0]), Status::Approved, None);
    sandbox.set_status(&merchant(), &user(USERS[1]), Status::Rejected, Some(REASON));
    let mut service = Service::start(&file);
    let to = service.address;
    let path = format!("/callback/{MERCHANT}/{TOKEN}");
    let mut hidden = vec![];
    for (id, secret) in [
        (USERS[0], APP_SECRET),
        (USERS[1], APP_SECRET),
        (USERS[2], "wrong"),
    ] {
        let (body, sign) = callback(id, secret);
        let (status, _) = post(to, &path, body.as_bytes()).await;
        assert_eq!(
            status,
            if secret == "wrong" && on_bad_sign == "refuse" {
                403
            } else {
                200
            }
        );
        // Of a wrong address nothing may be told either: it may be a right one with a typing error.
        post(to, &format!("{path}x?secret-query=1"), body.as_bytes()).await;
        hidden.push(sign);
        hidden.push(body);
    }
    post(to, &path, b"a body with nobody-in-particular in it").await;
    post(to, &path, &[b'x'; 70_000]).await;
    let (body, _) = callback(USERS[0], APP_SECRET);
    post(
        to,
        &format!("{path}?{FURIGANA}&userId={}", USERS[0]),
        &body.as_bytes()[..40],
    )
    .await;
    for _ in 0..6 {
        service.wait_for("abandoned after");
    }
    good.has_received(2).await;
    let log = service.stop();
    for request in [good.requests(), bad.requests()].concat() {
        hidden.push(request.header("webhook-signature").to_owned());
    }
    assert!(bad.count() >= 4, "tried and tried again");
    hidden.extend(
        [
            APP_SECRET,
            TOKEN,
            WHSEC,
            &WHSEC[6..],
            REASON,
            FURIGANA,
            "key-of-the-endpoint",
            "key-in-the-address",
            "receivers-answer",
            "nobody-in-particular",
            "secret-query",
            "furigana",
            "failReason",
        ]
        .map(str::to_owned),
    );
    (log, hidden)
}

fn assert_hidden(log: &[String], hidden: &[String]) {
    assert!(log.len() > 10, "{log:?}");
    for line in log {
        for text in hidden {
            assert!(!line.contains(text.as_str()), "{text:?} is in {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_debug_level_the_log_names_users_and_nothing_else_about_them() {
    let (log, hidden) = full_flow("debug", "flag").await;
    assert_hidden(&log, &hidden);
    assert!(
        log.iter().any(|line| line.contains(USERS[0])),
        "names users at debug level"
    );
    for line in &log {
        let names = USERS.iter().any(|user| line.contains(user));
        assert!(
            !names || line.contains("\"level\":\"DEBUG\""),
            "a user above debug level: {line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_info_level_the_log_names_nobody() {
    let (log, mut hidden) = full_flow("info", "refuse").await;
    hidden.extend(USERS.map(str::to_owned));
    assert_hidden(&log, &hidden);
}
