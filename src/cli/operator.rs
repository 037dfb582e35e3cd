//! What operators order of the running service, one at a time: endpoints and deliveries; over the admin API.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Answered, Service};
use super::output::Output;
use super::table::{self, Cell};
use super::view::View;
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

/// How endpoints stand.
fn table_of<'a>(endpoints: impl Iterator<Item = &'a Value>, output: &Output) -> String {
    let view = View::here(output);
    let row = |one: &Value| {
        let orphaned = one.get("orphaned") == Some(&Value::Bool(true));
        vec![
            Cell::new(word(one, "name")),
            Cell::state(word(one, "state")),
            view.cell(word(one, "since")),
            Cell::new(number_at(one, "/pending").to_string()),
            Cell::new(number_at(one, "/abandoned").to_string()),
            Cell::new(if orphaned {
                "not in the configuration"
            } else {
                ""
            }),
        ]
    };
    let rows: Vec<Vec<Cell>> = endpoints.map(row).collect();
    if rows.is_empty() {
        return "no endpoints".to_owned();
    }
    let head = ["ENDPOINT", "STATE", "SINCE", "PENDING", "ABANDONED", ""];
    table::lines(&head, &rows, view.place).join("\n")
}

/// `endpoints`.
pub(super) fn endpoints(file: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    let said = done(block_on(service(file)?.get(&["endpoints"]))??)?;
    let all = said.get("endpoints").and_then(Value::as_array);
    output.value(&said, &table_of(all.into_iter().flatten(), output));
    Ok(())
}

/// `pause` and `resume`.
pub(super) fn order(
    file: Option<PathBuf>,
    endpoint: &str,
    order: &str,
    output: &Output,
) -> Result<(), Failure> {
    let said = ordered(&service(file)?, &["endpoints", endpoint, order], &json!({}))?;
    output.value(&said, &table_of(std::iter::once(&said), output));
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
    output.value(&said, &bygone(&said, &View::here(output)));
    Ok(())
}

/// What retention would delete now, and what it deleted last.
fn bygone(said: &Value, view: &View) -> String {
    let last = said.pointer("/lastPass/at").and_then(Value::as_str);
    let before = view.brief(word(said, "before"));
    let last_pass = match last {
        Some(at) => format!("last pass {}", view.brief(at)),
        None => "no pass since the service was started".to_owned(),
    };
    let kinds = [
        "events",
        "deliveries",
        "attempts",
        "callbacks",
        "queries",
        "jobs",
    ];
    let row = |kind: &str| {
        let count = |place| number_at(said, &format!("{place}/{kind}")).to_string();
        let mut row = vec![Cell::new(kind), Cell::new(count("/wouldGo"))];
        row.extend(last.map(|_| Cell::new(count("/lastPass/gone"))));
        row
    };
    let rows: Vec<Vec<Cell>> = kinds.iter().map(|kind| row(kind)).collect();
    let head = ["RECORDS", "WOULD GO", "LAST PASS"];
    let head = head.get(..rows.first().map_or(0, Vec::len));
    let table = table::lines(head.unwrap_or_default(), &rows, view.place).join("\n");
    format!("what was settled before {before} goes\n{last_pass}\n\n{table}")
}
