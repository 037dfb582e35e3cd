//! What is answered when.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vexora_relay::config::settings::Rate;
use vexora_relay::domain::{SignCheck, UserId};
use vexora_relay::receive::ReceiveSettings;
use vexora_relay::store::StoreError;

use crate::listening::{
    MERCHANT, NOW, OPEN_MERCHANT, TOKEN, callback_path, listening, merchant, post,
    receive_settings, request, server_settings, signed_body,
};

#[tokio::test]
async fn a_callback_is_answered_ok_and_nothing_else_and_kept_byte_for_byte() {
    let relay = listening(server_settings()).await;
    let body = format!("\u{FEFF} {}\n", signed_body("jp_1"));
    let path = format!("{}?from=vexora&x=%20", callback_path());
    let headers = "Content-Type: application/json;charset=UTF-8\r\n";
    let answer = relay.ask(post(&path, headers, &body)).await;

    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    let mut names: Vec<&str> = answer
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["content-length", "content-type", "date", "x-request-id"]
    );
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );

    let [kept] = relay.store.accepted().try_into().expect("one callback");
    assert_eq!(kept.arrival.body, body.as_bytes());
    assert_eq!(
        kept.arrival.content_type.as_deref(),
        Some("application/json;charset=UTF-8")
    );
    assert_eq!(kept.arrival.query.as_deref(), Some("from=vexora&x=%20"));
    assert_eq!(kept.arrival.peer, Some([127, 0, 0, 1].into()));
    assert_eq!(kept.arrival.at, NOW);
    assert_eq!(kept.merchant.as_str(), MERCHANT);
    assert_eq!(kept.user.as_ref().map(UserId::as_str), Some("jp_1"));
    assert_eq!(kept.claim.as_deref(), Some("2"));
    assert_eq!((kept.sign, kept.token), (SignCheck::Valid, true));
}

#[tokio::test]
async fn the_format_is_found_out_by_looking_and_the_unrecognized_is_kept_too() {
    let relay = listening(server_settings()).await;
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"userId\"\r\n\r\nu1\r\n--b--\r\n";
    for (body, user, sign) in [
        (signed_body("u1"), Some("u1"), SignCheck::Valid),
        (
            "userId=u1&sign=00".to_owned(),
            Some("u1"),
            SignCheck::Invalid,
        ),
        (multipart.to_owned(), Some("u1"), SignCheck::Missing),
        ("what is this?".to_owned(), None, SignCheck::Missing),
        ("\0\u{1}".to_owned(), None, SignCheck::Missing),
    ] {
        let wrong_type = "Content-Type: image/png\r\n";
        let answer = relay.ask(post(&callback_path(), wrong_type, &body)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "OK"), "{body}");
        let kept = relay.store.accepted().pop().expect("kept");
        assert_eq!(kept.arrival.body, body.as_bytes());
        assert_eq!(
            (kept.user.as_ref().map(UserId::as_str), kept.sign),
            (user, sign),
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_ack_is_the_configured_text() {
    let mut settings = server_settings();
    settings.ack = "SUCCESS".to_owned();
    let relay = listening(settings).await;
    assert_eq!(
        relay.post_callback(&callback_path(), "{}").await.body,
        "SUCCESS"
    );
}

#[tokio::test]
async fn any_path_that_is_not_a_merchant_s_gets_the_same_404() {
    let relay = listening(server_settings()).await;
    for good in [
        format!("/callback/{MERCHANT}/{TOKEN}"),
        format!("/callback/{MERCHANT}/{TOKEN}/"),
        format!("/callback/{OPEN_MERCHANT}"),
        format!("/callback/{OPEN_MERCHANT}/"),
        format!("http://relay.example.com/callback/{OPEN_MERCHANT}"),
    ] {
        assert_eq!(relay.post_callback(&good, "{}").await.status, 200, "{good}");
    }
    let accepted = relay.store.accepted().len();
    let reference = without_date(relay.post_callback("/nowhere", "{}").await);
    for bad in [
        "/".to_owned(),
        "/callback".to_owned(),
        "/callback/".to_owned(),
        "/callback//".to_owned(),
        format!("/callback/{MERCHANT}"),
        format!("/callback/{MERCHANT}/"),
        format!("/callback/{MERCHANT}//"),
        format!("/callback/{MERCHANT}/{TOKEN}//"),
        format!("/callback/{MERCHANT}/{TOKEN}/x"),
        format!("/callback/{MERCHANT}/{}", &TOKEN[1..]),
        format!("/callback/{MERCHANT}/{TOKEN}x"),
        format!("/callback/{MERCHANT}/%61{}", &TOKEN[1..]),
        format!("/callback/{OPEN_MERCHANT}/{TOKEN}"),
        format!("/callback/2000000002/{TOKEN}"),
        format!("/callback/{MERCHANT}/../{OPEN_MERCHANT}"),
        format!("//callback/{OPEN_MERCHANT}"),
        format!("/Callback/{OPEN_MERCHANT}"),
        format!("/callbacks/{OPEN_MERCHANT}"),
        format!("/callback{OPEN_MERCHANT}"),
        "/healthz/".to_owned(),
    ] {
        let answer = relay.post_callback(&bad, "{}").await;
        assert_eq!(answer.status, 404, "{bad}");
        assert_eq!(answer.code(), "not_found");
        assert_eq!(without_date(answer), reference, "{bad}");
    }
    assert_eq!(relay.ask(request("OPTIONS", "*")).await.status, 404);
    assert_eq!(relay.ask(request("GET", "/callback")).await.status, 404);
    assert_eq!(relay.store.accepted().len(), accepted);
}

fn without_date(mut answer: crate::wire::Answer) -> crate::wire::Answer {
    answer.headers.retain(|(name, _)| name != "date");
    answer
}

#[tokio::test]
async fn without_a_number_the_path_is_the_only_merchant_s() {
    let relay = listening(server_settings()).await;
    relay.receiver.reload(ReceiveSettings {
        merchants: vec![merchant(OPEN_MERCHANT, None)],
        ..receive_settings()
    });
    assert_eq!(relay.post_callback("/callback", "{}").await.status, 200);
    assert_eq!(relay.post_callback("/callback/", "{}").await.status, 200);
    relay.receiver.reload(ReceiveSettings {
        merchants: vec![merchant(MERCHANT, Some(TOKEN))],
        ..receive_settings()
    });
    assert_eq!(relay.post_callback("/callback", "{}").await.status, 404);
}

#[tokio::test]
async fn looking_at_the_url_is_ok_and_has_no_effect() {
    let relay = listening(server_settings()).await;
    let answer = relay.ask(request("GET", &callback_path())).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    let mut wire = relay.connect().await;
    wire.send(
        request("HEAD", &callback_path()).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
    )
    .await;
    let answer = wire.head_answer().await;
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("2"))
    );
    assert_eq!(wire.rest().await, b"");
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = relay.ask(request(method, &callback_path())).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
        assert_eq!(answer.code(), "method_not_allowed");
    }
    assert_eq!(relay.store.accepted(), []);
}

