//! `watch`: has the running service ask about users who applied by other ways, until their results are final.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::client::Service;
use super::output::Output;
use super::{Failure, block_on, load, merchant};
use crate::domain::UserId;

/// Users per request: each is a write of the service, and an operator's request should end within seconds.
const BATCH: usize = 1000;

pub(super) fn run(
    config: Option<PathBuf>,
    named: Option<&str>,
    users: &[String],
    file: Option<&Path>,
    output: &Output,
) -> Result<(), Failure> {
    let (_, config) = load(config)?;
    let number = merchant(&config, named)?.merchant_no.to_string();
    let users = match file {
        Some(file) => listed(file)?,
        None => users
            .iter()
            .map(|user| user.parse())
            .collect::<Result<_, _>>()
            .map_err(|error| Failure::Usage(format!("USER: {error}")))?,
    };
    let service = Service::of(&config)?;
    let fresh = block_on(send(&service, &number, &users, output))??;
    let text = format!(
        "{} watched until final, {fresh} of them new; the others were asked about already",
        users.len()
    );
    output.value(&json!({ "watched": users.len(), "new": fresh }), &text);
    Ok(())
}

/// One id per line; empty lines are none.
fn listed(file: &Path) -> Result<Vec<UserId>, Failure> {
    let bytes = super::file_or_stdin(file)?;
    let shown = file.display();
    let text = std::str::from_utf8(&bytes)
        .map_err(|_not_text| Failure::Usage(format!("{shown}: not UTF-8")))?;
    let lines = text.trim_start_matches('\u{FEFF}').lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            line.trim()
                .parse()
                .map_err(|error| Failure::Usage(format!("{shown}: line {}: {error}", index + 1)))
        })
        .collect()
}

async fn send(
    service: &Service,
    merchant: &str,
    users: &[UserId],
    output: &Output,
) -> Result<u64, Failure> {
    let mut fresh = 0;
    let mut done = 0;
    for batch in users.chunks(BATCH) {
        let ids: Vec<&str> = batch.iter().map(UserId::as_str).collect();
        let body = json!({ "merchant": merchant, "users": ids });
        let answered = service.post(&["watch"], &body).await?;
        if !answered.is_done() {
            if done > 0 {
                output.progress_ends();
            }
            return Err(Failure::Failed(anyhow::anyhow!(
                "stopped after {done} of {}: {}\n  hint: run the same again; who is watched already stays so",
                users.len(),
                answered.problem()
            )));
        }
        done += batch.len();
        fresh += answered
            .body
            .get("new")
            .and_then(|new| new.as_u64())
            .unwrap_or(0);
        if users.len() > BATCH {
            output.progress_of(done, users.len(), "users");
        }
    }
    if users.len() > BATCH {
        output.progress_ends();
    }
    Ok(fresh)
}
