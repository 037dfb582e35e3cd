//! What operators order of the running service: endpoints, deliveries, replays; over the admin API.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Answered, Service};
use super::output::{Output, counted};
use super::{Failure, block_on, load};
use crate::clock::{Clock, SystemClock};
use crate::domain::Timestamp;

/// A count over a large store takes a while.
const PATIENCE: Duration = Duration::from_secs(120);

fn service(file: Option<PathBuf>) -> Result<Service, Failure> {
    let (_, config) = load(file)?;
    Ok(Service::of(&config)?.patient(PATIENCE))
}

/// What the service refuses is said in its own words.
fn done(answered: Answered) -> Result<Value, Failure> {
    if answered.is_done() {
        return Ok(answered.body);
    }
    let (status, problem) = (answered.status, answered.problem());
    Err(anyhow::anyhow!("the service answered {status}: {problem}").into())
}

fn ordered(service: &Service, segments: &[&str], body: &Value) -> Result<Value, Failure> {
    done(block_on(service.post(segments, body))??)
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("-")
}

fn number_at(value: &Value, pointer: &str) -> u64 {
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
    let lines: Vec<String> = all.into_iter().flatten().map(endpoint_line).collect();
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

/// What `replay` was called with.
pub(super) struct ReplayArgs {
    pub(super) endpoint: String,
    pub(super) since: String,
    pub(super) until: Option<String>,
    pub(super) types: Vec<String>,
    pub(super) states: Vec<String>,
    pub(super) dry_run: bool,
    pub(super) yes: bool,
}

/// `replay`: says what it would do, asks, and has it done.
pub(super) fn replay(
    file: Option<PathBuf>,
    args: &ReplayArgs,
    output: &Output,
) -> Result<(), Failure> {
    let now = SystemClock.now();
    let until = args.until.as_deref().map(|text| time("--until", text, now));
    let mut body = json!({
        "since": time("--since", &args.since, now)?,
        "until": until.transpose()?.unwrap_or_else(|| now.to_string()),
        "types": args.types,
        "states": args.states,
        "dry_run": true,
    });
    let service = service(file)?;
    let path = ["endpoints", args.endpoint.as_str(), "replay"];
    let counted_first = ordered(&service, &path, &body)?;
    let total = number_at(&counted_first, "/total");
    let number = counted(usize::try_from(total).unwrap_or(usize::MAX), "event");
    let would = format!("{} would be told again of {number}", args.endpoint);
    if args.dry_run {
        output.value(&counted_first, &would);
        return Ok(());
    }
    if !args.yes && !agreed(&would, output)? {
        return Err(Failure::Said);
    }
    if let Some(dry_run) = body.get_mut("dry_run") {
        *dry_run = json!(false);
    }
    let said = ordered(&service, &path, &body)?;
    let id = number_at(&said, "/replay/id");
    let text = format!("replay {id}: {} is told again of {number}", args.endpoint);
    output.value(&said, &text);
    Ok(())
}

/// Asks a person. A script has to say `--yes`.
fn agreed(would: &str, output: &Output) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{would}; --yes does it without asking, --dry-run never"
        )));
    }
    output.note(&format!("{would}. Go on? [y/N]"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// RFC 3339, or an age such as `1h`.
fn time(what: &str, text: &str, now: Timestamp) -> Result<String, Failure> {
    if let Ok(age) = humantime::parse_duration(text) {
        return Ok(now.minus(age).to_string());
    }
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(Failure::Usage(format!(
        "{what}: expected a time such as 2026-11-21T10:00:00Z, or an age such as 1h"
    )))
}
