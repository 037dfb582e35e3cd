//! The configuration read again while the service runs, and what is said of it.
//!
//! Promise: the log says by name what came, went and changed, and of what went whether anything is kept for it; no
//! value of any key, and no more names than a person reads.

use std::path::Path;

use super::super::logging::Logging;
use super::super::output::counted;
use crate::app::{Changes, Reloaded, Running};
use crate::config;
use crate::config::settings::Config;
use crate::store::EndpointTally;

/// Names of a kind in a line at most: more nobody reads.
const SHOWN: usize = 20;

/// Reads the file again and goes over to what it says; whatever is wrong with it is said, and nothing has changed.
/// Returns how many endpoints there are now, or in a few words why everything is as it was.
pub(super) async fn reload(
    file: &Path,
    running: &mut Running,
    logging: &Logging,
) -> Result<usize, String> {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(problems) => {
            running.not_reloaded();
            for problem in problems.iter() {
                tracing::error!(%problem, "not reloaded: {problem}");
            }
            tracing::error!(
                problems = problems.len(),
                "not reloaded: {} has {}; everything goes on as it was",
                file.display(),
                counted(problems.len(), "problem")
            );
            return Err(format!(
                "{}, see the log",
                counted(problems.len(), "problem")
            ));
        }
    };
    let reloaded = match running.reload(&config) {
        Ok(reloaded) => reloaded,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "not reloaded: {error}; everything goes on as it was"
            );
            return Err(error.to_string());
        }
    };
    if let Err(error) = logging.reload(&config.log) {
        tracing::error!(?error, "the log level could not be changed");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for key in &reloaded.at_next_start {
        tracing::warn!(key, "{key} has changed and counts from the next start on");
    }
    announce(file, &config, &reloaded);
    leftovers(running, &reloaded.endpoints.removed).await;
    Ok(config.endpoints.len())
}

/// One line with all that changed.
fn announce(file: &Path, config: &Config, reloaded: &Reloaded) {
    let (endpoints, merchants) = (&reloaded.endpoints, &reloaded.merchants);
    tracing::info!(
        config = %file.display(),
        merchants = config.merchants.len(),
        endpoints = config.endpoints.len(),
        added = bounded(&endpoints.added, ","),
        changed = bounded(&with_keys(endpoints), ","),
        removed = bounded(&endpoints.removed, ","),
        merchants_added = bounded(&merchants.added, ","),
        merchants_changed = bounded(&with_keys(merchants), ","),
        merchants_removed = bounded(&merchants.removed, ","),
        at_next_start = reloaded.at_next_start.join(","),
        "reloaded: {}, {}{}{}",
        counted(config.merchants.len(), "merchant"),
        counted(config.endpoints.len(), "endpoint"),
        said("merchants", merchants),
        said("endpoints", endpoints),
    );
}

/// Names, each with the keys that differ.
fn with_keys(changes: &Changes) -> Vec<String> {
    let changed = changes.changed.iter();
    changed
        .map(|(name, keys)| format!("{name} ({})", keys.join(" ")))
        .collect()
}

/// The first names, and how many more there are.
fn bounded(names: &[String], between: &str) -> String {
    let first = names.get(..SHOWN).unwrap_or(names);
    let text = first.join(between);
    match names.len() - first.len() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// `; endpoints added: second, third; changed: ledger (url secret)`.
fn said(what: &str, changes: &Changes) -> String {
    let changed = with_keys(changes);
    let parts = [
        ("added", &changes.added),
        ("changed", &changed),
        ("removed", &changes.removed),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(how, names)| format!("{how}: {}", bounded(names, ", ")));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("; {what} {}", parts.join("; "))
}

/// What is kept for endpoints that are gone, and what to do with it.
async fn leftovers(running: &Running, removed: &[String]) {
    if removed.is_empty() {
        return;
    }
    let tallies = match running.store().tallies().await {
        Ok(tallies) => tallies.endpoints,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what is kept for the endpoints that are gone could not be counted; `vexora-relay endpoints` shows it"
            );
            return;
        }
    };
    let kept = tallies.iter().filter(|(name, tally)| {
        let is_gone = removed.iter().any(|gone| gone == name.as_str());
        is_gone && tally.pending + tally.given_up > 0
    });
    let mut more = 0;
    for (at, (name, tally)) in kept.enumerate() {
        if at >= SHOWN {
            more += 1;
            continue;
        }
        let (pending, abandoned) = (tally.pending, tally.given_up);
        tracing::warn!(
            endpoint = %name,
            pending,
            abandoned,
            "endpoint {name} is gone from the configuration; {}",
            remedy(name.as_str(), *tally)
        );
    }
    if more > 0 {
        tracing::warn!(
            endpoints = more,
            "for {more} more endpoints that are gone from the configuration deliveries are kept; `vexora-relay endpoints` shows them"
        );
    }
}

/// What is kept, and what to do with it.
fn remedy(name: &str, tally: EndpointTally) -> String {
    let (kept, states) = match (tally.pending, tally.given_up) {
        (pending, 0) => (format!("{pending} waiting"), ""),
        (0, abandoned) => (format!("{abandoned} abandoned"), " --state abandoned"),
        (pending, abandoned) => (
            format!("{pending} waiting, {abandoned} abandoned"),
            " --state waiting --state abandoned",
        ),
    };
    format!(
        "deliveries kept for it: {kept}. Put it back and what waits goes out, or give up what is kept by `vexora-relay discard --endpoint {name}{states}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(number: usize) -> Vec<String> {
        (0..number).map(|at| format!("e{at:02}")).collect()
    }

    #[test]
    fn no_line_names_more_than_twenty() {
        assert_eq!(bounded(&names(2), ","), "e00,e01");
        let whole = bounded(&names(20), ", ");
        assert!(whole.ends_with(", e18, e19"), "{whole}");
        let cut = bounded(&names(23), ", ");
        assert!(cut.ends_with(", e18, e19 and 3 more"), "{cut}");
        let changed = names(1000).into_iter().map(|name| (name, vec!["url"]));
        let changes = Changes {
            added: names(1000),
            changed: changed.collect(),
            removed: names(1000),
        };
        let said = said("endpoints", &changes);
        assert_eq!(said.matches(" and 980 more").count(), 3, "{said}");
        assert!(said.len() < 1000, "{said}");
    }

    #[test]
    fn what_is_kept_for_an_endpoint_that_is_gone_is_said_with_what_to_do() {
        let of = |pending, given_up| EndpointTally {
            pending,
            given_up,
            discarded: 7,
        };
        for (tally, kept, states) in [
            (of(2, 0), "2 waiting", ""),
            (of(0, 3), "3 abandoned", " --state abandoned"),
            (
                of(2, 3),
                "2 waiting, 3 abandoned",
                " --state waiting --state abandoned",
            ),
        ] {
            let expected = format!(
                "deliveries kept for it: {kept}. Put it back and what waits goes out, or give up what is kept by `vexora-relay discard --endpoint old{states}`"
            );
            assert_eq!(remedy("old", tally), expected);
        }
    }
}