#[tokio::test]
async fn healthz_is_ok_while_it_serves() {
    let relay = listening(server_settings()).await;
    let answer = relay.ask(request("GET", "/healthz")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    let mut wire = relay.connect().await;
    wire.send(request("HEAD", "/healthz")).await;
    assert_eq!(wire.head_answer().await.status, 200);
    assert_eq!(
        relay.ask(request("POST", "/healthz")).await.header("allow"),
        Some("GET, HEAD")
    );
}

#[tokio::test]
async fn an_encoded_body_is_not_inflated() {
    let relay = listening(server_settings()).await;
    for (encoding, status) in [
        ("gzip", 415),
        ("identity, br", 415),
        ("x-own", 415),
        ("Identity", 200),
        ("", 200),
    ] {
        let header = format!("Content-Encoding: {encoding}\r\n");
        let answer = relay.ask(post(&callback_path(), &header, "{}")).await;
        assert_eq!(answer.status, status, "{encoding}");
        if status == 415 {
            assert_eq!(answer.code(), "unsupported_encoding");
        }
    }
}

#[tokio::test]
async fn an_empty_body_is_a_bad_request() {
    let relay = listening(server_settings()).await;
    let chunked = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for request in [
        post(&callback_path(), "", ""),
        request("POST", &callback_path()),
        format!(
            "POST {} HTTP/1.1\r\nHost: relay\r\n{chunked}",
            callback_path()
        ),
    ] {
        let answer = relay.ask(request).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "empty_body"));
    }
}

#[tokio::test]
async fn a_body_of_exactly_max_body_is_taken_and_one_byte_more_is_not() {
    let mut settings = server_settings();
    settings.max_body = 1024;
    let relay = listening(settings).await;
    assert_eq!(
        relay
            .post_callback(&callback_path(), &"x".repeat(1024))
            .await
            .status,
        200
    );
    let answer = relay
        .post_callback(&callback_path(), &"x".repeat(1025))
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "body_too_large")
    );
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(relay.store.accepted().len(), 1);
}

