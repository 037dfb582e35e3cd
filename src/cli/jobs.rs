//! What operators order of many deliveries at once: `replay`, and `retry` and `discard` of a whole endpoint; and `jobs`,
//! to watch and cancel them.
//!
//! Promise: what would be done is counted and said before it is done, and only done when somebody agrees.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Service;
use super::operator::{done, number_at, ordered, service, word};
use super::output::{Output, counted};
use super::table::{self, Cell};
use super::view::View;
use super::{Failure, block_on};
use crate::clock::{Clock, SystemClock};
use crate::domain::{JobKind, Timestamp};

/// How often a job is looked at while somebody watches: it goes on once a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a bulk verb was called with.
pub(super) struct Asked {
    pub(super) kind: JobKind,
    pub(super) endpoint: String,
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
    pub(super) types: Vec<String>,
    pub(super) states: Vec<String>,
    pub(super) dry_run: bool,
    pub(super) yes: bool,
    pub(super) watch: bool,
}

impl Asked {
    /// The body of the request, without whether it is a dry run.
    fn body(&self, now: Timestamp) -> Result<Value, Failure> {
        let at = |what, text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| time(what, text, now)).transpose()
        };
        Ok(json!({
            "since": at("--since", &self.since)?,
            "until": at("--until", &self.until)?.unwrap_or_else(|| now.to_string()),
            "types": self.types,
            "states": self.states,
        }))
    }

    /// `what`: would be, or is.
    fn said(&self, total: u64, would: bool) -> String {
        let endpoint = &self.endpoint;
        let number = usize::try_from(total).unwrap_or(usize::MAX);
        let is = match (would, total) {
            (true, _) => "would be",
            (false, 1) => "is",
            (false, _) => "are",
        };
        let states: Vec<&str> = if self.states.is_empty() {
            let usual = self.kind.usual_standings().iter();
            usual.map(|one| one.as_str()).collect()
        } else {
            self.states.iter().map(String::as_str).collect()
        };
        let deliveries = match number {
            1 => "1 delivery".to_owned(),
            more => format!("{more} deliveries"),
        };
        let deliveries = format!("{deliveries} to {endpoint} ({})", states.join(" or "));
        match self.kind {
            JobKind::Replay => {
                let is = if would { "would be" } else { "is" };
                format!("{endpoint} {is} told again of {}", counted(number, "event"))
            }
            JobKind::Retry => format!("{deliveries} {is} tried again"),
            JobKind::Discard => format!("{deliveries} {is} given up"),
        }
    }
}

/// Says what it would do, asks, and has it done.
pub(super) fn run(file: Option<PathBuf>, asked: &Asked, output: &Output) -> Result<(), Failure> {
    let mut body = asked.body(SystemClock.now())?;
    let service = service(file)?;
    let path = ["endpoints", asked.endpoint.as_str(), asked.kind.as_str()];
    let mut order = |dry_run: bool| {
        if let Some(fields) = body.as_object_mut() {
            fields.insert("dry_run".into(), dry_run.into());
        }
        ordered(&service, &path, &body)
    };
    let counted_first = order(true)?;
    let total = number_at(&counted_first, "/total");
    let would = asked.said(total, true);
    if asked.dry_run {
        output.value(&counted_first, &would);
        return Ok(());
    }
    if !asked.yes && !agreed(&would, output)? {
        output.note("nothing was done");
        return Err(Failure::Said);
    }
    if total == 0 {
        output.value(&counted_first, &format!("nothing to do: {would}"));
        return Ok(());
    }
    let said = order(false)?;
    let id = number_at(&said, "/job/id").to_string();
    let is = asked.said(number_at(&said, "/total"), false);
    if asked.watch {
        output.note(&format!("job {id}: {is}"));
        return follow(&service, &id, output);
    }
    let text = format!("job {id}: {is}; watch it with `vexora-relay jobs {id} --watch`");
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
pub(super) fn time(what: &str, text: &str, now: Timestamp) -> Result<String, Failure> {
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

fn table_of<'a>(jobs: impl Iterator<Item = &'a Value>, output: &Output) -> String {
    let view = View::here(output);
    let row = |job: &Value| {
        let (done, total) = (number_at(job, "/done"), number_at(job, "/total"));
        vec![
            Cell::new(number_at(job, "/id").to_string()),
            Cell::new(word(job, "kind")),
            Cell::new(word(job, "endpoint")),
            Cell::state(word(job, "state")),
            Cell::new(format!("{done} of {total}")),
            view.cell(word(job, "ordered")),
            view.cell(word(job, "ended")),
        ]
    };
    let rows: Vec<Vec<Cell>> = jobs.map(row).collect();
    if rows.is_empty() {
        return "no jobs".to_owned();
    }
    let head = [
        "JOB", "KIND", "ENDPOINT", "STATE", "DONE", "ORDERED", "ENDED",
    ];
    table::lines(&head, &rows, view.place).join("\n")
}

/// `jobs`.
pub(super) fn list(file: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    let said = done(block_on(service(file)?.get(&["jobs"]))??)?;
    let all = said.get("jobs").and_then(Value::as_array);
    output.value(&said, &table_of(all.into_iter().flatten(), output));
    Ok(())
}

/// `jobs N`: shows it, cancels it, or waits until it has ended.
pub(super) fn one(
    file: Option<PathBuf>,
    id: u64,
    (watch, cancel): (bool, bool),
    output: &Output,
) -> Result<(), Failure> {
    let (service, id) = (service(file)?, id.to_string());
    if watch {
        return follow(&service, &id, output);
    }
    let job = if cancel {
        ordered(&service, &["jobs", &id, "cancel"], &json!({}))?
    } else {
        done(block_on(service.get(&["jobs", &id]))??)?
    };
    output.value(&job, &table_of(std::iter::once(&job), output));
    Ok(())
}

/// Waits until a job has ended; one that was cancelled has failed.
fn follow(service: &Service, id: &str, output: &Output) -> Result<(), Failure> {
    let job = block_on(async {
        let mut is_long = false;
        loop {
            let job = done(service.get(&["jobs", id]).await?)?;
            if word(&job, "state") != "running" {
                if is_long {
                    output.progress_ends();
                }
                return Ok::<_, Failure>(job);
            }
            let number = |place| usize::try_from(number_at(&job, place)).unwrap_or(usize::MAX);
            let (done, total) = (number("/done"), number("/total"));
            output.progress_of(done, total, "deliveries");
            is_long = true;
            let next = SystemClock.now().plus(LOOK_EVERY);
            SystemClock.sleep_until(next).await;
        }
    })??;
    output.value(&job, &table_of(std::iter::once(&job), output));
    match word(&job, "state") {
        "done" => Ok(()),
        _ => Err(Failure::Said),
    }
}
