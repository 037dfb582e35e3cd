//! Contract §7: `/metrics`. After a story whose every step is known, each number is what it must be.

use vexora_relay::sandbox::Faults;

use crate::kit::{
    APP_SECRET, MERCHANT, Reply, SECOND_APP_SECRET, SECOND_MERCHANT, Scrape, Service, Setup, Sink,
    TOKEN, WHSEC, hours, post, secs,
};

fn two_merchants() -> String {
    format!(
        "[[merchant]]\nmerchant_no = \"{MERCHANT}\"\napp_secret = \"{APP_SECRET}\"\ncallback_token = \"{TOKEN}\"\n\
         [[merchant]]\nmerchant_no = \"{SECOND_MERCHANT}\"\napp_secret = \"{SECOND_APP_SECRET}\"\n"
    )
}

#[tokio::test]
async fn every_callback_is_counted_once_by_what_became_of_it() {
    let relay = Setup::new().merchants(&two_merchants()).start().await;
    let before = relay.metrics().await;
    assert!(before.value("callbacks_total{outcome=\"accepted\"}") == 0.0);
    relay.post_callback("taro", "2").await;
    relay.post_callback("taro", "2").await;
    let (to, path) = (relay.address(), format!("/callback/{MERCHANT}/{TOKEN}"));
    post(to, &path, b"nobody in particular").await;
    post(to, &path, b"{\"userId\":\"unsigned\"}").await;
    post(to, &path, b"{\"userId\":\"forged\",\"sign\":\"00\"}").await;
    post(
        to,
        &format!("/callback/{SECOND_MERCHANT}"),
        b"{\"userId\":\"x\"}",
    )
    .await;
    post(to, &path, b"").await;
    post(to, &path, &[b'x'; 70_000]).await;
    for guess in 0..3 {
        post(to, &format!("{path}-{guess}"), b"{}").await;
    }
    let now = relay.metrics().await;
    let counted = |outcome: &str| now.value(&format!("callbacks_total{{outcome=\"{outcome}\"}}"));
    assert!(counted("accepted") == 5.0, "{}", now.text);
    assert!(counted("unrecognized") == 1.0);
    assert!(now.value("callbacks_kept_unrecognized") == 1.0);
    assert!(counted("empty_body") == 1.0);
    assert!(counted("body_too_large") == 1.0);
    assert!(counted("not_found") == 3.0);
    assert!(counted("not_durable") == 0.0);
    assert!(now.value("callback_accept_seconds_count") == 6.0);
    let signs = |merchant, sign| {
        now.value(&format!(
            "callback_signs_total{{merchant=\"{merchant}\",sign=\"{sign}\"}}"
        ))
    };
    assert!(signs(MERCHANT, "valid") == 2.0);
    assert!(signs(MERCHANT, "invalid") == 1.0);
    assert!(signs(MERCHANT, "missing") == 2.0);
    assert!(signs(SECOND_MERCHANT, "missing") == 1.0);
    let commits = now.value("store_commits_total");
    assert!(commits >= 6.0);
    assert!(now.value("store_commit_use_cases_count") == commits);
    assert!(now.value("store_commit_use_cases_sum") >= 6.0);
    assert!(
        now.value("store_fsync_seconds_count") == commits,
        "{}",
        now.text
    );
    assert!(now.value("store_commit_size_bytes_count") == commits);
    assert!(
        now.value("store_unsynced_groups_total") == 0.0,
        "nobody has claimed anything"
    );
    assert!(now.value("store_commit_size_bytes_sum") > 100.0 * commits);
    assert!(now.value("store_commit_failures_total") == 0.0);
}

#[tokio::test]
async fn a_callback_refused_for_its_sign_is_counted_as_that() {
    let relay = Setup::new()
        .verify("on_bad_sign = \"refuse\"")
        .start()
        .await;
    let path = format!("/callback/{MERCHANT}/{TOKEN}");
    let (status, _) = post(relay.address(), &path, b"{\"userId\":\"unsigned\"}").await;
    assert_eq!(status, 403);
    let now = relay.metrics().await;
    assert!(now.value("callbacks_total{outcome=\"bad_sign\"}") == 1.0);
    assert!(now.value("callback_accept_seconds_count") == 0.0);
    let missing = format!("callback_signs_total{{merchant=\"{MERCHANT}\",sign=\"missing\"}}");
    assert!(now.value(&missing) == 1.0);
}

