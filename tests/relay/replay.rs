//! Telling again: counted before, in the background at a limited rate, marked, and through restarts.

use serde_json::{Value, json};

use crate::kit::{Relay, Reply, Setup, Sink, secs};

async fn three_told() -> (Sink, Relay) {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    for (number, status) in ["2", "3", "2"].into_iter().enumerate() {
        relay.result(&format!("u{number}"), status).await;
        relay.advance(secs(60));
    }
    (sink, relay)
}

async fn order(relay: &Relay, body: Value) -> (u16, Value) {
    relay.admin("POST", "/endpoints/ledger/replay", &body).await
}

async fn shown(relay: &Relay, id: u64) -> Value {
    let (status, job) = relay.admin("GET", &format!("/jobs/{id}"), &json!({})).await;
    assert_eq!(status, 200);
    job
}

#[tokio::test]
async fn what_was_told_is_told_again_with_the_same_id_and_a_mark() {
    let (sink, relay) = three_told().await;
    let from = relay.now().minus(secs(150)).to_string();
    let dry = json!({"since": from, "dry_run": true});
    assert_eq!(
        order(&relay, dry).await,
        (200, json!({"total": 2, "job": null}))
    );
    assert_eq!(relay.settle().await, 0, "a dry run does nothing");

    let (status, begun) = order(&relay, json!({"since": from})).await;
    assert_eq!((status, &begun["total"]), (202, &json!(2)));
    relay.settle().await;
    let requests = sink.requests();
    let (first, again) = requests.split_at(3);
    let ids = |some: &[crate::kit::Request]| -> Vec<String> {
        some.iter()
            .map(|one| one.header("webhook-id").to_owned())
            .collect()
    };
    let mut told_again = ids(again);
    told_again.sort();
    assert_eq!(told_again, ids(&first[1..]));
    assert!(again.iter().all(|one| one.header("relay-replay") == "1"));
    assert!(
        first
            .iter()
            .all(|one| one.headers.iter().all(|(name, _)| name != "relay-replay")),
        "only replays are marked"
    );
    let done = shown(&relay, begun["job"]["id"].as_u64().unwrap()).await;
    assert_eq!((&done["state"], &done["done"]), (&json!("done"), &json!(2)));
}

#[tokio::test]
async fn kinds_and_states_narrow_it() {
    let (sink, relay) = three_told().await;
    let since = "2020-01-01T00:00:00Z";
    for (body, total) in [
        (json!({"since": since, "types": ["kyc.rejected"]}), 1),
        (json!({"since": since, "states": ["abandoned"]}), 0),
        (
            json!({"since": since, "states": ["missing", "delivered"]}),
            3,
        ),
        (json!({"since": since, "until": "2020-01-02T00:00:00Z"}), 0),
        (json!({"since": since, "types": ["relay.endpoint.down"]}), 0),
    ] {
        let mut dry = body.clone();
        dry["dry_run"] = json!(true);
        assert_eq!(order(&relay, dry).await.1["total"], total, "{body}");
    }
    for body in [
        json!({"since": "yesterday"}),
        json!({"since": since, "types": ["kyc.aproved"]}),
        json!({"since": since, "states": ["waiting"]}),
        json!({"since": since, "nonsense": 1}),
    ] {
        assert_eq!(order(&relay, body).await.0, 400);
    }
    assert_eq!(sink.count(), 3);
}

