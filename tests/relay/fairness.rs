//! After an outage fresh results do not wait behind a day's backlog of other users', nor the backlog for them.

use serde_json::json;

use crate::kit::{Relay, Setup, Sink, hours, secs};

const BACKLOG: usize = 80;

/// A day's results of many users are held; then the endpoint takes them again, and fresh ones come.
async fn after_a_day(lines: &str) -> (Relay, Sink) {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .vexora("rate_limit = \"off\"")
        .endpoint("ledger", &sink.url(), lines)
        .start()
        .await;
    let order = async |what: &str| {
        let path = format!("/endpoints/ledger/{what}");
        let (status, _) = relay.admin("POST", &path, &json!(null)).await;
        assert_eq!(status, 200);
    };
    order("pause").await;
    for number in 0..BACKLOG {
        relay.advance(secs(60));
        relay.result(&format!("old{number}"), "2").await;
    }
    relay.advance(hours(24));
    for number in 0..5 {
        relay.result(&format!("fresh{number}"), "2").await;
    }
    order("resume").await;
    (relay, sink)
}

/// How many of the results that were told so far are fresh, and how many not.
fn told(sink: &Sink, first: usize) -> (usize, usize) {
    let requests = sink.requests();
    let first = requests.iter().take(first);
    let (fresh, old): (Vec<String>, Vec<String>) = first
        .map(|request| request.user())
        .partition(|id| id.starts_with("fresh"));
    (fresh.len(), old.len())
}

#[tokio::test]
async fn fresh_results_do_not_wait_behind_a_days_backlog() {
    let (relay, sink) = after_a_day("concurrency = 8").await;
    relay.settle().await;
    assert_eq!(sink.count(), BACKLOG + 5);
    assert_eq!(told(&sink, 20).0, 5, "all that is fresh is among the first");
}

#[tokio::test]
async fn where_one_goes_at_a_time_both_ends_get_their_turns() {
    let (relay, sink) = after_a_day("rate_limit = \"1/s\"").await;
    relay.settle().await;
    while sink.count() < 30 {
        relay.advance(secs(1));
        relay.settle().await;
    }
    let (fresh, _) = told(&sink, 30);
    assert_eq!(fresh, 5, "all that is fresh");
    let requests = sink.requests();
    let oldest = |request: &crate::kit::Request| {
        let id = request.user();
        let number = id
            .strip_prefix("old")
            .and_then(|number| number.parse().ok());
        number.is_some_and(|number: usize| number < BACKLOG / 2)
    };
    let oldest = requests.iter().filter(|request| oldest(request)).count();
    assert!(oldest >= 5, "{oldest} of the oldest");
}
