//! `serve`: it says where it is, takes a callback, tells the endpoint, and stops when told to.

use std::net::TcpListener;

use rustix::process::Signal;
use vexora_relay::domain::{Secret, Status};
use vexora_relay::signing::webhook::WebhookKey;

use super::kit::{
    Downstream, MERCHANT, Place, Provider, Service, WEBHOOK_SECRET, config, endpoint, merchant,
    user,
};

const BASE: &str = "http://127.0.0.1:9/japan";

#[test]
fn a_callback_becomes_a_signed_webhook_and_sigterm_ends_it_well() {
    let (provider, downstream) = (Provider::start(), Downstream::start());
    let taro = user("taro");
    provider
        .sandbox
        .set_status(&merchant(), &taro, Status::Approved, None);
    let tables = endpoint(&downstream.url);
    let place = Place::with(&config(&provider.sandbox.base_url(), &tables));
    let mut relay = Service::start(place.command(&["serve"]));

    let ready = relay.ready();
    assert_eq!(ready["merchants"], 1);
    assert_eq!(ready["endpoints"], 1);
    assert_eq!(ready["store_is"], "new");
    assert_eq!(ready["pending_deliveries"], 0);
    assert!(ready["admin"].as_str().unwrap().starts_with("http://"));

    let url = format!(
        "{}/callback/{MERCHANT}",
        ready["callbacks"].as_str().unwrap()
    );
    let attempt = provider.post_callback("taro", url);
    assert!(attempt.confirmed, "{attempt:?}");

    let webhook = downstream.next();
    let said: serde_json::Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(said["type"], "kyc.approved");
    assert_eq!(said["data"]["userId"], "taro");
    assert_eq!(said["data"]["source"], "callback");
    let key = WebhookKey::parse(&Secret::new(WEBHOOK_SECRET)).unwrap();
    let timestamp = webhook.header("webhook-timestamp").parse().unwrap();
    let expected = key.sign(webhook.header("webhook-id"), timestamp, &webhook.body);
    assert_eq!(webhook.header("webhook-signature"), expected);

    assert_eq!(relay.stop(Signal::TERM), Some(0), "{:?}", relay.said);
    let log = relay.said.join("\n");
    for private in ["s3cr3t", "whsec_", "taro"] {
        assert!(!log.contains(private), "{private} is in\n{log}");
    }
}

#[test]
fn sigint_ends_it_well_and_the_next_start_finds_the_store() {
    let place = Place::with(&config(BASE, ""));
    for store in ["new", "existing"] {
        let mut relay = Service::start(place.command(&["serve"]));
        assert_eq!(relay.ready()["store_is"], store);
        assert_eq!(relay.stop(Signal::INT), Some(0), "{:?}", relay.said);
    }
    assert!(place.path().join("data").is_dir());
}

#[test]
fn a_second_one_on_the_same_data_names_the_first() {
    let place = Place::with(&config(BASE, ""));
    let mut first = Service::start(place.command(&["serve"]));
    first.ready();
    let second = place.run(&["serve"]).with(1);
    let holder = format!("process {}", first.pid());
    assert!(second.err.contains(&holder), "{}", second.err);
    assert!(second.err.contains("data"), "{}", second.err);
    assert_eq!(first.stop(Signal::TERM), Some(0));
}

#[test]
fn a_configuration_that_is_wrong_ends_it_with_78_before_anything_is_made() {
    let place = Place::with(&config("ftp://127.0.0.1", ""));
    let ended = place.run(&["serve"]).with(78);
    assert!(ended.err.contains("base_url"), "{}", ended.err);
    assert!(!place.path().join("data").exists());
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for section in ["server", "admin"] {
        let free = format!("[{section}]\nlisten = \"127.0.0.1:0\"");
        let text = config(BASE, "").replace(&free, &format!("[{section}]\nlisten = \"{address}\""));
        let ended = Place::with(&text).run(&["serve"]).with(1);
        let said = format!("cannot listen on {address}");
        assert!(ended.err.contains(&said), "{section}: {}", ended.err);
        assert!(ended.err.contains("in use"), "{}", ended.err);
    }
}

/// It says so itself, where it is asked to. Elsewhere the linker may find glibc's first (decision 0018).
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[test]
fn memory_comes_from_an_allocator_of_its_own() {
    let place = Place::with(&config(BASE, ""));
    let mut command = place.command(&["--version"]);
    command.env("MIMALLOC_VERBOSE", "1");
    let ended = command.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("mimalloc:"), "{said:?}");
}
