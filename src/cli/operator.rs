//! What operators order of the running service, one at a time: endpoints and deliveries; over the admin API.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Answered, Service};
use super::output::Output;
use super::status::View;
use super::table::{self, Cell};
use super::{Failure, block_on, load};

/// A count over a large store takes a while.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn service(file: Option<PathBuf>) -> Result<Service, Failure> {
    let (_, config) = load(file)?;
    Ok(Service::of(&config)?.patient(PATIENCE))
}

/// What the service refuses is said in its own words.
pub(super) fn done(answered: Answered) -> Result<Value, Failure> {
    if answered.is_done() {
        return Ok(answered.body);
    }
    let (status, problem) = (answered.status, answered.problem());
    Err(anyhow::anyhow!("the service answered {status}: {problem}").into())
}

pub(super) fn ordered(
    service: &Service,
    segments: &[&str],
    body: &Value,
) -> Result<Value, Failure> {
    done(block_on(service.post(segments, body))??)
}

pub(super) fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("-")
}

pub(super) fn number_at(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn endpoint_line(one: &Value) -> String {
    let orphaned = if one.get("orphaned") == Some(&Value::Bool(true)) {
        "  (not in the configuration)"
    } else {
        ""
    };
    format!(
        "{:<24} {:<7} {:>8} pending  since {}{orphaned}",
        word(one, "name"),
        word(one, "state"),
        number_at(one, "/pending"),
        word(one, "since"),
    )
}

/// `endpoints`.
pub(super) fn endpoints(file: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    let said = done(block_on(service(file)?.get(&["endpoints"]))??)?;
    let all = said.get("endpoints").and_then(Value::as_array);
    let view = View::here();
    let row = |one: &Value| {
        let orphaned = one.get("orphaned") == Some(&Value::Bool(true));
        vec![
            Cell::new(word(one, "name")),
            Cell::state(word(one, "state")),
            Cell::new(view.brief(word(one, "since"))),
            Cell::new(number_at(one, "/pending").to_string()),
            Cell::new(number_at(one, "/abandoned").to_string()),
            Cell::new(if orphaned {
                "not in the configuration"
            } else {
                ""
            }),
        ]
    };
    let rows: Vec<Vec<Cell>> = all.into_iter().flatten().map(row).collect();
    let head = ["ENDPOINT", "STATE", "SINCE", "PENDING", "ABANDONED", ""];
    let lines = table::lines(&head, &rows, output.place());
    output.value(&said, &lines.join("\n"));
    Ok(())
}

/// `pause`, `resume` and `test`.
pub(super) fn order(
    file: Option<PathBuf>,
    endpoint: &str,
    order: &str,
    output: &Output,
) -> Result<(), Failure> {
    let said = ordered(&service(file)?, &["endpoints", endpoint, order], &json!({}))?;
    let text = if order == "test" {
        format!("event {} is on its way to {endpoint}", word(&said, "event"))
    } else {
        endpoint_line(&said)
    };
    output.value(&said, &text);
    Ok(())
}

/// `retry` and `discard`.
pub(super) fn delivery(
    file: Option<PathBuf>,
    (event, endpoint): (&str, &str),
    order: &str,
    output: &Output,
) -> Result<(), Failure> {
    let path = ["deliveries", event, endpoint, order];
    let said = ordered(&service(file)?, &path, &json!({}))?;
    let text = format!("{event} for {endpoint}: {}", word(&said, "state"));
    output.value(&said, &text);
    Ok(())
}

/// `retention`.
pub(super) fn retention(file: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    let said = done(block_on(service(file)?.get(&["retention"]))??)?;
    let kinds = [
        "events",
        "deliveries",
        "attempts",
        "callbacks",
        "queries",
        "jobs",
    ];
    let of = |place: &str| {
        let counts = kinds.map(|kind| {
            let number = number_at(&said, &format!("{place}/{kind}"));
            format!("{number} {kind}")
        });
        counts.join(", ")
    };
    let mut text = format!(
        "settled before {} and would go: {}",
        word(&said, "before"),
        of("/wouldGo")
    );
    if let Some(at) = said.pointer("/lastPass/at").and_then(Value::as_str) {
        text.push_str(&format!("\nlast pass {at}, gone: {}", of("/lastPass/gone")));
    }
    output.value(&said, &text);
    Ok(())
}