#[tokio::test]
async fn queries_attempts_and_their_delays_are_counted_and_the_history_holds_the_same() {
    let (good, bad) = (Sink::start().await, Sink::start().await);
    bad.answers(Reply::status(500));
    let relay = Setup::new()
        .endpoint("good", &good.url(), "")
        .endpoint("bad", &bad.url(), "retry = [\"5s\"]")
        .start()
        .await;
    relay.says("taro", "0", None);
    relay.post_callback("taro", "2").await;
    relay.settle().await;
    relay.advance(secs(1));
    relay.says("taro", "2", None);
    relay.settle().await;
    relay.advance(secs(5));
    relay.settle().await;
    let now = relay.metrics().await;
    let queries = |outcome| {
        now.value(&format!(
            "verification_queries_total{{merchant=\"{MERCHANT}\",outcome=\"{outcome}\"}}"
        ))
    };
    assert!(queries("pending") == 1.0);
    assert!(queries("approved") == 1.0);
    assert!(queries("timeout") == 0.0);
    let of =
        |name: &str, label: &str, value: &str| now.value(&format!("{name}{{{label}=\"{value}\"}}"));
    assert!(of("verification_query_seconds_count", "merchant", MERCHANT) == 2.0);
    assert!(of("verification_lag_seconds_count", "merchant", MERCHANT) == 1.0);
    let lag = of("verification_lag_seconds_sum", "merchant", MERCHANT);
    assert!(
        (1.0..1.5).contains(&lag),
        "from the callback, not the query: {lag}"
    );
    let attempts = |endpoint, outcome| {
        now.value(&format!(
            "delivery_attempts_total{{endpoint=\"{endpoint}\",outcome=\"{outcome}\"}}"
        ))
    };
    assert!(attempts("good", "delivered") == 1.0);
    assert!(attempts("good", "status") == 0.0);
    assert!(attempts("bad", "status") == 2.0);
    assert!(attempts("bad", "delivered") == 0.0);
    let ended = |endpoint, outcome| {
        now.value(&format!(
            "deliveries_total{{endpoint=\"{endpoint}\",outcome=\"{outcome}\"}}"
        ))
    };
    assert!(ended("good", "delivered") == 1.0);
    assert!(ended("bad", "abandoned") == 1.0);
    assert!(of("deliveries_abandoned", "endpoint", "bad") == 1.0);
    assert!(of("deliveries_abandoned", "endpoint", "good") == 0.0);
    assert!(of("delivery_attempt_seconds_count", "endpoint", "bad") == 2.0);
    assert!(of("delivery_latency_seconds_count", "endpoint", "good") == 1.0);
    assert!(of("delivery_latency_seconds_sum", "endpoint", "good") < 1.0);
    assert!(of("delivery_latency_seconds_count", "endpoint", "bad") == 0.0);

    // Claiming a verification or a delivery is a group of its own, which waits for no disk.
    assert!(now.value("store_unsynced_groups_total") >= 4.0);
    let commits = now.value("store_commits_total");
    assert!(now.value("store_fsync_seconds_count") == commits);
    assert!(now.value("store_commit_use_cases_count") == commits);

    let minutes = relay.end_minute().await;
    let [minute] = minutes[..] else {
        panic!("one minute: {minutes:?}")
    };
    assert_eq!((minute.accepted, minute.refused), (1, 0));
    assert_eq!((minute.verified, minute.failed_queries), (2, 0));
    assert_eq!((minute.delivered, minute.failed_attempts), (1, 2));
    assert_eq!(minute.to, relay.now());
    let backlog = minute.backlog.expect("the store could be read");
    assert_eq!((backlog.verifications, backlog.deliveries), (0, 0));
    assert!(minute.accept.is_some() && minute.delivery.is_some());
}

#[tokio::test]
async fn a_lag_counts_from_the_first_callback_after_the_result_before() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.result("taro", "3").await;
    relay.advance(hours(100));
    relay.says("taro", "1", None);
    relay.post_callback("taro", "1").await;
    relay.settle().await;
    relay.advance(secs(30));
    relay.result("taro", "2").await;
    let now = relay.metrics().await;
    let of = |part| {
        now.value(&format!(
            "verification_lag_seconds_{part}{{merchant=\"{MERCHANT}\"}}"
        ))
    };
    assert!(of("count") == 2.0);
    let lag = of("sum");
    assert!((30.0..32.0).contains(&lag), "{lag}");
}

