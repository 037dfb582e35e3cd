//! The whole store as a file and back, through the real binary.

use rustix::process::Signal;
use serde_json::Value;

use super::kit::{MERCHANT, Place, Provider, Service, config, endpoint, free, nobody};

/// A place whose service has a fixed admin address, so that the other verbs find it.
fn place() -> (Provider, Place) {
    let provider = Provider::start();
    let admin = free();
    let text = config(
        &provider.sandbox.base_url(),
        &endpoint(&format!("http://{}/", nobody())),
    )
    .replace(
        "[admin]\nlisten = \"127.0.0.1:0\"",
        &format!("[admin]\nlisten = \"{admin}\""),
    )
    .replace(
        "[server]\n",
        "[server]\npublic_url = \"http://127.0.0.1:9\"\n",
    );
    (provider, Place::with(&text))
}

/// Three users' callbacks are in the store.
fn load(provider: &Provider, service: &mut Service) {
    let callbacks = service.ready()["callbacks"].as_str().unwrap().to_owned();
    for user in ["u1", "u2", "u3"] {
        let url = format!("{callbacks}/callback/{MERCHANT}");
        let attempt = provider.post_callback(user, url);
        assert!(attempt.confirmed, "{attempt:?}");
    }
}

#[test]
fn a_backup_of_a_running_service_is_restored_elsewhere_and_verifies() {
    let (provider, here) = place();
    let mut service = Service::start(here.command(&["serve"]));
    load(&provider, &mut service);
    let file = here.path().join("copy");
    let file = file.to_str().unwrap();
    let made: Value = here.run(&["backup", file, "--json"]).with(0).json();
    assert_eq!(
        made["bytes"].as_u64().unwrap(),
        std::fs::metadata(file).unwrap().len()
    );
    let again = here.run(&["backup", file]).with(2);
    assert!(
        again.err.contains("there is a file of this name"),
        "{}",
        again.err
    );
    here.run(&["watch", "u4"]).with(0);
    let name = [
        "--furigana",
        "\u{30e4}\u{30de}\u{30c0} \u{30bf}\u{30ed}\u{30a6}",
    ];
    let apply = [&["apply", "--user", "u5"], &name[..]].concat();
    here.run(&apply).with(0);
    let exported = here.run(&["export"]).with(0).out;
    let kinds: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let callbacks = kinds
        .iter()
        .filter(|line| line["kind"] == "callback")
        .count();
    assert_eq!(callbacks, 3, "{exported}");
    let orders = kinds.iter().filter(|line| line["kind"] == "order");
    let orders: Vec<[&str; 3]> = orders
        .map(|line| ["userId", "order", "result"].map(|key| line[key].as_str().unwrap_or("-")))
        .collect();
    let expected = [["u4", "watch", "-"], ["u5", "application", "accepted"]];
    assert_eq!(orders, expected, "{exported}");
    let left: Vec<_> = std::fs::read_dir(here.path().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let busy = here.run(&["verify-store"]).with(1);
    assert!(busy.err.contains("in use by process"), "{}", busy.err);
    assert_eq!(service.stop(Signal::TERM), Some(0));

    let (_, there) = place();
    there.run(&["restore", file]).with(0);
    there.run(&["restore", file]).with(1);
    let verified: Value = there.run(&["verify-store", "--json"]).with(0).json();
    assert_eq!(
        verified["findings"].as_array().unwrap().len(),
        0,
        "{verified}"
    );
    assert!(verified["entries"].as_u64().unwrap() > 10, "{verified}");
    let mut service = Service::start(there.command(&["serve"]));
    service.ready();
    let story: Value = there.run(&["status", "u2", "--json"]).with(0).json();
    assert!(
        story["timeline"].to_string().contains("\"callback\""),
        "{story}"
    );
    assert_eq!(service.stop(Signal::TERM), Some(0));
    there.run(&["compact"]).with(0);
    there.run(&["verify-store"]).with(0);
}

#[test]
fn a_damaged_backup_is_refused_and_makes_nothing() {
    let (provider, here) = place();
    let mut service = Service::start(here.command(&["serve"]));
    load(&provider, &mut service);
    let file = here.path().join("copy");
    here.run(&["backup", file.to_str().unwrap()]).with(0);
    assert_eq!(service.stop(Signal::TERM), Some(0));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (_, there) = place();
    let refused = there.run(&["restore", file.to_str().unwrap()]).with(1);
    assert!(
        refused.err.contains("backup") || refused.err.contains("damaged"),
        "{}",
        refused.err
    );
    assert!(!there.path().join("data").join("sled").exists());
}

#[test]
fn a_backup_without_a_service_says_how_to_reach_it() {
    let (_, here) = place();
    let failed = here.run(&["backup", "copy"]);
    assert!(
        matches!(failed.code, Some(1 | 3)),
        "{:?} {}",
        failed.code,
        failed.err
    );
    assert!(failed.err.contains("hint"), "{}", failed.err);
    assert!(!here.path().join("copy").exists() && !here.path().join("copy.new").exists());
}
