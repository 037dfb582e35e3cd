//! `callbacks`, `events`, `deliveries`, `watched`, `reprocess`: what is in the store, newest first, and read again.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::args::Narrowed;
use super::client::Service;
use super::operator::{done, number_at, ordered, service, word};
use super::output::Output;
use super::table::{self, Cell};
use super::view::View;
use super::{Failure, jobs};
use crate::clock::{Clock, SystemClock};

/// Rows that one request asks for at most.
const PAGE: usize = 500;

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Callbacks,
    Events,
    Deliveries,
    Watched,
}

impl List {
    const fn name(self) -> &'static str {
        match self {
            Self::Callbacks => "callbacks",
            Self::Events => "events",
            Self::Deliveries => "deliveries",
            Self::Watched => "watched",
        }
    }

    const fn head(self) -> &'static [&'static str] {
        match self {
            Self::Callbacks => &["AT", "STATE", "SIGN", "USER", "CLAIM", "CALLBACK"],
            Self::Events => &["AT", "TYPE", "USER", "EVENT"],
            Self::Deliveries => &[
                "MADE", "STATE", "ENDPOINT", "TYPE", "USER", "TRIES", "LAST", "EVENT",
            ],
            Self::Watched => &["USER", "STATE", "SINCE", "NEXT", "QUERIES", "MERCHANT"],
        }
    }

    fn row(self, one: &Value, view: &View) -> Vec<Cell> {
        let plain = |key| Cell::new(word(one, key));
        let time = |key| view.cell(word(one, key));
        match self {
            Self::Callbacks => vec![
                time("at"),
                Cell::state(word(one, "state")),
                Cell::state(word(one, "sign")),
                plain("userId"),
                plain("claim"),
                plain("id"),
            ],
            Self::Events => vec![time("at"), plain("type"), plain("userId"), plain("id")],
            Self::Deliveries => {
                let held = one.get("held") == Some(&Value::Bool(true));
                let state = if held { "held" } else { word(one, "state") };
                vec![
                    time("made"),
                    Cell::state(state),
                    plain("endpoint"),
                    plain("type"),
                    plain("userId"),
                    Cell::new(number_at(one, "/attempts").to_string()),
                    plain("lastFailure"),
                    plain("event"),
                ]
            }
            Self::Watched => {
                let stuck = one.get("stuckSince").is_some_and(Value::is_string);
                vec![
                    plain("userId"),
                    Cell::state(if stuck { "stuck" } else { word(one, "state") }),
                    time("since"),
                    time("due"),
                    Cell::new(number_at(one, "/queries").to_string()),
                    plain("merchant"),
                ]
            }
        }
    }
}

/// What somebody wants to see.
pub(super) struct Asked {
    list: List,
    narrowed: Narrowed,
    state: Option<String>,
    types: Vec<String>,
    endpoint: Option<String>,
    watch: bool,
}

impl Asked {
    pub(super) const fn new(list: List, narrowed: Narrowed) -> Self {
        Self {
            list,
            narrowed,
            state: None,
            types: Vec::new(),
            endpoint: None,
            watch: false,
        }
    }

    pub(super) fn state(self, state: Option<String>) -> Self {
        Self { state, ..self }
    }

    pub(super) fn endpoint(self, endpoint: Option<String>) -> Self {
        Self { endpoint, ..self }
    }

    pub(super) fn watch(self, watch: bool) -> Self {
        Self { watch, ..self }
    }

    pub(super) fn types(self, types: Vec<String>) -> Self {
        Self { types, ..self }
    }
}

/// What a list is narrowed by, as the API takes it.
fn parameters(asked: &Asked) -> Result<Vec<(String, String)>, Failure> {
    let (now, narrowed) = (SystemClock.now(), &asked.narrowed);
    let time = |what, text: &Option<String>| {
        let text = text.as_deref();
        text.map(|text| jobs::time(what, text, now)).transpose()
    };
    let single = [
        ("merchant", narrowed.merchant.clone()),
        ("user", narrowed.user.clone()),
        ("endpoint", asked.endpoint.clone()),
        ("state", asked.state.clone()),
        ("since", time("--since", &narrowed.since)?),
        ("until", time("--until", &narrowed.until)?),
    ];
    let single = single
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let types = asked
        .types
        .iter()
        .map(|kind| ("type".to_owned(), kind.clone()));
    Ok(single.chain(types).collect())
}

/// Reads page after page until there is enough.
async fn read(
    service: &Service,
    list: List,
    parameters: &[(String, String)],
    limit: usize,
    output: &Output,
) -> Result<Value, Failure> {
    let mut rows: Vec<Value> = Vec::new();
    let mut next: Option<String> = None;
    let mut is_long = false;
    loop {
        let mut asked = parameters.to_vec();
        let missing = limit.saturating_sub(rows.len()).clamp(1, PAGE);
        asked.push(("limit".into(), missing.to_string()));
        asked.extend(next.take().map(|cursor| ("cursor".to_owned(), cursor)));
        let said = done(service.get_with(&[list.name()], &asked).await?)?;
        let page = said.get(list.name()).and_then(Value::as_array);
        rows.extend(page.into_iter().flatten().cloned());
        next = said.get("next").and_then(Value::as_str).map(str::to_owned);
        if next.is_none() || rows.len() >= limit {
            break;
        }
        output.progress(&format!("{} found, looking further", rows.len()));
        is_long = true;
    }
    if is_long {
        output.progress_ends();
    }
    Ok(json!({ list.name(): rows, "next": next }))
}

/// Shows a list.
pub(super) fn run(file: Option<PathBuf>, asked: &Asked, output: &Output) -> Result<(), Failure> {
    let service = service(file)?;
    let list = asked.list;
    let limit = usize::try_from(asked.narrowed.limit).unwrap_or(usize::MAX);
    output.again_and_again(asked.watch, async || {
        let parameters = parameters(asked)?;
        let said = read(&service, list, &parameters, limit, output).await?;
        let view = View::here(output);
        let found = said.get(list.name()).and_then(Value::as_array);
        let rows: Vec<Vec<Cell>> = found
            .into_iter()
            .flatten()
            .map(|one| list.row(one, &view))
            .collect();
        let text = if rows.is_empty() {
            format!(
                "no {}",
                if list == List::Watched {
                    "users watched"
                } else {
                    list.name()
                }
            )
        } else {
            table::lines(list.head(), &rows, view.place).join("\n")
        };
        output.value(&said, &text);
        if said.get("next").is_some_and(Value::is_string) && !output.json {
            output.note(&format!(
                "there are more than these {}; --limit shows more, --until what is older",
                rows.len()
            ));
        }
        Ok(())
    })
}

/// `reprocess`.
pub(super) fn reprocess(
    file: Option<PathBuf>,
    callback: &str,
    output: &Output,
) -> Result<(), Failure> {
    let path = ["callbacks", callback, "reprocess"];
    let said = ordered(&service(file)?, &path, &json!({}))?;
    let user = word(&said, "userId");
    let text = format!("Vexora is asked about {user} now; see `vexora-relay status {user}`");
    output.value(&said, &text);
    Ok(())
}
