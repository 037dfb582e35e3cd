//! What operators order from the command line, through the running service.

use rustix::process::Signal;
use serde_json::Value;
use vexora_relay::domain::Status;

use super::kit::{
    Downstream, MERCHANT, Place, Provider, Service, config, endpoint, free, in_japan, merchant,
    nobody, user,
};

/// A configuration whose admin listener can be found by others.
fn findable(base_url: &str, tables: &str) -> String {
    let admin = format!("[admin]\nlisten = \"{}\"", free());
    config(base_url, tables).replace("[admin]\nlisten = \"127.0.0.1:0\"", &admin)
}

#[test]
fn endpoints_deliveries_and_replays_are_steered() {
    let (provider, ledger) = (Provider::start(), Downstream::start());
    let tables = endpoint(&ledger.url);
    let place = Place::with(&findable(&provider.sandbox.base_url(), &tables));
    let mut service = Service::start(place.command(&["serve"]));
    let callbacks = service.ready()["callbacks"].as_str().unwrap().to_owned();

    let tested = place.run(&["test", "ledger", "--json"]).with(0).json();
    assert_eq!(
        ledger.next().header("webhook-id"),
        tested["event"].as_str().unwrap()
    );

    let paused = place.run(&["pause", "ledger"]).with(0);
    assert!(paused.out.contains("paused"), "{}", paused.out);
    let approved = Status::Approved;
    let sandbox = &provider.sandbox;
    sandbox.set_status(&merchant(), &user("taro"), approved, None);
    provider.post_callback("taro", format!("{callbacks}/callback/{MERCHANT}"));
    let listed = place.run(&["endpoints", "--json"]).with(0).json();
    assert_eq!(listed["endpoints"][0]["state"], "paused");
    place.run(&["resume", "ledger"]).with(0);
    let told = ledger.next();
    let event = told.header("webhook-id").to_owned();

    service.wait_for(|line| {
        let said: Value = serde_json::from_str(line).ok()?;
        (said["outcome"] == "delivered" && said["event"] == event.as_str()).then_some(())
    });
    for verb in ["retry", "discard"] {
        let refused = place.run(&[verb, &event, "ledger"]).with(1);
        assert!(refused.err.contains("it was delivered"), "{}", refused.err);
    }
    let dry = place
        .run(&["replay", "ledger", "--since", "1h", "--dry-run"])
        .with(0);
    assert!(dry.out.contains("1 event"), "{}", dry.out);
    let unsure = place.run(&["replay", "ledger", "--since", "1h"]).with(2);
    assert!(unsure.err.contains("--yes"), "{}", unsure.err);
    place
        .run(&["replay", "ledger", "--since", "1h", "--yes"])
        .with(0);
    let again = ledger.next();
    assert_eq!(again.header("webhook-id"), event);
    assert_eq!(again.header("relay-replay"), "1");

    let nobody = place.run(&["pause", "nobody"]).with(1);
    assert!(
        nobody.err.contains("no endpoint of this name"),
        "{}",
        nobody.err
    );
    place
        .run(&["replay", "ledger", "--since", "yesterday", "--yes"])
        .with(2);
    service.stop(Signal::TERM);
    place.run(&["endpoints"]).with(3);
}

#[test]
fn a_test_that_is_held_says_so_and_nobody_waits_for_what_cannot_come() {
    let (provider, ledger) = (Provider::start(), Downstream::start());
    let dead = endpoint(&format!("http://{}/hooks", nobody())).replace("ledger", "dead");
    let tables = endpoint(&ledger.url) + &dead;
    let place = Place::with(&findable(&provider.sandbox.base_url(), &tables));
    let mut service = Service::start(place.command(&["serve"]));
    service.ready();

    let taken = place.run(&["test", "ledger", "--watch"]).with(0);
    assert!(
        taken
            .out
            .starts_with("attempt 1 to ledger: delivered, HTTP 204"),
        "{}",
        taken.out
    );
    assert!(
        taken.err.contains(" is on its way to ledger"),
        "{}",
        taken.err
    );
    ledger.next();

    place.run(&["pause", "ledger"]).with(0);
    let held = place.run(&["test", "ledger"]).with(0).out;
    assert!(
        held.contains("is held: ledger is paused by an operator, since "),
        "{held}"
    );
    assert!(held.contains("`vexora-relay resume ledger`"), "{held}");
    let waited_for = place.run(&["test", "ledger", "--watch", "--json"]).with(1);
    assert!(
        waited_for.err.contains("is held: ledger is paused"),
        "{}",
        waited_for.err
    );
    assert_eq!(waited_for.json()["delivery"]["state"], "waiting");
    place.run(&["resume", "ledger"]).with(0);
    let event = held.split(' ').nth(1).unwrap();
    assert_eq!(ledger.next().header("webhook-id"), event);

    let failed = place.run(&["test", "dead", "--watch"]).with(1);
    assert!(
        failed.out.starts_with("attempt 1 to dead: connect after "),
        "{}",
        failed.out
    );
    assert!(
        failed.out.contains("; the next not before "),
        "{}",
        failed.out
    );
    for _ in 0..4 {
        place.run(&["test", "dead", "--watch"]).with(1);
    }
    let held = place.run(&["test", "dead"]).with(0).out;
    assert!(held.contains("is held: dead is down, since "), "{held}");
    assert!(held.contains("a probe may take it, the next "), "{held}");
    assert_eq!(service.stop(Signal::TERM), Some(0));
}

