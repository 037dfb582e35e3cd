//! Clients that mean ill, and clients that are merely broken.

use std::time::{Duration, Instant};

use crate::listening::{callback_path, listening, post, request, server_settings, signed_body};
use crate::wire::{PATIENCE, Wire};

/// Well above the second for which what still comes is thrown away, well below any timeout.
const PROMPT: Duration = Duration::from_secs(5);

#[allow(
    clippy::disallowed_methods,
    reason = "measures how long something took"
)]
fn started() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn a_huge_body_is_refused_at_once_and_not_read_on() {
    let relay = listening(server_settings()).await;
    let began = started();
    let mut wire = relay.connect().await;
    let path = callback_path();
    wire.send(format!(
        "POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: 10000000000\r\n\r\n"
    ))
    .await;
    let answer = wire.answer().await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "body_too_large")
    );
    assert_eq!(answer.header("connection"), Some("close"));
    closes_on_a_client_that_keeps_sending(&mut wire, b"x".repeat(4096)).await;
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_endless_chunked_body_is_refused_at_the_limit_and_not_read_on() {
    let relay = listening(server_settings()).await;
    for path in [
        callback_path(),
        "/nowhere".to_owned(),
        "/healthz".to_owned(),
    ] {
        let began = started();
        let mut wire = relay.connect().await;
        wire.send(format!(
            "POST {path} HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n"
        ))
        .await;
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096)).into_bytes();
        for _ in 0..20 {
            if wire.try_send(&chunk).await.is_err() {
                break;
            }
        }
        assert!(
            [413, 404, 405].contains(&wire.answer().await.status),
            "{path}"
        );
        closes_on_a_client_that_keeps_sending(&mut wire, chunk).await;
        assert!(began.elapsed() < PROMPT, "{path}: {:?}", began.elapsed());
    }
    assert_eq!(relay.store.accepted(), []);
}

