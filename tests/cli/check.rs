//! `check`: a configuration is good, or everything that is wrong with it is said at once.

use super::kit::{Arrived, Downstream, Place, Provider, config, endpoint, nobody};

const BASE: &str = "http://127.0.0.1:9/japan";

#[test]
fn a_good_file_is_found_in_the_working_directory_and_summed_up() {
    let place = Place::with(&config(BASE, &endpoint("http://127.0.0.1:9/hooks")));
    let ended = place.run(&["check"]).with(0);
    assert!(ended.out.starts_with("config.toml: "), "{}", ended.out);
    assert!(
        ended.out.contains("1 merchant, 1 endpoint"),
        "{}",
        ended.out
    );
    let json = place.run(&["check", "--json"]).with(0).json();
    assert_eq!(json["merchants"], 1);
    assert_eq!(json["endpoints"], 1);
    assert_eq!(json["online"], serde_json::json!([]));
}

#[test]
fn a_bad_file_ends_with_78_and_all_of_its_problems_on_stderr() {
    let text = config("ftp://127.0.0.1", "[log]\nlevle = \"info\"\n") + &endpoint("nonsense");
    let place = Place::with(&text);
    let ended = place.run(&["check"]).with(78);
    assert_eq!(ended.out, "");
    for problem in ["vexora.base_url", "log.levle", "endpoint \"ledger\": url"] {
        assert!(ended.err.contains(problem), "{problem}:\n{}", ended.err);
    }
    assert!(ended.err.contains("config.toml:8"), "{}", ended.err);
    assert!(ended.err.contains("hint: "), "{}", ended.err);
    assert!(!ended.err.contains("s3cr3t"), "{}", ended.err);
}

#[test]
fn a_file_that_is_not_there_ends_with_78_and_its_name() {
    let place = Place::with("");
    let ended = place
        .run(&["check", "--config", "elsewhere/relay.toml"])
        .with(78);
    assert!(ended.err.contains("elsewhere/relay.toml"), "{}", ended.err);
}

#[test]
fn a_secret_in_the_file_is_warned_of_once_the_relay_can_be_reached_from_elsewhere() {
    let tables = endpoint("https://ledger.example.com/hooks");
    let place = Place::with(&config(BASE, &tables));
    let ended = place.run(&["check"]).with(0);
    assert!(ended.err.contains("warning: "), "{}", ended.err);
    assert!(ended.err.contains("app_secret"), "{}", ended.err);
    assert!(!ended.err.contains("s3cr3t"), "{}", ended.err);
    let json = place.run(&["check", "--json"]).with(0).json();
    let warnings = json["warnings"].as_array().unwrap().iter();
    let of_secrets = warnings.filter(|text| text.as_str().unwrap().contains("in the file itself"));
    assert_eq!(of_secrets.count(), 2, "{json}");
}

#[test]
fn online_asks_the_provider_and_connects_to_each_endpoint_without_delivering() {
    let (provider, downstream) = (Provider::start(), Downstream::start());
    let tables = endpoint(&downstream.url);
    let place = Place::with(&config(&provider.sandbox.base_url(), &tables));
    let ended = place.run(&["check", "--online"]).with(0);
    assert!(ended.out.contains("ok     Vexora for merchant 1027749636"));
    assert!(
        ended.out.contains("ok     endpoint ledger"),
        "{}",
        ended.out
    );
    let Arrived { method, body, .. } = downstream.next();
    assert_eq!((method.as_str(), body.len()), ("HEAD", 0));
    // Declined for the user, and for a sign that is wrong on purpose.
    assert_eq!(provider.sandbox.requests().query.len(), 2);
}

#[test]
fn online_names_an_endpoint_that_nobody_answers_at_and_ends_with_1() {
    let provider = Provider::start();
    let tables = endpoint(&format!("http://{}/hooks", nobody()));
    let place = Place::with(&config(&provider.sandbox.base_url(), &tables));
    let ended = place.run(&["check", "--online"]).with(1);
    assert!(
        ended.out.contains("failed endpoint ledger"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("(connect)"), "{}", ended.out);
    let json = place.run(&["check", "--online", "--json"]).with(1).json();
    assert_eq!(json["online"][0]["ok"], true);
    assert_eq!(json["online"][1]["ok"], false);
    assert_eq!(json["online"][1]["what"], "endpoint ledger");
}

#[test]
fn online_says_when_the_provider_does_not_answer() {
    let place = Place::with(&config(&format!("http://{}/japan", nobody()), ""));
    let ended = place.run(&["check", "--online"]).with(1);
    assert!(
        ended.out.contains("failed Vexora for merchant 1027749636"),
        "{}",
        ended.out
    );
}

#[test]
fn a_secret_that_is_treated_like_a_wrong_one_is_not_called_right() {
    let provider = Provider::start();
    let text = config(&provider.sandbox.base_url(), "").replace("s3cr3t", "mistyped");
    let ended = Place::with(&text).run(&["check", "--online"]).with(0);
    assert!(
        ended.out.contains("unsure Vexora for merchant"),
        "{}",
        ended.out
    );
    assert!(
        ended.out.contains("the app secret may be wrong"),
        "{}",
        ended.out
    );
}

#[test]
fn problems_are_data_where_json_is_asked_for() {
    let place = Place::with("[server]\nlisten = 7\nack = \"\"\n");
    let ended = place.run(&["check", "--json"]).with(78);
    let problems = ended.json()["problems"].clone();
    let problems = problems.as_array().unwrap();
    assert!(problems.len() >= 3, "{problems:?}");
    assert!(
        problems.iter().any(|problem| problem["line"] == 2),
        "{problems:?}"
    );
    assert!(ended.err.contains("error: "), "{}", ended.err);
}
