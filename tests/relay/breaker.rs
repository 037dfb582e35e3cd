//! Contract §5: a provider that fails as a whole is left alone but for one probe at a time; nothing is lost by it.

use std::time::Duration;

use vexora_relay::sandbox::Faults;

use crate::kit::{Relay, Setup, Sink, secs};

fn down() -> Faults {
    Faults {
        query_500: true,
        ..Faults::default()
    }
}

fn name(number: usize) -> String {
    format!("u{number}")
}

fn asked(relay: &Relay, users: usize) -> u64 {
    (0..users).map(|number| relay.queries(&name(number))).sum()
}

#[tokio::test]
async fn five_failures_open_it_and_probes_go_one_at_a_time_until_it_is_back() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.sandbox.set_faults(down());
    for number in 0..5 {
        relay.says(&name(number), "2", None);
        relay.post_callback(&name(number), "2").await;
    }
    relay.settle().await;
    assert_eq!(asked(&relay, 8), 5);
    for number in 5..8 {
        relay.says(&name(number), "2", None);
        relay.post_callback(&name(number), "2").await;
    }
    assert_eq!(relay.settle().await, 0, "asked while it is open");
    let mut probes = 5;
    for wait in [2, 4, 8, 16, 32, 60, 60] {
        relay.advance(secs(wait) - Duration::from_millis(1));
        assert_eq!(relay.settle().await, 0, "a probe before {wait} s");
        relay.advance(Duration::from_millis(1));
        relay.settle().await;
        probes += 1;
        assert_eq!(asked(&relay, 8), probes, "after {wait} s");
    }
    relay.sandbox.set_faults(Faults::default());
    relay.advance(secs(60));
    relay.settle().await;
    let mut heard: Vec<String> = sink
        .requests()
        .iter()
        .map(crate::kit::Request::user)
        .collect();
    heard.sort();
    assert_eq!(
        heard,
        (0..8).map(name).collect::<Vec<_>>(),
        "all that waited goes out at once"
    );
    assert_eq!(asked(&relay, 8), probes + 8);
}

#[tokio::test]
async fn a_refusal_about_one_user_is_no_failure_of_the_provider() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    for number in 0..8 {
        // Never applied: the sandbox declines each of them.
        relay.post_callback(&name(number), "2").await;
    }
    relay.settle().await;
    relay.result("known", "2").await;
    assert_eq!(sink.count(), 1);
}

#[tokio::test]
async fn a_success_in_between_starts_the_count_anew() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    for _ in 0..3 {
        relay.sandbox.set_faults(down());
        for number in 0..4 {
            relay.says(&name(number), "2", None);
            relay.post_callback(&name(number), "2").await;
        }
        relay.settle().await;
        relay.sandbox.set_faults(Faults::default());
        relay.advance(secs(13 * 3600));
        relay.settle().await;
    }
    assert_eq!(sink.count(), 12);
}
