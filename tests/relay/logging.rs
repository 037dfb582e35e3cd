//! The log of the real program: one line for each callback, query and attempt, joined by ids, in both formats; every
//! field of theirs is in `docs/logging.md`. Lines are gathered before they are written; what that may not lose is here.

use std::path::Path;

use serde_json::Value;
use vexora_relay::domain::Status;

use crate::kit::{
    APP_SECRET, MERCHANT, Reply, Service, Setup, Sink, TOKEN, merchant, own_sign, request, user,
};

const REQUEST: &str = "from-the-caller-1";

/// A result comes in and is told to one who hears it at the second attempt; returns the log.
async fn story(format: &str) -> Vec<String> {
    let sink = Sink::start().await;
    sink.answers(Reply::status(500));
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new()
        .log(&format!("format = \"{format}\""))
        .endpoint("ledger", &sink.url(), "retry = [\"200ms\"]");
    let (sandbox, file) = setup.write(directory.path()).await;
    sandbox.set_status(&merchant(), &user("taro"), Status::Approved, None);
    let mut service = Service::start(&file);
    let params = [("userId", "taro"), ("authenticationStatus", "2")];
    let sign = own_sign(&params, APP_SECRET);
    let body = format!(r#"{{"userId":"taro","authenticationStatus":"2","sign":"{sign}"}}"#);
    let (head, _) = request(
        service.address,
        &format!("POST /callback/{MERCHANT}/{TOKEN} HTTP/1.1\r\nx-request-id: {REQUEST}\r\n"),
        body.as_bytes(),
    )
    .await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains(&format!("x-request-id: {REQUEST}")), "{head}");
    service.wait_for("failed, next attempt at");
    service.wait_for("abandoned after");
    service.stop()
}

fn only<'a>(lines: &'a [Value], what: &str) -> &'a Value {
    let mut found = lines.iter().filter(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with(what)
    });
    let line = found
        .next()
        .unwrap_or_else(|| panic!("no {what:?} in {lines:#?}"));
    assert!(found.next().is_none(), "two lines of {what:?}");
    line
}

fn keys(line: &Value) -> Vec<&str> {
    let object = line.as_object().unwrap();
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.retain(|key| !["timestamp", "level", "target", "message"].contains(key));
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_json_the_ids_lead_from_the_request_to_the_last_attempt() {
    let log = story("json").await;
    let lines: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let callback = only(&lines, "callback accepted");
    let verified = only(&lines, "verification answered approved");
    let failed = only(&lines, "delivery to ledger failed, next attempt at");
    let abandoned = only(&lines, "delivery to ledger abandoned");
    assert_eq!(callback["request"], REQUEST);
    assert_eq!(callback["outcome"], "accepted");
    assert_eq!(callback["sign"], "valid");
    assert!(callback["callback"].is_string());
    assert_eq!(verified["callback"], callback["callback"]);
    assert_eq!(verified["merchant"], callback["merchant"]);
    assert_eq!(
        (&verified["outcome"], &verified["query"]),
        (&"approved".into(), &1.into())
    );
    assert!(verified["event"].is_string());
    for (line, attempt) in [(failed, 1), (abandoned, 2)] {
        assert_eq!(line["event"], verified["event"]);
        assert_eq!(line["attempt"], attempt);
        assert_eq!(
            (&line["outcome"], &line["status"]),
            (&"status".into(), &500.into())
        );
    }
    assert!(failed["next_due"].is_string());
    assert_eq!(abandoned["reason"], "exhausted");
    for line in [callback, verified, failed, abandoned] {
        assert!(line["took_ms"].is_u64(), "{line}");
    }
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/logging.md");
    let table = std::fs::read_to_string(table).unwrap();
    for line in [callback, verified, failed, abandoned] {
        for key in keys(line) {
            assert!(
                table.contains(&format!("\n| `{key}` | ")),
                "{key} is not in docs/logging.md"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_text_the_same_ids_are_there() {
    let log = story("text").await;
    let line = |what: &str| {
        let found = log.iter().find(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("no {what:?} in\n{}", log.join("\n")))
    };
    let field = |line: &str, key: &str| {
        let (_, rest) = line.split_once(&format!(" {key}=")).expect(line);
        rest.split(' ').next().unwrap().to_owned()
    };
    let callback = line("callback accepted");
    let verified = line("verification answered approved");
    let failed = line("delivery to ledger failed, next attempt at");
    let abandoned = line("delivery to ledger abandoned");
    assert_eq!(field(callback, "request"), format!("{REQUEST:?}"));
    assert_eq!(field(verified, "callback"), field(callback, "callback"));
    for (line, attempt) in [(failed, "1"), (abandoned, "2")] {
        assert_eq!(field(line, "event"), field(verified, "event"));
        assert_eq!(field(line, "attempt"), attempt);
    }
}

/// A callback for a user whose results nobody asks about; returns the status of the answer.
async fn post(service: &Service, user: &str) -> String {
    let (head, _) = request(
        service.address,
        &format!("POST /callback/{MERCHANT}/{TOKEN} HTTP/1.1\r\nx-request-id: of-{user}\r\n"),
        format!(r#"{{"userId":"{user}"}}"#).as_bytes(),
    )
    .await;
    head.split(' ').nth(1).unwrap().to_owned()
}

fn count(log: &[String], what: &str) -> usize {
    log.iter().filter(|line| line.contains(what)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_stopped_has_logged_everything_to_its_last_word() {
    let directory = tempfile::tempdir().unwrap();
    let (_sandbox, file) = Setup::new().write(directory.path()).await;
    let service = Service::start(&file);
    for number in 0..100 {
        assert_eq!(post(&service, &format!("u{number}")).await, "200");
    }
    let log = service.stop();
    let accepted = log.iter().filter(|line| line.contains("callback accepted"));
    let requests: Vec<String> = accepted
        .map(|line| serde_json::from_str::<Value>(line).expect(line))
        .map(|line| line["request"].as_str().unwrap().to_owned())
        .collect();
    let sent: Vec<String> = (0..100).map(|number| format!("of-u{number}")).collect();
    assert_eq!(requests, sent, "each, and in order");
    let last: Value = serde_json::from_str(log.last().unwrap()).unwrap();
    assert_eq!(last["message"], "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_in_the_log_before_what_follows_it_though_the_process_is_killed_then() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new().store("min_free = \"1000000 TiB\"\n");
    let (_sandbox, file) = setup.write(directory.path()).await;
    let service = Service::start(&file);
    assert_eq!(post(&service, "u1").await, "503");
    let log = service.kill();
    assert_eq!(count(&log, "callback not accepted"), 1, "{log:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_sandbox, file) = Setup::new().write(directory.path()).await;
    let mut service = Service::start(&file);
    service.deaf();
    for number in 0..20 {
        assert_eq!(post(&service, &format!("u{number}")).await, "200");
        // An error, which is written at once.
        std::fs::write(&file, "nonsense").unwrap();
        service.reload();
    }
    service.stop();
}
