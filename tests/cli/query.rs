//! `query`: one signed question, and what comes of each answer.

use vexora_relay::domain::Status;
use vexora_relay::sandbox::Faults;

use super::kit::{Place, Provider, config, merchant, nobody, user};

fn place(provider: &Provider) -> Place {
    Place::with(&config(&provider.sandbox.base_url(), ""))
}

#[test]
fn an_approved_user_is_printed_for_people_and_for_programs() {
    let provider = Provider::start();
    let sandbox = &provider.sandbox;
    sandbox.set_status(&merchant(), &user("taro"), Status::Approved, None);
    let place = place(&provider);
    assert_eq!(place.run(&["query", "taro"]).with(0).out, "approved (2)\n");
    let json = place.run(&["query", "taro", "--json"]).with(0).json();
    assert_eq!(json["merchantNo"], "1027749636");
    assert_eq!(json["userId"], "taro");
    assert_eq!(json["authenticationStatus"], "2");
    assert_eq!(json["status"], "approved");
    assert_eq!(json["failReason"], serde_json::Value::Null);
    assert_eq!(sandbox.queries(&merchant(), &user("taro")), 2);
}

#[test]
fn a_rejected_user_comes_with_the_reason() {
    let provider = Provider::start();
    let hanako = user("hanako");
    let rejected = Status::Rejected;
    provider
        .sandbox
        .set_status(&merchant(), &hanako, rejected, Some("photo blurred"));
    let place = place(&provider);
    let ended = place.run(&["query", "hanako"]).with(0);
    assert_eq!(ended.out, "rejected (3): photo blurred\n");
    let json = place.run(&["query", "hanako", "--json"]).with(0).json();
    assert_eq!(json["failReason"], "photo blurred");
}

#[test]
fn an_unknown_user_is_a_failure_that_names_the_providers_code() {
    let provider = Provider::start();
    let place = place(&provider);
    let ended = place.run(&["query", "nobody"]).with(1);
    assert_eq!(ended.out, "");
    assert!(ended.err.contains("declined with code"), "{}", ended.err);
    assert!(ended.err.contains("2001"), "{}", ended.err);
    let json = place.run(&["query", "nobody", "--json"]).with(1).json();
    assert_eq!(json["error"], "refused");
}

#[test]
fn a_wrong_secret_is_declined_and_not_shown() {
    let provider = Provider::start();
    let text = config(&provider.sandbox.base_url(), "").replace("s3cr3t", "hunter2hunter2");
    let ended = Place::with(&text).run(&["query", "taro"]).with(1);
    assert!(ended.err.contains("declined with code"), "{}", ended.err);
    assert!(!ended.err.contains("hunter2"), "{}", ended.err);
}

#[test]
fn an_answer_that_is_none_and_a_provider_that_is_gone_are_told_apart() {
    let provider = Provider::start();
    let taro = user("taro");
    let sandbox = &provider.sandbox;
    sandbox.set_status(&merchant(), &taro, Status::Approved, None);
    sandbox.set_faults(Faults {
        query_500: true,
        ..Faults::default()
    });
    let ended = place(&provider).run(&["query", "taro"]).with(1);
    assert!(ended.err.contains("HTTP status 500"), "{}", ended.err);
    let gone = Place::with(&config(&format!("http://{}/japan", nobody()), ""));
    let json = gone.run(&["query", "taro", "--json"]).with(1).json();
    assert_eq!(json["error"], "connect");
}