async fn closes_on_a_client_that_keeps_sending(
    wire: &mut Wire<tokio::net::TcpStream>,
    piece: Vec<u8>,
) {
    let refused = async { while wire.try_send(&piece).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("it reads on and on");
}

#[tokio::test]
async fn whoever_does_not_send_a_request_in_time_is_cut_off() {
    let mut settings = server_settings();
    settings.request_timeout = Duration::from_secs(2);
    let relay = listening(settings).await;
    let path = callback_path();
    let beginnings = [
        String::new(),
        "POST /callback HT".to_owned(),
        format!("POST {path} HTTP/1.1\r\nHost: relay\r\nX-Slow: "),
        format!("POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: 100\r\n\r\n{{"),
        format!("POST {path} HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx"),
    ];
    let mut wires = Vec::new();
    for beginning in &beginnings {
        let mut wire = relay.connect().await;
        wire.send(beginning).await;
        wires.push(wire);
    }
    for (wire, beginning) in wires.iter_mut().zip(&beginnings) {
        let answer = wire.answer().await;
        assert_eq!(answer.status, 408, "{beginning}");
        if beginning.contains("\r\n\r\n") {
            assert_eq!(answer.code(), "request_timeout");
        }
        wire.rest().await;
    }
    assert_eq!(relay.store.accepted(), []);
}

#[tokio::test]
async fn a_byte_now_and_then_does_not_lengthen_the_time() {
    let mut settings = server_settings();
    settings.request_timeout = Duration::from_secs(2);
    let relay = listening(settings).await;
    let began = started();
    let mut wire = relay.connect().await;
    wire.send(format!(
        "POST {} HTTP/1.1\r\nHost: relay\r\nContent-Length: 60000\r\n\r\n",
        callback_path()
    ))
    .await;
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    while wire.try_send(b"x").await.is_ok() {
        beat.tick().await;
        assert!(
            began.elapsed() < Duration::from_secs(2) + PROMPT,
            "still reading"
        );
    }
}

#[tokio::test]
async fn a_crowd_of_idle_and_slow_connections_delays_nobody() {
    let relay = listening(server_settings()).await;
    let mut crowd = Vec::new();
    for _ in 0..500 {
        crowd.push(relay.connect_from("127.0.0.2").await);
    }
    let mut slow = Vec::new();
    for _ in 0..30 {
        let mut wire = relay.connect().await;
        wire.send(format!(
            "POST {} HTTP/1.1\r\nHost: relay\r\nContent-Length: 1000\r\n\r\nx",
            callback_path()
        ))
        .await;
        slow.push(wire);
    }
    let began = started();
    for _ in 0..20 {
        assert_eq!(
            relay.post_callback(&callback_path(), "{}").await.status,
            200
        );
        for wire in &mut slow {
            wire.send("x").await;
        }
    }
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_address_takes_a_small_part_of_the_places_and_the_rest_is_closed_at_once() {
    let mut settings = server_settings();
    // Longer than the test waits for anything: what is closed here is not closed for its silence.
    settings.request_timeout = Duration::from_secs(60);
    let relay = listening(settings).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(relay.connect_from("127.0.0.3").await);
    }
    // Those beyond 256 see their end; the order in which two threads take them in is not ours.
    let ends = crowd
        .into_iter()
        .map(|mut wire| async move { wire.ended_within(Duration::from_secs(5)).await });
    let closed = futures_util::future::join_all(ends)
        .await
        .into_iter()
        .filter(|ended| *ended)
        .count();
    assert_eq!(closed, 44);
    assert_eq!(
        relay.post_callback(&callback_path(), "{}").await.status,
        200
    );
}

#[tokio::test]
async fn a_trusted_proxy_may_have_many_connections() {
    let mut settings = server_settings();
    settings.request_timeout = Duration::from_secs(60);
    settings.trusted_proxies = vec!["127.0.0.4/32".parse().expect("a network")];
    let relay = listening(settings).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(relay.connect_from("127.0.0.4").await);
    }
    let mut last = crowd.pop().expect("one");
    last.send(post(&callback_path(), "", "{}")).await;
    assert_eq!(last.answer().await.status, 200);
}

#[tokio::test]
async fn a_stranger_cannot_hold_a_connection_with_a_second_request_that_never_ends() {
    let relay = listening(server_settings()).await;
    let begun = "GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\nGET /he";
    let open_path = format!("/callback/{}", crate::listening::OPEN_MERCHANT);
    let requests = [
        begun.to_owned(),
        post("/nowhere", "", "x") + "POST",
        post(&open_path, "", "{}") + "POST",
    ];
    for request in requests {
        let began = started();
        let mut wire = relay.connect().await;
        wire.send(&request).await;
        assert_eq!(
            wire.answer().await.header("connection"),
            Some("close"),
            "{request}"
        );
        wire.rest().await;
        assert!(began.elapsed() < PROMPT);
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_the_listener_lives() {
    let relay = listening(server_settings()).await;
    let path = callback_path();
    for garbage in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: -1\r\n\r\n"),
        format!(
            "POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}"
        ),
        format!(
            "POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{{}}"
        ),
        format!("POST {path} HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        format!(
            "GET /{} HTTP/1.1\r\nHost: relay\r\n\r\n",
            "a".repeat(200_000)
        ),
    ] {
        let mut wire = relay.connect().await;
        if wire.try_send(&garbage).await.is_ok() {
            let answer = wire.rest().await;
            assert!(
                !answer.starts_with(b"HTTP/1.1 2"),
                "{}",
                &garbage[..40.min(garbage.len())]
            );
        }
    }
    let cut_off = post(&path, "", &signed_body("u1"));
    for cut in [1, 20, cut_off.len() - 1] {
        relay.connect().await.send(&cut_off[..cut]).await;
    }
    assert_eq!(relay.store.accepted(), []);
    assert_eq!(relay.ask(request("GET", "/healthz")).await.status, 200);
}
