//! The lists of the command line, through the running service.

use rustix::process::Signal;
use serde_json::Value;
use vexora_relay::domain::Status;

use super::kit::{
    Downstream, MERCHANT, Place, Provider, Service, config, endpoint, free, in_japan, merchant,
    user,
};

/// A configuration whose admin listener can be found by others.
fn findable(base_url: &str, tables: &str) -> String {
    let admin = format!("[admin]\nlisten = \"{}\"", free());
    config(base_url, tables).replace("[admin]\nlisten = \"127.0.0.1:0\"", &admin)
}

#[test]
fn lists_are_tables_for_people_and_json_for_programs() {
    let (provider, ledger) = (Provider::start(), Downstream::start());
    let tables = endpoint(&ledger.url);
    let place = Place::with(&findable(&provider.sandbox.base_url(), &tables));
    let mut service = Service::start(place.command(&["serve"]));
    let callbacks = service.ready()["callbacks"].as_str().unwrap().to_owned();
    for list in ["callbacks", "events", "deliveries", "watched"] {
        let empty = place.run(&[list]).with(0);
        assert!(empty.out.starts_with("no "), "{list}: {}", empty.out);
    }
    for name in ["taro", "hanako"] {
        provider
            .sandbox
            .set_status(&merchant(), &user(name), Status::Approved, None);
        provider.post_callback(name, format!("{callbacks}/callback/{MERCHANT}"));
        let event = ledger.next().header("webhook-id").to_owned();
        service.wait_for(|line| {
            let said: Value = serde_json::from_str(line).ok()?;
            (said["outcome"] == "delivered" && said["event"] == event.as_str()).then_some(())
        });
    }

    let events = place.run(&["events", "--json"]).with(0).json();
    let users: Vec<&str> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["userId"].as_str().unwrap())
        .collect();
    assert_eq!(users, ["hanako", "taro"], "newest first");
    assert_eq!(events["next"], Value::Null);
    let one = place
        .run(&[
            "events",
            "--user",
            "taro",
            "--since",
            "1h",
            "--type",
            "kyc.approved",
            "--json",
        ])
        .with(0)
        .json();
    assert_eq!(one["events"].as_array().unwrap().len(), 1);
    let none = place.run(&["events", "--until", "1h"]).with(0);
    assert_eq!(none.out, "no events\n");

    let wide = place
        .run(&["deliveries", "--endpoint", "ledger", "--state", "delivered"])
        .with(0);
    assert_eq!(wide.out.lines().count(), 3, "{}", wide.out);
    let id = events["events"][0]["id"].as_str().unwrap();
    assert!(
        wide.out.contains(id),
        "whole where nothing has to fit: {}",
        wide.out
    );
    assert!(
        !wide.out.contains('\x1b'),
        "no colours where nobody sees them"
    );
    let cut = place.run_in_japan("80", &["deliveries"]).with(0);
    assert!(cut.out.contains('…'), "{}", cut.out);
    for line in cut.out.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(cut.out.contains("delivered") && !cut.out.contains(id));

    let first = place.run(&["callbacks", "--limit", "1"]).with(0);
    assert_eq!(first.out.lines().count(), 2);
    assert!(
        first.err.contains("--limit"),
        "says that there is more: {}",
        first.err
    );
    let callback = place
        .run(&["callbacks", "--user", "taro", "--json"])
        .with(0)
        .json();
    let callback = callback["callbacks"][0]["id"].as_str().unwrap().to_owned();
    let again = place.run(&["reprocess", &callback]).with(0);
    assert!(again.out.contains("taro"), "{}", again.out);
    let unknown = place
        .run(&["reprocess", "cb_00000000000000000000000000"])
        .with(1);
    assert!(
        unknown.err.contains("no callback of this id"),
        "{}",
        unknown.err
    );

    // In the zone of whoever looks, with how long ago.
    let shown = place
        .run_in_japan("200", &["events", "--limit", "1"])
        .with(0);
    let local = in_japan(&events["events"][0]["at"]);
    assert!(
        shown.out.contains(&local) && shown.out.contains("ago"),
        "{local}: {}",
        shown.out
    );

    place.run(&["pause", "ledger"]).with(0);
    let status = place.run(&["status"]).with(0);
    assert!(
        status
            .out
            .contains("NEEDS SOMEONE: endpoint paused: ledger"),
        "{}",
        status.out
    );
    assert!(
        status.out.contains("hint: `vexora-relay resume ledger`"),
        "{}",
        status.out
    );
    for verb in ["status", "deliveries"] {
        let unseen = place.run(&[verb, "--watch"]).with(2);
        assert!(unseen.err.contains("terminal"), "{}", unseen.err);
        assert_eq!(unseen.out, "");
    }
    let wrong = place.run(&["callbacks", "--since", "yesterday"]).with(2);
    assert!(
        wrong.err.contains("--since: expected a time such as"),
        "{}",
        wrong.err
    );
    service.stop(Signal::TERM);
    place.run(&["events"]).with(3);
}
