//! `apply`: applications through the running service, one or a file of them.
//!
//! Promise: what was accepted once is not sent again, however often the same file is run, also after results are out:
//! the service itself knows, by the file's batch, and answers `already`. The name is sent and never printed.

use std::cell::Cell;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};

use super::client::{Answered, Service};
use super::output::Output;
use super::rows::{self, Line, Row};
use super::{Failure, block_on, load, merchant};
use crate::clock::{Entropy, OsEntropy};
use crate::domain::Batch;

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
    pub(super) again: bool,
    pub(super) batch: Option<String>,
}

/// One line's number, its user if its id is valid, and its fate.
type Done = (usize, Option<String>, Fate);

/// How far it came.
struct Run {
    done: Vec<Done>,
    total: usize,
    /// Why it ended before all were sent, if it did.
    stopped: Option<Stopped>,
}

enum Stopped {
    /// Ctrl-C.
    Interrupted,
    /// The service is gone, or cannot apply at all.
    Failed(Failure),
}

/// What became of one application.
enum Fate {
    Accepted,
    Already,
    /// Sent, without a clear answer; a query will tell.
    Unknown(String),
    Failed(String),
}

pub(super) fn run(config: Option<PathBuf>, order: Order, output: &Output) -> Result<(), Failure> {
    let (_, config) = load(config)?;
    let number = merchant(&config, order.merchant.as_deref())?
        .merchant_no
        .to_string();
    let lines = match (&order.file, order.user, order.furigana) {
        (Some(file), _, _) => read(file)?,
        (None, Some(user), Some(name)) => vec![Line {
            number: 1,
            read: Ok(single(&user, &name)?),
            id: user,
        }],
        _ => {
            return Err(Failure::Usage(
                "give --user and --furigana, or --file".into(),
            ));
        }
    };
    let service = Service::of(&config)?.patient(config.vexora.timeout + FOR_THE_REST);
    let file = order.file.as_deref();
    let batch = match (file, order.batch, order.again) {
        (None, ..) => None,
        (Some(_), Some(given), _) => {
            let given: Result<Batch, _> = given.parse();
            let given = given.map_err(|error| Failure::Usage(format!("--batch: {error}")))?;
            Some(given.as_str().to_owned())
        }
        (Some(_), None, true) => Some(format!("{:032x}", OsEntropy.bits())),
        (Some(_), None, false) => Some(batch_of(&number, &lines)),
    };
    let run = block_on(send(&service, &number, batch.as_deref(), lines, output))??;
    let resumed = match &batch {
        Some(batch) if order.again => format!("go on with --batch {batch} in place of --again"),
        _ => "run the same again".to_owned(),
    };
    report(run, file, &resumed, output)
}

/// The same for the same users of the same merchant in the same order. Names are not in it: what may be sent twice
/// must not hang on how somebody is spelt, and nothing made of them is kept.
fn batch_of(merchant: &str, lines: &[Line]) -> String {
    let mut digest = Sha256::new();
    digest.update(merchant);
    for line in lines {
        // Behind a zero byte, which no valid id holds.
        digest.update([0]);
        digest.update(&line.id);
    }
    let mut key = hex::encode(digest.finalize());
    key.truncate(32);
    key
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
    batch: Option<&str>,
    lines: Vec<Line>,
    output: &Output,
) -> Result<Run, Failure> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let total = lines.len();
    let stopping = Cell::new(false);
    let lines = futures_util::stream::iter(lines);
    let sent = lines
        .take_while(|_| std::future::ready(!stopping.get()))
        .map(|line| async move {
            let fate = match line.read {
                Ok(row) => send_one(service, merchant, batch, &row).await?,
                Err(why) => return Ok((line.number, None, Fate::Failed(why))),
            };
            Ok((line.number, Some(line.id), fate))
        });
    let mut under_way = std::pin::pin!(sent.buffer_unordered(AT_A_TIME));
    let mut done = Vec::with_capacity(total);
    let mut stopped = None;
    loop {
        let next = tokio::select! {
            next = under_way.next() => next,
            Some(()) = interrupts.recv() => {
                stopped = Some(Stopped::Interrupted);
                if !done.is_empty() {
                    output.progress_ends();
                }
                if stopping.replace(true) {
                    break;
                }
                output.note("waiting for the answers to what is under way; Ctrl-C again ends at once");
                continue;
            }
        };
        match next {
            None => break,
            Some(Ok(fate)) => done.push(fate),
            Some(Err(failure)) => {
                stopped = Some(Stopped::Failed(failure));
                break;
            }
        }
        if total > 1 {
            output.progress_of(done.len(), total, "applications");
        }
    }
    if total > 1 && !done.is_empty() {
        output.progress_ends();
    }
    done.sort_by_key(|(line, _, _)| *line);
    Ok(Run {
        // Interrupted with nothing left to do is done.
        stopped: stopped.filter(|_| done.len() < total),
        done,
        total,
    })
}

async fn send_one(
    service: &Service,
    merchant: &str,
    batch: Option<&str>,
    row: &Row,
) -> Result<Fate, Failure> {
    let body = json!({
        "merchant": merchant,
        "userId": row.user.as_str(),
        "usernameFurigana": row.name.expose(),
        "batch": batch,
    });
    let answered = service.post(&["applications"], &body).await?;
    Ok(fate(&answered)?)
}

/// What an answer means; an error concerns all that would follow.
fn fate(answered: &Answered) -> anyhow::Result<Fate> {
    Ok(match (answered.text("result"), answered.text("code")) {
        ("accepted", _) => Fate::Accepted,
        ("already", _) => Fate::Already,
        ("unknown", _) => Fate::Unknown(answered.text("cause").to_owned()),
        (_, "cannot_apply" | "no_such_merchant" | "merchant_needed") => {
            anyhow::bail!("{}", answered.problem())
        }
        _ => Fate::Failed(answered.problem()),
    })
}

fn report(run: Run, file: Option<&Path>, resumed: &str, output: &Output) -> Result<(), Failure> {
    let (mut accepted, mut already, mut unknown) = (0, 0, 0);
    let mut failed: Vec<Value> = Vec::new();
    for (line, user, fate) in &run.done {
        match fate {
            Fate::Accepted => accepted += 1,
            Fate::Already => already += 1,
            Fate::Unknown(cause) => {
                unknown += 1;
                let place = match (file, user) {
                    (Some(_), Some(user)) => format!("line {line}, user {user}: "),
                    _ => String::new(),
                };
                output.note(&format!("{place}no clear answer from Vexora: {cause}"));
            }
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
    let left = run.total - run.done.len();
    let mut text = format!("{accepted} accepted");
    for (number, what) in [
        (already, "applied for before, nothing sent"),
        (
            unknown,
            "sent without a clear answer: a query will tell, see `status USER`",
        ),
        (failed.len(), "failed"),
        (left, "without an answer yet"),
    ] {
        if number > 0 {
            text.push_str(&format!("; {number} {what}"));
        }
    }
    let value = json!({
        "accepted": accepted, "already": already, "unknown": unknown, "failed": failed,
        "left": left,
    });
    if file.is_some() || run.stopped.is_none() {
        output.value(&value, &text);
    }
    if run.stopped.is_some() && file.is_some() {
        output.note(&format!(
            "stopped after {} of {}; {resumed}: what was accepted is not sent twice",
            run.done.len(),
            run.total
        ));
    }
    match run.stopped {
        Some(Stopped::Failed(failure)) => Err(failure),
        Some(Stopped::Interrupted) => Err(Failure::Said),
        None if failed.is_empty() => Ok(()),
        None => Err(Failure::Said),
    }
}
