//! Many deliveries at once: counted before, in the background at a limited rate, cancelled, through restarts, and for
//! endpoints that are gone.

use serde_json::{Value, json};

use crate::kit::{Relay, Setup, Sink, secs};

fn setup(sink: &Sink) -> Setup {
    Setup::new()
        .vexora("rate_limit = \"off\"")
        .endpoint("ledger", &sink.url(), "concurrency = 64")
}

/// So many users' results wait for an endpoint that is paused.
async fn held(sink: &Sink, users: usize) -> Relay {
    let relay = setup(sink).start().await;
    post(&relay, "/endpoints/ledger/pause").await;
    for number in 0..users {
        relay.says(&format!("u{number}"), "2", None);
        relay.post_callback(&format!("u{number}"), "2").await;
    }
    relay.settle().await;
    assert_eq!(relay.pending("ledger").await, u64::try_from(users).unwrap());
    relay.advance(secs(1));
    relay
}

async fn post(relay: &Relay, path: &str) -> (u16, Value) {
    relay.admin("POST", path, &json!({})).await
}

async fn order(relay: &Relay, what: &str, body: Value) -> (u16, Value) {
    let path = format!("/endpoints/ledger/{what}");
    relay.admin("POST", &path, &body).await
}

async fn job(relay: &Relay, id: u64) -> Value {
    let (status, job) = relay.admin("GET", &format!("/jobs/{id}"), &json!({})).await;
    assert_eq!(status, 200);
    job
}

#[tokio::test]
async fn what_waits_is_given_up_and_tried_again_in_bulk_and_through_restarts() {
    let sink = Sink::start().await;
    let mut relay = held(&sink, 250).await;
    let dry = order(&relay, "discard", json!({"dry_run": true})).await;
    assert_eq!(dry, (200, json!({"total": 250, "job": null})));
    let none = order(&relay, "retry", json!({"dry_run": true})).await;
    assert_eq!(none.1["total"], 0, "nothing was given up yet");
    assert_eq!(relay.settle().await, 0, "a dry run does nothing");

    let (status, begun) = order(&relay, "discard", json!({})).await;
    assert_eq!((status, &begun["job"]["kind"]), (202, &json!("discard")));
    relay.settle().await;
    assert_eq!(relay.pending("ledger").await, 50, "so many a second");
    relay.restart().await;
    relay.advance(secs(1));
    relay.settle().await;
    assert_eq!(relay.pending("ledger").await, 0);
    let done = job(&relay, 1).await;
    assert_eq!(
        (&done["state"], &done["done"]),
        (&json!("done"), &json!(250))
    );

    post(&relay, "/endpoints/ledger/resume").await;
    relay.advance(secs(1));
    relay.settle().await;
    assert_eq!(sink.count(), 0, "given up");
    let (_, begun) = order(&relay, "retry", json!({"states": ["abandoned"]})).await;
    assert_eq!(begun["total"], 250);
    relay.settle().await;
    assert_eq!(sink.count(), 200);
    relay.restart().await;
    relay.advance(secs(1));
    relay.settle().await;
    assert_eq!(sink.count(), 250);
    assert_eq!(job(&relay, 2).await["state"], "done");
    let marked =
        |one: &crate::kit::Request| one.headers.iter().any(|(name, _)| name == "relay-replay");
    assert!(!sink.requests().iter().any(marked), "it is no replay");
    let (_, all) = relay.admin("GET", "/jobs", &json!({})).await;
    let kinds = |all: &Value| -> Vec<Value> {
        let jobs = all["jobs"].as_array().unwrap().iter();
        jobs.map(|job| job["kind"].clone()).collect()
    };
    assert_eq!(kinds(&all), ["retry", "discard"], "newest first");
}

