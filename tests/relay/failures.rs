//! Contract §6: every way in which an attempt can fail has its own stable class.

use std::time::Duration;

use crate::kit::{Relay, Reply, Setup, Sink};

/// A certificate for this name, self-signed, good until this year; its PEM, and a server that shows it.
pub fn certificate(name: &str, until: i32) -> (String, rustls::ServerConfig) {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (certificate.pem(), server)
}

/// What people read of the first attempt.
pub async fn detail(relay: &Relay, endpoint: &str) -> String {
    let (_, attempts) = relay.delivery("u1", endpoint).await;
    attempts[0].outcome.detail.clone().unwrap_or_default()
}

#[tokio::test]
async fn no_connection_is_connect_and_no_name_is_dns() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = nobody.local_addr().unwrap();
    drop(nobody);
    let relay = Setup::new()
        .endpoint("closed", &format!("http://{closed}/hooks"), "")
        .endpoint(
            "nameless",
            "http://nonexistent.invalid/hooks",
            "allow_http = true",
        )
        .start()
        .await;
    relay.result("u1", "2").await;
    assert_eq!(relay.outcomes("u1", "closed").await, ["connect"]);
    assert_eq!(relay.outcomes("u1", "nameless").await, ["dns"]);
}

#[tokio::test]
async fn without_allow_private_nothing_is_sent_to_a_neighbour_however_it_is_written() {
    let sink = Sink::start().await;
    let port = sink.address.port();
    let hosts = [
        "127.0.0.1",
        "2130706433",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "169.254.169.254",
    ];
    let mut setup = Setup::new().endpoint("allowed", &sink.url(), "");
    for (number, host) in hosts.iter().enumerate() {
        let url = format!("http://{host}:{port}/hooks");
        let lines = "allow_private = false\nallow_http = true";
        setup = setup.endpoint(&format!("e{number}"), &url, lines);
    }
    let relay = setup.start().await;
    relay.result("u1", "2").await;
    for (number, host) in hosts.iter().enumerate() {
        let name = format!("e{number}");
        assert_eq!(relay.outcomes("u1", &name).await, ["connect"], "{host}");
        let why = detail(&relay, &name).await;
        assert!(why.contains("allow_private is false"), "{host}: {why}");
    }
    sink.only();
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_tls_and_nothing_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let ca = |name: &str, pem: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).unwrap();
        format!("ca = \"{}\"", path.display())
    };
    let (good_pem, good) = certificate("127.0.0.1", 2200);
    let (_, stranger) = certificate("127.0.0.1", 2200);
    let (expired_pem, expired) = certificate("127.0.0.1", 2001);
    let (other_pem, other) = certificate("other.example", 2200);
    let good = Sink::with_tls(good).await;
    let stranger = Sink::with_tls(stranger).await;
    let expired = Sink::with_tls(expired).await;
    let other = Sink::with_tls(other).await;
    let plain = Sink::start().await;
    let plain_as_tls = plain.url().replace("http://", "https://");
    let relay = Setup::new()
        .endpoint("good", &good.url(), &ca("good.pem", &good_pem))
        .endpoint("stranger", &stranger.url(), "")
        .endpoint("expired", &expired.url(), &ca("expired.pem", &expired_pem))
        .endpoint("other", &other.url(), &ca("other.pem", &other_pem))
        .endpoint("plain", &plain_as_tls, "timeout = \"2s\"")
        .start()
        .await;
    relay.result("u1", "2").await;
    assert_eq!(relay.outcomes("u1", "good").await, ["ok"]);
    good.only();
    for (name, sink, why) in [
        ("stranger", &stranger, "not trusted"),
        ("expired", &expired, "expired"),
        ("other", &other, "another name"),
    ] {
        assert_eq!(relay.outcomes("u1", name).await, ["tls"], "{name}");
        let detail = detail(&relay, name).await;
        assert!(detail.contains(why), "{name}: {detail}");
        assert_eq!(sink.count(), 0, "{name} was sent something");
    }
    let class = relay.outcomes("u1", "plain").await;
    assert_ne!(class, ["ok"]);
}

