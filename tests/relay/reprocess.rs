//! A callback that no version before could read is read again after the upgrade.

use std::sync::Arc;

use serde_json::{Value, json};
use vexora_relay::domain::{Arrival, Callback, CallbackId, EventId, Routing, SignCheck};

use crate::admin::Operator;
use crate::dashboard::visitor::Visitor;
use crate::kit::{Relay, Setup, Sink, merchant};

/// As an older version would have kept it.
async fn kept_unrecognized(relay: &Relay, n: u128) -> CallbackId {
    let at = relay.now();
    let id = CallbackId::new(at, n);
    let callback = Callback {
        id,
        merchant: merchant(),
        user: None,
        claim: None,
        sign: SignCheck::Missing,
        token: true,
        arrival: Arrival {
            body: br#"{"userId": "taro", "authenticationStatus": "2"}"#.to_vec(),
            content_type: None,
            query: None,
            peer: None,
            at,
        },
    };
    let fresh = EventId::new(at, n);
    let routing = Arc::new(Routing::new(Vec::new()));
    relay
        .store()
        .accept(callback, fresh, routing)
        .await
        .unwrap();
    id
}

fn kinds(story: &Value) -> Vec<&str> {
    let timeline = story["timeline"].as_array().unwrap();
    timeline
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect()
}

/// The lines of this kind.
async fn exported(operator: &Operator, kind: &str) -> Vec<Value> {
    let said = operator.ask("GET", "/api/v1/export", None).await;
    let text = String::from_utf8(said.body).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &Value| line["kind"] == kind).collect()
}

async fn counted(relay: &Relay, operator: &Operator) -> (Value, usize, f64) {
    let status = operator.get("/status").await;
    let needs = status["attention"].as_array().unwrap().iter();
    let needs = needs.filter(|item| item["what"] == "unrecognized").count();
    let scraped = relay.metrics().await.value("callbacks_kept_unrecognized");
    (status["counts"]["unrecognized"].clone(), needs, scraped)
}

#[tokio::test]
async fn what_is_recognized_at_last_needs_nobody_any_more() {
    let sink = Sink::start().await;
    let mut relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.says("taro", "2", None);
    let operator = Operator::of(&relay);
    let (one, two) = (
        kept_unrecognized(&relay, 1).await,
        kept_unrecognized(&relay, 2).await,
    );
    assert_eq!(counted(&relay, &operator).await, (json!(2), 1, 2.0));

    let path = format!("/api/v1/callbacks/{one}/reprocess");
    let said = operator.ask("POST", &path, None).await;
    assert_eq!((said.status, &said.json()["userId"]), (202, &json!("taro")));
    relay.settle().await;
    assert_eq!(counted(&relay, &operator).await, (json!(1), 1, 1.0));
    let left = operator.all("callbacks", "state=unrecognized", 50).await;
    assert_eq!(left.len(), 1);
    let found = operator.get(&format!("/callbacks/{one}")).await;
    assert_eq!(
        (&found["state"], &found["userId"], &found["claim"]),
        (&json!("accepted"), &json!("taro"), &json!("2"))
    );
    let of_user = operator.all("callbacks", "user=taro", 50).await;
    assert_eq!(of_user.len(), 1);
    let path = format!("/users/{}/taro", merchant());
    let story = operator.get(&path).await;
    assert_eq!(
        kinds(&story),
        ["callback", "recognized", "query", "event", "attempt"]
    );
    assert_eq!(story["timeline"][1]["callback"], one.to_string());
    assert_eq!(sink.count(), 1);
    let of_export = exported(&operator, "callback").await;
    let at = |id: CallbackId| {
        let found = of_export.iter().find(|line| line["id"] == id.to_string());
        &found.unwrap()["recognizedAt"]
    };
    assert_eq!(at(one), &story["timeline"][1]["at"]);
    assert_eq!(at(two), &Value::Null);

    // The same by way of the dashboard.
    let mut visitor = Visitor::signed_in(&relay).await;
    let page = format!("/callbacks/{two}");
    let story = visitor
        .submits(&page, &format!("{page}/reprocess"), &[])
        .await;
    story.shows("It names this user");
    story.shows("was read again");
    let watch = format!("/user/watch?merchant={}&user=hanako", merchant());
    let page = format!("/user?merchant={}&user=hanako", merchant());
    let story = visitor.submits(&page, &watch, &[]).await;
    story.shows("ordered: asked about until the result is final");
    visitor
        .page("/unrecognized")
        .await
        .shows("Every callback named its user.");
    assert_eq!(counted(&relay, &operator).await, (json!(0), 0, 0.0));
    let path = format!("/users/{}/hanako", merchant());
    let watched = &operator.get(&path).await["timeline"][0];
    let expected = json!({
        "kind": "order", "merchantNo": merchant().as_str(), "userId": "hanako", "at": watched["at"],
        "order": "watch", "result": null,
    });
    assert_eq!(exported(&operator, "order").await, [expected]);
    relay.verify_store().await;
}