#[tokio::test]
async fn a_new_endpoint_is_back_filled_in_order_at_a_limited_rate_and_through_a_restart() {
    let ledger = Sink::start().await;
    let setup = |second: Option<&Sink>| {
        let setup = Setup::new().vexora("rate_limit = \"off\"").endpoint(
            "audit",
            &ledger.url(),
            "events = [\"kyc.*\"]\nconcurrency = 64",
        );
        match second {
            Some(sink) => setup.endpoint(
                "ledger",
                &sink.url(),
                "events = [\"kyc.*\"]\nconcurrency = 64",
            ),
            None => setup,
        }
    };
    let mut relay = setup(None).start().await;
    for status in ["3", "2", "3", "2", "3"] {
        for number in 0..50 {
            let id = format!("u{number}");
            relay.says(&id, status, None);
            relay.post_callback(&id, status).await;
        }
        relay.settle().await;
        relay.advance(secs(1));
    }
    let new = Sink::start().await;
    relay.reload(setup(Some(&new)));
    let (_, begun) = order(&relay, json!({"since": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(begun["total"], 250);
    relay.settle().await;
    assert_eq!(new.count(), 200, "so many a second");
    let half = shown(&relay, 1).await;
    assert_eq!(
        (&half["state"], &half["done"]),
        (&json!("running"), &json!(200))
    );
    relay.restart().await;
    relay.advance(secs(1));
    relay.settle().await;
    assert_eq!(shown(&relay, 1).await["state"], "done");
    assert_eq!(new.count(), 250);
    for number in 0..50 {
        let id = format!("u{number}");
        let heard: Vec<u64> = new
            .requests()
            .iter()
            .filter(|request| request.user() == id)
            .map(|request| request.json()["data"]["sequence"].as_u64().unwrap())
            .collect();
        assert_eq!(heard, [1, 2, 3, 4, 5], "{id}");
    }
    assert_eq!(ledger.count(), 250, "nobody else hears of it");
}

#[tokio::test]
async fn a_replay_can_be_cancelled() {
    let (sink, relay) = three_told().await;
    relay
        .admin("POST", "/endpoints/ledger/pause", &json!({}))
        .await;
    let (_, begun) = order(&relay, json!({"since": "2020-01-01T00:00:00Z"})).await;
    let id = begun["job"]["id"].as_u64().unwrap();
    let path = format!("/jobs/{id}/cancel");
    assert_eq!(
        relay.admin("POST", &path, &json!({})).await.1["state"],
        "cancelled"
    );
    relay
        .admin("POST", "/endpoints/ledger/resume", &json!({}))
        .await;
    relay.settle().await;
    assert_eq!(sink.count(), 3);
    assert_eq!(shown(&relay, id).await["state"], "cancelled");
    assert_eq!(relay.admin("GET", "/jobs/99", &json!({})).await.0, 404);
}

#[tokio::test]
async fn operators_see_and_steer_endpoints_and_deliveries() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "retry = [\"5s\"]")
        .start()
        .await;
    let nothing = json!({});
    let post = async |path: &str| relay.admin("POST", path, &nothing).await;
    let (_, paused) = post("/endpoints/ledger/pause").await;
    assert_eq!(
        (&paused["state"], &paused["pausedBy"]),
        (&json!("paused"), &json!("operator"))
    );
    relay.result("u1", "2").await;
    assert_eq!(sink.count(), 0);
    let (_, all) = relay.admin("GET", "/endpoints", &nothing).await;
    assert_eq!(all["endpoints"][0]["pending"], 1);
    assert_eq!(post("/endpoints/ledger/resume").await.1["state"], "up");
    sink.answers(Reply::status(500));
    relay.settle().await;
    relay.try_next("u1", "ledger").await;

    let event = relay.events("u1").await[0].id.to_string();
    let path = format!("/deliveries/{event}/ledger");
    let (_, shown) = relay.admin("GET", &path, &nothing).await;
    assert_eq!(shown["delivery"]["state"], "abandoned");
    assert_eq!(shown["attempts"][1]["status"], 500);
    sink.answers(Reply::status(204));
    assert_eq!(post(&format!("{path}/retry")).await.1["state"], "waiting");
    relay.settle().await;
    let (status, refused) = post(&format!("{path}/discard")).await;
    assert_eq!((status, &refused["code"]), (409, &json!("delivered")));

    let (status, sent) = post("/endpoints/ledger/test").await;
    assert_eq!(status, 202);
    relay.settle().await;
    let test = sink.requests().pop().unwrap();
    assert_eq!(
        (test.kind().as_str(), test.header("webhook-id")),
        ("relay.test", sent["event"].as_str().unwrap())
    );
    assert_eq!(post("/endpoints/nobody/pause").await.0, 404);
    assert_eq!(post("/deliveries/nonsense/ledger/retry").await.0, 400);
}