#[tokio::test]
async fn a_provider_that_is_down_is_seen_and_so_is_its_return() {
    let relay = Setup::new().start().await;
    let is_down = async || {
        let now = relay.metrics().await;
        now.value(&format!("provider_down{{merchant=\"{MERCHANT}\"}}"))
    };
    assert!(is_down().await == 0.0);
    relay.sandbox.set_faults(Faults {
        query_500: true,
        ..Faults::default()
    });
    for number in 0..5 {
        let name = format!("u{number}");
        relay.says(&name, "2", None);
        relay.post_callback(&name, "2").await;
    }
    relay.settle().await;
    assert!(is_down().await == 1.0);
    let now = relay.metrics().await;
    assert!(
        now.value(&format!(
            "provider_failures_total{{merchant=\"{MERCHANT}\"}}"
        )) == 5.0
    );
    relay.sandbox.set_faults(Faults::default());
    relay.advance(secs(60));
    relay.settle().await;
    assert!(is_down().await == 0.0);
}

#[tokio::test]
async fn nothing_secret_and_nobody_is_in_it() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint(
            "ledger",
            &format!("{}?key=key-in-the-address", sink.url()),
            "",
        )
        .start()
        .await;
    relay.result("a-person", "2").await;
    post(relay.address(), "/callback/guessed-path", b"{}").await;
    let text = relay.metrics().await.text;
    for hidden in [
        "a-person",
        "key-in-the-address",
        "127.0.0.1",
        "guessed-path",
        TOKEN,
        APP_SECRET,
        WHSEC,
    ] {
        assert!(!text.contains(hidden), "{hidden:?} is in\n{text}");
    }
    assert!(text.contains("endpoint=\"ledger\""));
}

