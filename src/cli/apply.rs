//! `apply`: applications through the running service, one or a file of them.
//!
//! Promise: what was accepted once is not sent again, however often the same file is run: the service itself knows,
//! and answers `already`. The name is sent and never printed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::client::{Answered, Service};
use super::output::Output;
use super::rows::{self, Line, Row};
use super::{Failure, block_on, load, merchant};

/// Applications under way at a time: enough to hide the provider's latency, few enough to be nobody's flood.
const AT_A_TIME: usize = 4;

/// Beside what the provider may take: the store, and the way there and back.
const FOR_THE_REST: Duration = Duration::from_secs(50);

/// What is to be applied for.
pub(super) struct Order {
    pub(super) merchant: Option<String>,
    pub(super) user: Option<String>,
    pub(super) furigana: Option<String>,
    pub(super) file: Option<PathBuf>,
}

/// What became of one application.
enum Fate {
    Accepted,
    Already,
    /// Sent; a query will tell.
    Unknown,
    Failed(String),
}

pub(super) fn run(config: Option<PathBuf>, order: Order, output: &Output) -> Result<(), Failure> {
    let (_, config) = load(config)?;
    let number = merchant(&config, order.merchant.as_deref())?
        .merchant_no
        .to_string();
    let lines = match (&order.file, order.user, order.furigana) {
        (Some(file), _, _) => read(file)?,
        (None, Some(user), Some(name)) => vec![(1, Ok(single(&user, &name)?))],
        _ => {
            return Err(Failure::Usage(
                "give --user and --furigana, or --file".into(),
            ));
        }
    };
    let service = Service::of(&config)?.patient(config.vexora.timeout + FOR_THE_REST);
    let fates = block_on(send(&service, &number, lines, output))??;
    report(&fates, order.file.as_deref(), output)
}

fn single(user: &str, name: &str) -> Result<Row, Failure> {
    let mut typed = String::new();
    let name = if name == "-" {
        std::io::stdin().read_to_string(&mut typed)?;
        typed.trim_end_matches(['\r', '\n'])
    } else {
        name
    };
    let wrong = |what: &str, error| Failure::Usage(format!("{what}: {error}"));
    Ok(Row {
        user: user.parse().map_err(|error| wrong("--user", error))?,
        name: name.parse().map_err(|error| wrong("--furigana", error))?,
    })
}

fn read(file: &Path) -> Result<Vec<Line>, Failure> {
    let bytes = super::file_or_stdin(file)?;
    rows::parse(&bytes).map_err(|why| Failure::Usage(format!("{}: {why}", file.display())))
}

async fn send(
    service: &Service,
    merchant: &str,
    lines: Vec<Line>,
    output: &Output,
) -> Result<Vec<(usize, Option<String>, Fate)>, Failure> {
    let total = lines.len();
    let sent = lines.into_iter().map(|(line, read)| async move {
        match read {
            Ok(row) => {
                let user = row.user.to_string();
                let fate = send_one(service, merchant, &row).await?;
                Ok((line, Some(user), fate))
            }
            Err(why) => Ok((line, None, Fate::Failed(why))),
        }
    });
    let mut under_way = futures_util::stream::iter(sent).buffer_unordered(AT_A_TIME);
    let mut fates = Vec::with_capacity(total);
    while let Some(done) = under_way.next().await {
        match done {
            Ok(fate) => fates.push(fate),
            Err(failure) => {
                output.progress_ends();
                output.note(&format!(
                    "stopped after {} of {total}; run the same again: what was accepted is not sent twice",
                    fates.len()
                ));
                return Err(failure);
            }
        }
        if total > 1 {
            output.progress(&format!("{} of {total} applications", fates.len()));
        }
    }
    output.progress_ends();
    fates.sort_by_key(|(line, _, _)| *line);
    Ok(fates)
}

async fn send_one(service: &Service, merchant: &str, row: &Row) -> Result<Fate, Failure> {
    let body = json!({
        "merchant": merchant,
        "userId": row.user.as_str(),
        "usernameFurigana": row.name.expose(),
    });
    let answered = service.post(&["applications"], &body).await?;
    Ok(fate(&answered)?)
}

/// What an answer means; an error concerns all that would follow.
fn fate(answered: &Answered) -> anyhow::Result<Fate> {
    Ok(match (answered.text("result"), answered.text("code")) {
        ("accepted", _) => Fate::Accepted,
        ("already", _) => Fate::Already,
        ("unknown", _) => Fate::Unknown,
        (_, "cannot_apply" | "no_such_merchant" | "merchant_needed") => {
            anyhow::bail!("{}", answered.problem())
        }
        _ => Fate::Failed(answered.problem()),
    })
}

fn report(
    fates: &[(usize, Option<String>, Fate)],
    file: Option<&Path>,
    output: &Output,
) -> Result<(), Failure> {
    let (mut accepted, mut already, mut unknown) = (0, 0, 0);
    let mut failed: Vec<Value> = Vec::new();
    for (line, user, fate) in fates {
        match fate {
            Fate::Accepted => accepted += 1,
            Fate::Already => already += 1,
            Fate::Unknown => unknown += 1,
            Fate::Failed(why) => {
                let place = match (file, user) {
                    (Some(_), Some(user)) => format!("line {line}, user {user}"),
                    (Some(_), None) => format!("line {line}"),
                    (None, _) => "not applied".to_owned(),
                };
                output.error(&format!("{place}: {why}"));
                failed.push(json!({ "line": line, "userId": user, "why": why }));
            }
        }
    }
    let mut text = format!("{accepted} accepted");
    for (number, what) in [
        (already, "applied for before, nothing sent"),
        (
            unknown,
            "sent without a clear answer: a query will tell, see `status USER`",
        ),
        (failed.len(), "failed"),
    ] {
        if number > 0 {
            text.push_str(&format!("; {number} {what}"));
        }
    }
    let value = json!({
        "accepted": accepted, "already": already, "unknown": unknown, "failed": failed,
    });
    output.value(&value, &text);
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::Said)
    }
}