#[tokio::test]
async fn a_job_is_about_what_stood_so_when_it_was_ordered_and_can_be_narrowed() {
    let sink = Sink::start().await;
    let relay = held(&sink, 2).await;
    let later = relay.now().to_string();
    relay.says("u9", "3", None);
    relay.post_callback("u9", "3").await;
    relay.settle().await;
    relay.advance(secs(1));
    for (body, total) in [
        (json!({}), 3),
        (json!({"since": later}), 1),
        (json!({"until": later}), 2),
        (json!({"types": ["kyc.rejected"]}), 1),
        (json!({"states": ["abandoned"]}), 0),
        (json!({"states": ["abandoned", "waiting"]}), 3),
    ] {
        let mut dry = body.clone();
        dry["dry_run"] = json!(true);
        let (status, counted) = order(&relay, "discard", dry).await;
        assert_eq!((status, &counted["total"]), (200, &json!(total)), "{body}");
    }
    for body in [
        json!({"states": ["delivered"]}),
        json!({"states": "waiting"}),
        json!({"since": "1h"}),
        json!({"types": ["kyc"]}),
        json!({"nonsense": 1}),
    ] {
        assert_eq!(
            order(&relay, "discard", body.clone()).await.0,
            400,
            "{body}"
        );
    }
    let (status, problem) = post(&relay, "/endpoints/nobody/discard").await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("no_such_endpoint"))
    );

    // Ordered before the third came to be given up: not about it.
    let (_, begun) = order(&relay, "discard", json!({"until": later})).await;
    assert_eq!(begun["total"], 2);
    relay.settle().await;
    assert_eq!(relay.pending("ledger").await, 1);
    // What was discarded needs nobody any more: discarding it again is about nothing.
    let again = json!({"states": ["abandoned"], "dry_run": true});
    assert_eq!(order(&relay, "discard", again).await.1["total"], 0);
}

#[tokio::test]
async fn a_job_can_be_cancelled_and_what_was_done_stays_done() {
    let sink = Sink::start().await;
    let relay = held(&sink, 205).await;
    order(&relay, "discard", json!({})).await;
    relay.settle().await;
    let (_, cancelled) = post(&relay, "/jobs/1/cancel").await;
    assert_eq!(
        (&cancelled["state"], &cancelled["done"]),
        (&json!("cancelled"), &json!(200))
    );
    relay.advance(secs(60));
    relay.settle().await;
    assert_eq!(relay.pending("ledger").await, 5);
    assert_eq!(post(&relay, "/jobs/99/cancel").await.0, 404);
}

#[tokio::test]
async fn what_an_endpoint_left_behind_that_is_gone_can_be_given_up() {
    let (sink, other) = (Sink::start().await, Sink::start().await);
    let mut relay = held(&sink, 2).await;
    relay.reload(Setup::new().endpoint("audit", &other.url(), ""));
    let (_, status) = relay.admin("GET", "/status", &json!({})).await;
    assert_eq!(status["orphaned"], json!(["ledger"]));
    let (_, begun) = order(&relay, "discard", json!({})).await;
    assert_eq!(begun["total"], 2);
    relay.settle().await;
    let (_, status) = relay.admin("GET", "/status", &json!({})).await;
    assert_eq!(status["orphaned"], json!([]));
    // Nobody who is not there is told again, but what was given up for it can wait for it again.
    let replay = json!({"since": "2020-01-01T00:00:00Z"});
    assert_eq!(order(&relay, "replay", replay).await.0, 404);
    relay.advance(secs(1));
    let (_, begun) = order(&relay, "retry", json!({})).await;
    assert_eq!(begun["total"], 2);
    relay.settle().await;
    relay.reload(setup(&sink));
    post(&relay, "/endpoints/ledger/resume").await;
    relay.settle().await;
    assert_eq!(sink.count(), 2);
}

#[tokio::test]
async fn a_result_behind_one_that_is_given_up_goes_out_and_all_of_a_line_are_hurried() {
    let sink = Sink::start().await;
    let relay = held(&sink, 1).await;
    let until = relay.now().to_string();
    relay.result("u0", "3").await;
    relay.advance(secs(1));
    let (_, hurried) = order(&relay, "retry", json!({"states": ["waiting"]})).await;
    assert_eq!(hurried["total"], 2);
    relay.settle().await;
    assert_eq!(job(&relay, 1).await["done"], 2);
    relay.advance(secs(1));
    order(&relay, "discard", json!({"until": until})).await;
    relay.settle().await;
    post(&relay, "/endpoints/ledger/resume").await;
    relay.settle().await;
    let told = sink.only();
    assert_eq!(told.json()["data"]["sequence"], 2);
}