#[tokio::test]
async fn what_waits_is_held_or_late_is_read_when_somebody_asks() {
    let (good, bad) = (Sink::start().await, Sink::start().await);
    bad.answers(Reply::status(500));
    let relay = Setup::new()
        .endpoint("good", &good.url(), "")
        .endpoint("bad", &bad.url(), "retry = [\"1h\"]")
        .start()
        .await;
    let now = relay.metrics().await;
    let of = |now: &Scrape, name: &str, endpoint: &str| {
        now.value(&format!("{name}{{endpoint=\"{endpoint}\"}}"))
    };
    assert!(of(&now, "endpoint_up", "bad") == 1.0);
    assert!(now.value("ready") == 1.0);
    assert!(now.value("store_readable") == 1.0);
    assert!(now.value("verifications_pending") == 0.0);
    relay.says("waits", "1", None);
    relay.post_callback("waits", "1").await;
    for number in 0..5 {
        relay.result(&format!("u{number}"), "2").await;
    }
    let now = relay.metrics().await;
    assert!(now.value("verifications_pending") == 1.0);
    assert!(of(&now, "endpoint_up", "bad") == 0.0, "{}", now.text);
    assert!(of(&now, "deliveries_held", "bad") == 5.0);
    assert!(of(&now, "deliveries_waiting", "bad") == 0.0);
    assert!(of(&now, "deliveries_held", "good") == 0.0);
    let lane = format!("verification_overdue_seconds{{merchant=\"{MERCHANT}\",lane=\"main\"}}");
    assert!(now.value(&lane) == 0.0);
    relay.advance(hours(1));
    let late = relay.metrics().await.value(&lane);
    assert!((3500.0..3601.0).contains(&late), "{late}");
    assert!(now.value("verifications_stuck") == 0.0);
    relay.advance(hours(72));
    relay.settle().await;
    assert!(relay.metrics().await.value("verifications_stuck") == 1.0);
    let (status, _) = relay
        .admin("POST", "/endpoints/good/pause", &serde_json::json!({}))
        .await;
    assert_eq!(status, 200);
    let now = relay.metrics().await;
    assert!(of(&now, "endpoint_paused", "good") == 1.0);
    assert!(now.value("store_size_bytes{part=\"journal\"}") > 0.0);
    assert!(now.value("disk_free_bytes") > 0.0);
    assert!(now.value("connections") == 0.0);
    assert!(now.text.contains("\nprocess_resident_memory_bytes "));
    assert!(now.text.contains("\nprocess_start_time_seconds "));
    assert!(
        now.value(&format!(
            "build_info{{version=\"{}\"}}",
            env!("CARGO_PKG_VERSION")
        )) == 1.0
    );
    assert!(!now.has("tls_certificate_expiry_timestamp_seconds"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_program_shows_whether_it_took_over_its_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new().log("format = \"json\"");
    let (_sandbox, file) = setup.write(directory.path()).await;
    let mut service = Service::start(&file);
    let before = Scrape::of(service.admin).await;
    let at = "config_last_reload_success_timestamp_seconds";
    assert!(before.value("config_last_reload_successful") == 1.0);
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}\n[nonsense]\n")).unwrap();
    service.reload();
    service.wait_for("everything goes on as it was");
    let now = Scrape::of(service.admin).await;
    assert!(now.value("config_last_reload_successful") == 0.0);
    assert!(now.value("config_reloads_total{outcome=\"failure\"}") == 1.0);
    assert!(now.value(at) == before.value(at));
    std::fs::write(&file, good).unwrap();
    service.reload();
    service.wait_for("reloaded: 1 merchant");
    let now = Scrape::of(service.admin).await;
    assert!(now.value("config_last_reload_successful") == 1.0);
    assert!(now.value("config_reloads_total{outcome=\"success\"}") == 1.0);
    assert!(now.value(at) > before.value(at));
    service.stop();
}

#[tokio::test]
async fn a_callback_that_cannot_be_made_durable_is_counted_as_that_and_readiness_shows_why() {
    let relay = Setup::new().store("min_free = \"1000PiB\"").start().await;
    let path = format!("/callback/{MERCHANT}/{TOKEN}");
    let (status, _) = post(relay.address(), &path, b"{\"userId\":\"u\"}").await;
    assert_eq!(status, 503);
    let now = relay.metrics().await;
    assert!(now.value("callbacks_total{outcome=\"not_durable\"}") == 1.0);
    assert!(now.value("callbacks_total{outcome=\"accepted\"}") == 0.0);
    assert!(now.value("ready") == 0.0);
    assert!(now.value("unready{reason=\"disk_low\"}") == 1.0);
    assert!(now.value("unready{reason=\"worker_stuck\"}") == 0.0);
    let minutes = relay.end_minute().await;
    assert_eq!((minutes[0].accepted, minutes[0].refused), (0, 1));
}

#[tokio::test]
async fn an_open_connection_is_counted_for_as_long_as_it_lasts() {
    let relay = Setup::new().start().await;
    let open = async || relay.metrics().await.value("connections");
    let one = tokio::net::TcpStream::connect(relay.address())
        .await
        .unwrap();
    let other = tokio::net::TcpStream::connect(relay.address())
        .await
        .unwrap();
    relay.is("two", async || open().await == 2.0).await;
    drop((one, other));
    relay.is("none", async || open().await == 0.0).await;
}

#[tokio::test]
async fn minutes_end_by_the_clock() {
    let relay = Setup::new().with_workers_running().start().await;
    relay.post_callback("taro", "2").await;
    relay.advance(secs(60));
    relay
        .is("one minute", async || relay.minutes().len() == 1)
        .await;
    let minute = relay.minutes()[0];
    assert_eq!(minute.accepted, 1);
    assert!(minute.backlog.is_some());
    relay.advance(secs(60));
    relay
        .is("another", async || relay.minutes().len() == 2)
        .await;
    assert_eq!(relay.minutes()[1].accepted, 0);
}

#[tokio::test]
async fn an_endpoint_that_vanished_with_deliveries_is_shown_and_one_without_is_not() {
    let sink = Sink::start().await;
    sink.answers(Reply::status(500));
    let both = || Setup::new().endpoint("busy", &sink.url(), "retry = [\"1h\"]");
    let mut relay = both()
        .endpoint("idle", &sink.url(), "events = [\"relay.test\"]")
        .start()
        .await;
    relay.result("taro", "2").await;
    assert!(relay.metrics().await.has("endpoint_up{endpoint=\"idle\"}"));
    relay.reload(Setup::new());
    let now = relay.metrics().await;
    assert!(now.value("endpoint_orphaned{endpoint=\"busy\"}") == 1.0);
    assert!(now.value("deliveries_waiting{endpoint=\"busy\"}") == 1.0);
    assert!(!now.has("endpoint_up{endpoint=\"idle\"}"));
    relay.reload(both());
    let now = relay.metrics().await;
    assert!(now.value("endpoint_orphaned{endpoint=\"busy\"}") == 0.0);
}