#[test]
fn bulk_work_is_counted_agreed_to_watched_and_cancelled() {
    let (provider, ledger) = (Provider::start(), Downstream::start());
    let tables = endpoint(&ledger.url);
    let place = Place::with(&findable(&provider.sandbox.base_url(), &tables));
    let mut service = Service::start(place.command(&["serve"]));
    let callbacks = service.ready()["callbacks"].as_str().unwrap().to_owned();
    place.run(&["pause", "ledger"]).with(0);
    for id in ["taro", "hana"] {
        let approved = Status::Approved;
        provider
            .sandbox
            .set_status(&merchant(), &user(id), approved, None);
        provider.post_callback(id, format!("{callbacks}/callback/{MERCHANT}"));
        service.wait_for(|line| {
            let said: Value = serde_json::from_str(line).ok()?;
            (said["outcome"] == "approved" && said["event"].is_string()).then_some(())
        });
    }

    let all = ["discard", "--endpoint", "ledger"];
    let with = |more: &[&'static str]| [&all[..], more].concat();
    let dry = place.run(&with(&["--dry-run", "--yes"])).with(0);
    assert_eq!(
        dry.out,
        "2 deliveries to ledger (waiting) would be given up\n"
    );
    let unsure = place.run(&all).with(2);
    assert!(unsure.err.contains("--yes"), "{}", unsure.err);
    assert_eq!(unsure.out, "");
    assert_eq!(place.run(&["jobs"]).with(0).out, "no jobs\n");
    let done = place.run(&with(&["--yes", "--watch", "--json"])).with(0);
    assert_eq!(done.json()["done"], 2);
    assert_eq!(
        done.err, "job 1: 2 deliveries to ledger (waiting) are given up\n",
        "no progress bar where nobody looks"
    );

    let retried = place
        .run(&["retry", "--endpoint", "ledger", "--since", "1h", "--yes"])
        .with(0);
    assert!(retried.out.contains("jobs 2 --watch"), "{}", retried.out);
    let watched = place.run(&["jobs", "2", "--watch"]).with(0);
    assert!(watched.out.contains("2 of 2"), "{}", watched.out);
    place.run(&["resume", "ledger"]).with(0);
    ledger.next();
    ledger.next();
    let ended = place.run(&["jobs", "2", "--cancel", "--json"]).with(0);
    assert_eq!(ended.json()["state"], "done", "it was over");
    let nothing = place
        .run(&["discard", "--endpoint", "ledger", "--yes"])
        .with(0);
    assert!(
        nothing.out.starts_with("nothing to do: "),
        "{}",
        nothing.out
    );
    let listed = place.run(&["jobs", "--json"]).with(0).json();
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 2);
    let kept = place.run(&["retention"]).with(0);
    assert!(kept.out.contains("\nevents      0\n"), "{}", kept.out);
    let kept = place.run(&["retention", "--json"]).with(0).json();
    assert_eq!(kept["keepSeconds"], 90 * 24 * 3600);
    let of_job = |name: &str| in_japan(&listed["jobs"][0][name]);
    let (ordered, before) = (of_job("ordered"), in_japan(&kept["before"]));
    place.run(&["pause", "ledger"]).with(0);
    let endpoints = place.run(&["endpoints", "--json"]).with(0).json();
    let paused = in_japan(&endpoints["endpoints"][0]["since"]);
    for (args, local, what) in [
        (&["jobs"][..], &ordered, "ago"),
        (&["jobs", "2"], &of_job("ended"), "2 of 2"),
        (&["endpoints"], &paused, "paused"),
        (&["pause", "ledger"], &paused, "ago"),
        // Both are as of now: alike but for the seconds between them.
        (&["retention"], &before[..10].to_owned(), "90 days ago"),
    ] {
        let shown = place.run_in_japan("140", args).with(0);
        assert!(
            shown.out.contains(local) && shown.out.contains(what),
            "{args:?}: {local}, {what}: {}",
            shown.out
        );
        for line in place.run_in_japan("80", args).with(0).out.lines() {
            assert!(line.chars().count() <= 80, "{args:?}: {line}");
        }
    }
    let nowhere = place.run(&["jobs", "9"]).with(1);
    assert!(nowhere.err.contains("no job"), "{}", nowhere.err);
    let nobody = place
        .run(&["retry", "--endpoint", "nobody", "--yes"])
        .with(1);
    assert!(nobody.err.contains("no endpoint"), "{}", nobody.err);
}