#[tokio::test]
async fn no_answer_is_timeout_and_half_of_one_is_reset() {
    let (silent, half_head, cut, gone) = (
        Sink::start().await,
        Sink::start().await,
        Sink::start().await,
        Sink::start().await,
    );
    silent.answers(Reply::Stalls(vec![]));
    half_head.answers(Reply::Stalls(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()));
    cut.answers(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()));
    gone.answers(Reply::Raw(vec![]));
    let relay = Setup::new()
        .endpoint("silent", &silent.url(), "timeout = \"300ms\"")
        .endpoint("half-head", &half_head.url(), "timeout = \"300ms\"")
        .endpoint("cut", &cut.url(), "")
        .endpoint("gone", &gone.url(), "")
        .start()
        .await;
    relay.result("u1", "2").await;
    assert_eq!(relay.outcomes("u1", "silent").await, ["timeout"]);
    assert_eq!(relay.outcomes("u1", "half-head").await, ["timeout"]);
    assert_eq!(relay.outcomes("u1", "cut").await, ["reset"]);
    assert_eq!(relay.outcomes("u1", "gone").await, ["reset"]);
    let (_, attempts) = relay.delivery("u1", "silent").await;
    assert!(
        attempts[0].took >= Duration::from_millis(300),
        "{:?}",
        attempts[0].took
    );
}

#[tokio::test]
async fn anything_but_2xx_is_status_and_a_redirect_is_not_followed() {
    let elsewhere = Sink::start().await;
    let mut setup = Setup::new();
    for status in [200, 201, 204, 301, 302, 307, 308, 400, 404, 410, 500] {
        let sink = Sink::start().await;
        sink.answers(Reply::with_header(status, "location", &elsewhere.url()));
        setup = setup.endpoint(&format!("s{status}"), &sink.url(), "");
    }
    let relay = setup.start().await;
    relay.result("u1", "2").await;
    for status in [200, 201, 204] {
        assert_eq!(relay.outcomes("u1", &format!("s{status}")).await, ["ok"]);
    }
    for status in [301, 302, 307, 308, 400, 404, 410, 500] {
        let name = format!("s{status}");
        assert_eq!(relay.outcomes("u1", &name).await, ["status"], "{status}");
        let (_, attempts) = relay.delivery("u1", &name).await;
        assert_eq!(attempts[0].outcome.status, Some(status));
    }
    assert_eq!(elsewhere.count(), 0, "a redirect was followed");
}

#[tokio::test]
async fn a_2xx_without_the_expected_body_is_body_mismatch() {
    let (ok, other, longer, cut, stalled) = (
        Sink::start().await,
        Sink::start().await,
        Sink::start().await,
        Sink::start().await,
        Sink::start().await,
    );
    ok.answers(Reply::body("OK"));
    other.answers(Reply::body("ok"));
    longer.answers(Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\nOK".to_vec()));
    cut.answers(Reply::Raw(
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nOK".to_vec(),
    ));
    stalled.answers(Reply::Stalls(
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nOK".to_vec(),
    ));
    let lines = "expect_body = \"OK\"\ntimeout = \"500ms\"";
    let relay = Setup::new()
        .endpoint("ok", &ok.url(), "expect_body = \"OK\"")
        .endpoint("other", &other.url(), "expect_body = \"OK\"")
        .endpoint("longer", &longer.url(), "expect_body = \"OK\"")
        .endpoint("cut", &cut.url(), "expect_body = \"OK\"")
        .endpoint("stalled", &stalled.url(), lines)
        .start()
        .await;
    relay.result("u1", "2").await;
    assert_eq!(relay.outcomes("u1", "ok").await, ["ok"]);
    assert_eq!(relay.outcomes("u1", "other").await, ["body_mismatch"]);
    assert_eq!(relay.outcomes("u1", "longer").await, ["body_mismatch"]);
    assert_eq!(relay.outcomes("u1", "cut").await, ["reset"]);
    assert_eq!(relay.outcomes("u1", "stalled").await, ["timeout"]);
}

#[tokio::test]
async fn of_an_endless_answer_four_kibibytes_are_kept() {
    let (heard, refused) = (Sink::start().await, Sink::start().await);
    heard.answers(Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    refused.answers(Reply::Endless(b"HTTP/1.1 500 No\r\n\r\n".to_vec()));
    let relay = Setup::new()
        .endpoint("heard", &heard.url(), "")
        .endpoint("refused", &refused.url(), "")
        .start()
        .await;
    relay.result("u1", "2").await;
    assert_eq!(relay.outcomes("u1", "heard").await, ["ok"]);
    assert_eq!(relay.outcomes("u1", "refused").await, ["status"]);
    for name in ["heard", "refused"] {
        let (_, attempts) = relay.delivery("u1", name).await;
        assert_eq!(attempts[0].outcome.body, vec![b'x'; 4096], "{name}");
    }
}
