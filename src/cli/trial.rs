//! `test`: an endpoint is sent a test event, and somebody may wait for what becomes of it.
//!
//! Promise: where the event is held, that is said at once, with why and until when; nobody waits for what cannot come.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::operator::{done, ordered, service, word};
use super::output::Output;
use super::status::entry_text;
use super::view::View;
use super::{Failure, block_on};
use crate::clock::{Clock, SystemClock};

/// How often it is looked at: a receiver that is well has answered by then.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Sends it, and with `watch` waits until it was taken or an attempt failed.
pub(super) fn run(
    file: Option<PathBuf>,
    endpoint: &str,
    watch: bool,
    output: &Output,
) -> Result<(), Failure> {
    let service = service(file)?;
    let said = ordered(&service, &["endpoints", endpoint, "test"], &json!({}))?;
    let (event, view) = (word(&said, "event"), View::here(output));
    let text = tested(&said, endpoint, &view);
    if !watch {
        output.value(&said, &text);
        return Ok(());
    }
    output.note(&text);
    let (found, ended) = block_on(async {
        loop {
            let found = done(service.get(&["deliveries", event, endpoint]).await?)?;
            if let Some(ended) = ended(&found, &view) {
                return Ok::<_, Failure>((found, ended));
            }
            let stands = done(service.get(&["endpoints", endpoint]).await?)?;
            if word(&stands, "state") == "paused" {
                let text = format!("nothing goes to {endpoint} while it is paused");
                return Ok((found, (false, text)));
            }
            let next = SystemClock.now().plus(LOOK_EVERY);
            SystemClock.sleep_until(next).await;
        }
    })??;
    let (is_heard, text) = ended;
    output.value(&found, &text);
    if is_heard { Ok(()) } else { Err(Failure::Said) }
}

/// What became of it, and whether it was heard; `None`: nothing yet.
fn ended(found: &Value, view: &View) -> Option<(bool, String)> {
    let delivery = found.get("delivery")?;
    let latest = found.get("attempts").and_then(Value::as_array)?.last();
    let is_given_up = word(delivery, "state") == "abandoned";
    let Some(attempt) = latest else {
        return is_given_up.then(|| (false, "it was given up before any attempt".to_owned()));
    };
    let (_, sentence, _) = entry_text(attempt);
    let is_heard = word(attempt, "outcome") == "delivered";
    let again = match word(delivery, "state") {
        "waiting" => format!("; the next not before {}", view.brief(word(delivery, "at"))),
        _ => String::new(),
    };
    Some((is_heard, format!("attempt {sentence}{again}")))
}

/// Where a test event is: on its way, or held, why, and until when.
fn tested(said: &Value, endpoint: &str, view: &View) -> String {
    let event = word(said, "event");
    let Some(held) = said.get("held").filter(|held| held.is_object()) else {
        return match said.get("notBefore").and_then(Value::as_str) {
            Some(until) => format!(
                "event {event} waits: {endpoint} asked for time, and nothing goes out before {}",
                view.brief(until)
            ),
            None => format!("event {event} is on its way to {endpoint}"),
        };
    };
    let since = view.brief(word(held, "since"));
    let resumed = format!("it goes out when that is resumed, by `vexora-relay resume {endpoint}`");
    match (word(held, "state"), word(held, "pausedBy")) {
        ("paused", "gone") => format!(
            "event {event} is held: {endpoint} answered 410 Gone and is paused, since {since}; {resumed}"
        ),
        ("paused", _) => format!(
            "event {event} is held: {endpoint} is paused by an operator, since {since}; {resumed}"
        ),
        _ => format!(
            "event {event} is held: {endpoint} is down, since {since}; a probe may take it, the next {}, else it goes out when {endpoint} is up again",
            view.brief(word(held, "nextProbe"))
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn a_test_that_is_held_says_why_and_until_when() {
        let view = View::of("2026-11-21T10:00:10Z", TimeZone::UTC);
        let since = "2026-11-21T10:00:00Z";
        let (down, gone) = (
            json!({"state": "down", "since": since, "pausedBy": null, "nextProbe": "2026-11-21T10:00:15Z"}),
            json!({"state": "paused", "since": since, "pausedBy": "gone", "nextProbe": null}),
        );
        let paused =
            json!({"state": "paused", "since": since, "pausedBy": "operator", "nextProbe": null});
        for (held, not_before, expected) in [
            (
                Value::Null,
                Value::Null,
                "event evt_1 is on its way to ledger",
            ),
            (
                Value::Null,
                "2026-11-21T10:00:40Z".into(),
                "event evt_1 waits: ledger asked for time, and nothing goes out before 2026-11-21 10:00:40 (in 30 s)",
            ),
            (
                down,
                Value::Null,
                "event evt_1 is held: ledger is down, since 2026-11-21 10:00:00 (10 s ago); a probe may take it, the next 2026-11-21 10:00:15 (in 5 s), else it goes out when ledger is up again",
            ),
            (
                gone,
                Value::Null,
                "event evt_1 is held: ledger answered 410 Gone and is paused, since 2026-11-21 10:00:00 (10 s ago); it goes out when that is resumed, by `vexora-relay resume ledger`",
            ),
            (
                paused,
                Value::Null,
                "event evt_1 is held: ledger is paused by an operator, since 2026-11-21 10:00:00 (10 s ago); it goes out when that is resumed, by `vexora-relay resume ledger`",
            ),
        ] {
            let said = json!({"event": "evt_1", "held": held, "notBefore": not_before});
            assert_eq!(tested(&said, "ledger", &view), expected);
        }
    }
}
