//! What is settled goes after `store.retention`; what is not stays; and a later result is told from the old all the same.

use serde_json::{Value, json};

use crate::kit::{MERCHANT, Relay, Reply, Setup, Sink, TOKEN, post, secs};

const DAY: u64 = 24 * 3600;

fn days(days: u64) -> std::time::Duration {
    secs(days * DAY)
}

fn setup(ledger: &Sink, slow: &Sink, retention: &str) -> Setup {
    Setup::new()
        .store(&format!("retention = \"{retention}\""))
        .vexora("rate_limit = \"off\"")
        .verify("duplicate_window = \"20d\"\nreconcile = \"off\"")
        .endpoint("ledger", &ledger.url(), "")
        .endpoint(
            "slow",
            &slow.url(),
            "events = [\"kyc.rejected\"]\nretry = [\"5s\"]",
        )
}

async fn pause(relay: &Relay, what: &str) {
    let path = format!("/endpoints/slow/{what}");
    relay.admin("POST", &path, &json!({})).await;
}

async fn would_go(relay: &Relay) -> Value {
    let (status, said) = relay.admin("GET", "/retention", &json!({})).await;
    assert_eq!(status, 200);
    said["wouldGo"].clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// How much is left of a user's story: callbacks, queries, events.
async fn left(relay: &Relay, id: &str) -> (usize, usize, usize) {
    let story = relay.story(id).await;
    (
        story.callbacks.len(),
        story.queries.len(),
        story.events.len(),
    )
}

#[tokio::test]
async fn what_is_settled_goes_and_what_is_not_stays_and_a_user_is_still_known() {
    let (ledger, slow) = (Sink::start().await, Sink::start().await);
    let mut relay = setup(&ledger, &slow, "10d").start().await;
    pause(&relay, "pause").await;
    relay.result("told", "2").await;
    relay.result("held", "3").await;
    // Vexora says nothing final of this one.
    relay.result("asked", "1").await;
    post(
        relay.address(),
        &format!("/callback/{MERCHANT}/{TOKEN}"),
        b"{}",
    )
    .await;
    assert_eq!((ledger.count(), slow.count()), (2, 0));
    let whole = left(&relay, "held").await;

    relay.advance(days(10) - secs(60));
    relay.settle().await;
    assert_eq!(
        left(&relay, "told").await,
        (1, 1, 1),
        "not a minute too early"
    );
    relay.advance(secs(2 * 3600));
    let dry = would_go(&relay).await;
    assert_eq!(
        (&dry["events"], &dry["deliveries"], &dry["attempts"]),
        (&json!(1), &json!(1), &json!(1))
    );
    // The told one's, and the one that is nobody's.
    assert_eq!((&dry["callbacks"], &dry["queries"]), (&json!(2), &json!(1)));
    assert_eq!(left(&relay, "told").await, (1, 1, 1), "a dry run is dry");
    let now = relay.metrics().await;
    let first = now.value("retention_last_pass_timestamp_seconds");
    assert!(now.value("retention_removed_total{record=\"events\"}") == 0.0);
    relay.settle().await;
    let now = relay.metrics().await;
    for record in ["events", "deliveries", "attempts", "callbacks", "queries"] {
        let gone = now.value(&format!("retention_removed_total{{record=\"{record}\"}}"));
        assert!(gone == dry[record].as_f64().unwrap(), "{record}: {gone}");
    }
    assert!(now.value("retention_last_pass_timestamp_seconds") - first >= 7200.0);
    assert!(now.value("retention_failures_total") == 0.0);
    assert_eq!(left(&relay, "told").await, (0, 0, 0));
    assert_eq!(left(&relay, "held").await, whole);
    assert_eq!(left(&relay, "asked").await.0, 1, "it is still asked about");
    let unrecognized = relay.store().unrecognized(9).await.unwrap();
    assert_eq!(unrecognized, []);
    assert_eq!(would_go(&relay).await["events"], 0);
    relay.verify_store().await;

    // Within duplicate_window the same is no news; another verdict is, and numbered on.
    relay.result("told", "2").await;
    assert_eq!(ledger.count(), 2);
    relay.result("told", "3").await;
    assert_eq!(
        relay.told("told").await,
        [(2, "3".to_owned())],
        "the numbers go on"
    );

    pause(&relay, "resume").await;
    relay.settle().await;
    assert_eq!(slow.count(), 2, "what was held was kept");
    // Settled today: kept from today on.
    relay.advance(days(9));
    relay.settle().await;
    assert_eq!(left(&relay, "held").await, whole);
    relay.advance(days(2));
    relay.settle().await;
    assert_eq!(left(&relay, "held").await, (0, 0, 0));
    relay.verify_store().await;
}

#[tokio::test]
async fn what_was_given_up_can_be_retried_for_as_long_as_it_is_kept() {
    let (ledger, slow) = (Sink::start().await, Sink::start().await);
    slow.answers(Reply::status(500));
    let mut relay = setup(&ledger, &slow, "10d").start().await;
    relay.result("u1", "3").await;
    relay.try_next("u1", "slow").await;
    let event = relay.events("u1").await[0].id;
    let path = format!("/deliveries/{event}/slow/retry");
    relay.advance(days(9));
    relay.settle().await;
    assert_eq!(relay.admin("POST", &path, &json!({})).await.0, 200);
    relay.settle().await;
    relay.try_next("u1", "slow").await;
    relay.advance(days(9));
    relay.settle().await;
    assert_eq!(left(&relay, "u1").await.2, 1, "given up nine days ago");
    relay.advance(days(2));
    relay.settle().await;
    assert_eq!(left(&relay, "u1").await, (0, 0, 0));
    assert_eq!(relay.admin("POST", &path, &json!({})).await.0, 404);
    relay.verify_store().await;
}

#[tokio::test]
async fn it_goes_in_small_steps_and_a_restart_between_two_loses_nothing() {
    let (ledger, slow) = (Sink::start().await, Sink::start().await);
    let mut relay = setup(&ledger, &slow, "10d").start().await;
    for user in 0..90 {
        let id = format!("u{user}");
        relay.says(&id, "2", None);
        relay.post_callback(&id, "2").await;
    }
    relay.settle().await;
    relay.advance(secs(1));
    pause(&relay, "pause").await;
    relay.result("held", "3").await;
    relay.advance(days(11));
    let first = relay.let_go().await.unwrap();
    assert!(first > 0 && first <= 64 * 3, "a small step: {first}");
    let rest = would_go(&relay).await;
    assert_eq!(number(&rest["events"]), 90 - 64);
    assert_eq!(number(&rest["callbacks"]), 90);
    relay.verify_store().await;
    relay.advance(secs(60));
    relay.settle().await;
    assert_eq!(would_go(&relay).await["callbacks"], 0);
    assert_eq!(left(&relay, "u89").await, (0, 0, 0));
    assert_eq!(left(&relay, "held").await, (1, 1, 1));
    let (_, said) = relay.admin("GET", "/retention", &json!({})).await;
    assert_eq!(
        said["lastPass"]["gone"]["events"],
        90 - 64,
        "since the start"
    );
    assert_eq!(relay.let_go().await, None, "not before the next pass");
    relay.verify_store().await;
}

#[tokio::test]
async fn jobs_that_have_ended_go_but_their_numbers_go_on() {
    let (ledger, slow) = (Sink::start().await, Sink::start().await);
    let relay = setup(&ledger, &slow, "10d").start().await;
    for _ in 0..2 {
        let body = json!({"since": "2020-01-01T00:00:00Z"});
        relay.admin("POST", "/endpoints/ledger/replay", &body).await;
        relay.settle().await;
        relay.advance(days(11));
        relay.settle().await;
    }
    let (_, said) = relay.admin("GET", "/jobs", &json!({})).await;
    let jobs = said["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0]["id"], 2);
}

#[tokio::test]
async fn another_retention_counts_from_the_reload_on() {
    let (ledger, slow) = (Sink::start().await, Sink::start().await);
    let mut relay = setup(&ledger, &slow, "90d").start().await;
    relay.result("u1", "2").await;
    relay.advance(days(11));
    relay.settle().await;
    assert_eq!(left(&relay, "u1").await, (1, 1, 1));
    relay.reload(setup(&ledger, &slow, "10d"));
    relay.advance(secs(60));
    relay.settle().await;
    assert_eq!(left(&relay, "u1").await, (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_by_itself_with_a_pause_after_each_step_and_stops_when_told() {
    let (ledger, slow) = (Sink::start().await, Sink::start().await);
    let setup = setup(&ledger, &slow, "10d").with_workers_running();
    let mut relay = setup.start().await;
    for user in ["u1", "u2"] {
        relay.says(user, "2", None);
        relay.post_callback(user, "2").await;
    }
    ledger.has_received(2).await;
    let delivered = async |id| {
        let story = relay.story(id).await;
        story.verification.is_none()
            && story.events.len() == 1
            && relay.pending("ledger").await == 0
    };
    relay
        .is("told", async || {
            delivered("u1").await && delivered("u2").await
        })
        .await;
    relay.advance(days(11));
    relay
        .is("gone", async || {
            relay.advance(std::time::Duration::from_millis(60));
            left(&relay, "u1").await == (0, 0, 0) && left(&relay, "u2").await == (0, 0, 0)
        })
        .await;
    relay.verify_store().await;
}