#[tokio::test]
async fn only_addresses_in_allow_from_may_post() {
    let mut settings = server_settings();
    settings.allow_from = vec!["192.0.2.0/24".parse().expect("net")];
    let relay = listening(settings.clone()).await;
    let forged = "X-Forwarded-For: 192.0.2.1\r\n";
    let answer = relay.ask(post(&callback_path(), forged, "{}")).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (403, "address_not_allowed")
    );
    // What may not post may not find out paths either.
    assert_eq!(relay.post_callback("/callback/1/2", "{}").await.status, 404);

    settings.trusted_proxies = vec!["127.0.0.0/8".parse().expect("net")];
    relay.edge.reload(&settings).expect("reloaded");
    let answer = relay.ask(post(&callback_path(), forged, "{}")).await;
    assert_eq!(answer.status, 200);
    let kept = relay.store.accepted().pop().expect("kept");
    assert_eq!(kept.arrival.peer, Some([192, 0, 2, 1].into()));
    let own_words = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 6.6.6.6\r\n";
    assert_eq!(
        relay
            .ask(post(&callback_path(), own_words, "{}"))
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn over_the_rate_a_client_waits_and_others_do_not() {
    let mut settings = server_settings();
    settings.trusted_proxies = vec!["127.0.0.1/32".parse().expect("net")];
    settings.rate_limit = Some(Rate {
        count: NonZeroU32::new(2).expect("not zero"),
        per: Duration::from_secs(3600),
    });
    let relay = listening(settings.clone()).await;
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    let ask = |address: &str| relay.ask(post(&callback_path(), &from(address), "{}"));
    assert_eq!(ask("192.0.2.1").await.status, 200);
    let guess = relay
        .ask(post("/callback/guess", &from("192.0.2.1"), "{}"))
        .await;
    assert_eq!(guess.status, 404, "a guess counts too");
    // A reload does not give back what has been used up.
    relay.edge.reload(&settings).expect("reloaded");
    let answer = ask("192.0.2.1").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (429, "rate_limited")
    );
    let wait: u64 = answer
        .header("retry-after")
        .expect("there")
        .parse()
        .expect("seconds");
    assert!((1..=1800).contains(&wait), "{wait}");
    assert_eq!(ask("192.0.2.2").await.status, 200);
    assert_eq!(relay.ask(request("GET", "/healthz")).await.status, 200);
}

#[tokio::test]
async fn a_bad_sign_is_refused_where_it_is_to_be() {
    let relay = listening(server_settings()).await;
    relay.receiver.reload(ReceiveSettings {
        refuse_bad_sign: true,
        ..receive_settings()
    });
    let good = signed_body("u1");
    for bad in [
        good.replace("\"2\"", "\"3\""),
        r#"{"userId":"u1"}"#.to_owned(),
        "?".to_owned(),
    ] {
        let answer = relay.post_callback(&callback_path(), &bad).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "bad_sign"),
            "{bad}"
        );
    }
    assert_eq!(relay.store.accepted(), []);
    assert_eq!(
        relay.post_callback(&callback_path(), &good).await.status,
        200
    );
}

#[tokio::test]
async fn what_is_not_durable_is_not_answered_ok() {
    let relay = listening(server_settings()).await;
    let failures: [fn() -> StoreError; 6] = [
        || StoreError::DiskLow {
            path: PathBuf::from("/data"),
            free: 1,
            min_free: 2,
        },
        || StoreError::Overloaded,
        || StoreError::Stopping,
        || StoreError::Write(Arc::new(std::io::Error::other("/data/db is gone"))),
        || StoreError::Read(std::io::Error::other("/data/db is gone")),
        || StoreError::Damaged {
            tree: "callbacks",
            key: "00".to_owned(),
            why: "short".to_owned(),
        },
    ];
    for failure in failures {
        relay.store.fail_with(failure);
        let answer = relay.post_callback(&callback_path(), "{}").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "not_durable")
        );
        let wait: u64 = answer
            .header("retry-after")
            .expect("there")
            .parse()
            .expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
        assert!(!answer.body.contains("data"), "{}", answer.body);
    }
    assert_eq!(relay.store.accepted(), []);
}

#[tokio::test]
async fn every_answer_has_a_request_id_the_clients_own_if_it_is_usable() {
    let relay = listening(server_settings()).await;
    let asked = async |header: &str| {
        let answer = relay.ask(post(&callback_path(), header, "{}")).await;
        answer.header("x-request-id").expect("an id").to_owned()
    };
    let longest = "x".repeat(128);
    for own in ["7f3c-1", "~!\"{}", longest.as_str()] {
        assert_eq!(asked(&format!("X-Request-Id: {own}\r\n")).await, own);
    }
    let mut made = vec![asked("").await];
    let too_long = format!("X-Request-Id: {longest}x\r\n");
    for other in [
        "X-Request-Id:\r\n",
        "X-Request-Id: two words\r\n",
        "X-Request-Id: caf\u{e9}\r\n",
        "X-Request-Id: one\r\nX-Request-Id: two\r\n",
        too_long.as_str(),
    ] {
        made.push(asked(other).await);
    }
    for id in &made {
        assert!(
            id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
    }
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), 6, "each another");
    let refused = relay.ask(post(&callback_path(), "", "")).await;
    assert_eq!(refused.status, 400);
    assert!(refused.header("x-request-id").is_some());
    // Of what is not there every answer is the same; only what the client said itself may be in it.
    let nowhere = relay.ask(request("DELETE", "/nowhere")).await;
    assert_eq!(
        (nowhere.status, nowhere.header("x-request-id")),
        (404, None)
    );
    let named = post("/nowhere", "X-Request-Id: mine\r\n", "{}");
    let named = relay.ask(named).await;
    assert_eq!(
        (named.status, named.header("x-request-id")),
        (404, Some("mine"))
    );
}
