//! `status`: how the service stands, or the story of one user.
//!
//! Times are shown in the zone of whoever looks, with how long ago that was; `--json` keeps them as the API says them.

use std::path::PathBuf;

use serde_json::Value;

use super::client::Service;
use super::output::Output;
use super::table::{self, Cell, Tone, shown};
use super::view::View;
use super::{Failure, load, merchant};

pub(super) fn run(
    config: Option<PathBuf>,
    (user, named): (Option<&str>, Option<&str>),
    watch: bool,
    output: &Output,
) -> Result<(), Failure> {
    let (_, config) = load(config)?;
    let service = Service::of(&config)?;
    let number = match user {
        Some(_) => merchant(&config, named)?.merchant_no.to_string(),
        None => String::new(),
    };
    output.again_and_again(watch, async || {
        let segments = match user {
            None => vec!["status"],
            Some(user) => vec!["users", &number, user],
        };
        let answered = service.get(&segments).await?;
        if !answered.is_done() {
            return Err(Failure::Failed(anyhow::anyhow!(answered.problem())));
        }
        let view = View::here(output);
        let text = match user {
            None => view.service(&answered.body),
            Some(_) => view.story(&answered.body),
        };
        output.value(&answered.body, &text);
        Ok(())
    })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

impl View {
    fn attention(&self, item: &Value) -> String {
        let mut line = text(item, "what").replace('_', " ");
        if let Some(about) = item.get("about").and_then(Value::as_str) {
            line.push_str(&format!(": {about}"));
        }
        if let Some(count) = item.get("count").and_then(Value::as_u64) {
            line.push_str(&format!(", {count}"));
        }
        if let Some(since) = item.get("since").and_then(Value::as_str) {
            line.push_str(&format!(", since {}", self.brief(since)));
        }
        let needed = Tone::Bad.paint("NEEDS SOMEONE", self.place);
        format!("{needed}: {}\n  hint: {}", shown(&line), text(item, "do"))
    }

    fn service(&self, status: &Value) -> String {
        let ready = status.get("ready").and_then(Value::as_bool) == Some(true);
        let mut lines = vec![format!("vexora-relay {}", text(status, "version"))];
        if ready {
            let ready = Tone::Good.paint("ready", self.place);
            lines.push(format!("{ready}: callbacks are taken"));
        } else {
            let reasons: Vec<&str> = list(status, "reasons").filter_map(Value::as_str).collect();
            let not = Tone::Bad.paint("NOT READY", self.place);
            lines.push(format!("{not}: {}", reasons.join(", ")));
        }
        let before = lines.len();
        lines.extend(list(status, "attention").map(|item| self.attention(item)));
        if lines.len() == before {
            lines.push("nothing needs anyone".into());
        }
        let pending = status.get("pending").unwrap_or(&Value::Null);
        let asked = number(pending, "verifications");
        lines.push(format!(
            "{asked} users asked about until their result is final"
        ));
        let deliveries = pending.get("deliveries").and_then(Value::as_object);
        let mut none = true;
        for (endpoint, count) in deliveries.into_iter().flatten() {
            none = false;
            lines.push(format!("{count} deliveries wait for {endpoint}"));
        }
        if none {
            lines.push("no deliveries wait".into());
        }
        lines.join("\n")
    }

    fn story(&self, story: &Value) -> String {
        let status = match text(story, "status") {
            "" => "no result yet",
            known => known,
        };
        let mut head = format!(
            "{} of merchant {}: {status}",
            text(story, "userId"),
            text(story, "merchant")
        );
        if let Some(reason) = story.get("failReason").and_then(Value::as_str) {
            head.push_str(&format!(" ({reason})"));
        }
        let mut lines = vec![shown(&head)];
        if let Some(sent) = story.get("application").filter(|sent| sent.is_object()) {
            let known = sent.get("known").and_then(Value::as_bool) == Some(true);
            let fate = if known {
                "accepted"
            } else {
                "of unknown fate; a query will tell"
            };
            lines.push(format!(
                "application sent {}, {fate}",
                self.precise(text(sent, "since"))
            ));
        }
        if let Some(asked) = story.get("verification").filter(|asked| asked.is_object()) {
            lines.push(self.verification(asked));
        }
        let rows: Vec<Vec<Cell>> = list(story, "timeline")
            .map(|entry| {
                let (kind, sentence, tone) = entry_text(entry);
                let at = self.precise_cell(text(entry, "at"));
                vec![at, Cell::new(kind), Cell::toned(sentence, tone)]
            })
            .collect();
        lines.push(String::new());
        if rows.is_empty() {
            lines.push("nothing is known of this user".into());
        } else {
            lines.push(format!("times in {}", self.zone()));
            lines.extend(table::story(&rows, self.place));
        }
        for delivery in list(story, "deliveries") {
            let state = text(delivery, "state");
            if state != "delivered" {
                lines.push(format!(
                    "result {} for {}: {state} {}",
                    number(delivery, "sequence"),
                    text(delivery, "endpoint"),
                    self.precise(text(delivery, "at"))
                ));
            }
        }
        lines.join("\n")
    }

    fn verification(&self, asked: &Value) -> String {
        let queries = number(asked, "queries");
        let next = self.precise(text(asked, "due"));
        match text(asked, "stuckSince") {
            "" => format!(
                "Vexora is asked until the result is final: {queries} times since {}, next {next}",
                self.precise(text(asked, "since"))
            ),
            stuck => format!(
                "STUCK {}: no final result after {queries} queries; still asked daily, next {next}",
                self.precise(stuck)
            ),
        }
    }
}

/// What happened, in a word and a sentence.
pub(super) fn entry_text(entry: &Value) -> (&str, String, Tone) {
    let took = || format!("{} ms", number(entry, "tookMs"));
    let kind = text(entry, "kind");
    let mut tone = Tone::Plain;
    let sentence = match kind {
        "callback" => {
            let claim = entry.get("claim").and_then(Value::as_str);
            let token = match entry.get("token").and_then(Value::as_bool) {
                Some(true) => "with the token",
                _ => "without a token",
            };
            format!(
                "claims {}, sign {}, {token}",
                claim.unwrap_or("nothing"),
                text(entry, "sign")
            )
        }
        "application" => match text(entry, "result") {
            "accepted" => "sent to Vexora and accepted".to_owned(),
            "declined" => "came to nothing: declined by Vexora, or not sent".to_owned(),
            _ => "sent to Vexora, without a clear answer".to_owned(),
        },
        "watch" => "ordered: asked about until the result is final".to_owned(),
        "verify" => "ordered: asked about at once".to_owned(),
        "recognized" => format!(
            "a callback in which no user id was found at first was read again, {}",
            text(entry, "callback")
        ),
        "query" => {
            let claim = match text(entry, "claimed") {
                "" => String::new(),
                claimed => format!("; the callback before it claimed {claimed}"),
            };
            format!("{} after {}{claim}", text(entry, "outcome"), took())
        }
        "event" => format!(
            "{}, result {}, {}",
            text(entry, "type"),
            number(entry, "sequence"),
            text(entry, "id")
        ),
        "attempt" => {
            let outcome = text(entry, "outcome");
            if outcome != "delivered" {
                tone = Tone::Bad;
            }
            let status = entry.get("status").and_then(Value::as_u64);
            let status = status
                .map(|status| format!(", HTTP {status}"))
                .unwrap_or_default();
            let detail = match text(entry, "detail") {
                "" => String::new(),
                detail => format!(": {detail}"),
            };
            format!(
                "{} to {}: {outcome}{status} after {}{detail}",
                number(entry, "attempt"),
                text(entry, "endpoint"),
                took()
            )
        }
        _ => String::new(),
    };
    (kind, sentence, tone)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_story_reads_from_cause_to_effect_in_local_time() {
        let story = json!({
            "merchant": "1027749636", "userId": "u1", "status": "rejected", "failReason": "expired",
            "application": null,
            "verification": {"since": "2026-11-21T10:00:00Z", "due": "2026-11-21T10:00:40Z", "queries": 2, "stuckSince": null},
            "deliveries": [{"state": "waiting", "sequence": 1, "endpoint": "ledger", "at": "2026-11-21T10:01:00Z"}],
            "timeline": [
                {"kind": "callback", "at": "2026-11-21T10:00:00Z", "claim": "3", "sign": "valid", "token": true},
                {"kind": "query", "at": "2026-11-21T10:00:00.120Z", "outcome": "under_review", "tookMs": 120, "claimed": "3"},
                {"kind": "event", "at": "2026-11-21T10:00:01Z", "type": "kyc.rejected", "sequence": 1, "id": "evt_1"},
                {"kind": "attempt", "at": "2026-11-21T10:00:01Z", "endpoint": "ledger", "attempt": 1, "outcome": "status", "status": 503, "tookMs": 7, "detail": null},
                {"kind": "attempt", "at": "2026-11-21T10:00:06Z", "endpoint": "ledger", "attempt": 2, "outcome": "tls", "status": null, "tookMs": 9, "detail": "the certificate has expired"},
            ],
        });
        let zone = TimeZone::fixed(jiff::tz::offset(9));
        let view = View::of("2026-11-21T10:00:10Z", zone);
        insta::assert_snapshot!(view.story(&story), @r"
        u1 of merchant 1027749636: rejected (expired)
        Vexora is asked until the result is final: 2 times since 2026-11-21 19:00:00.000 (10 s ago), next 2026-11-21 19:00:40.000 (in 30 s)

        times in +09:00
        2026-11-21 19:00:00.000 (10 s ago)  callback  claims 3, sign valid, with the token
        2026-11-21 19:00:00.120 (9 s ago)   query     under_review after 120 ms; the callback before it claimed 3
        2026-11-21 19:00:01.000 (9 s ago)   event     kyc.rejected, result 1, evt_1
        2026-11-21 19:00:01.000 (9 s ago)   attempt   1 to ledger: status, HTTP 503 after 7 ms
        2026-11-21 19:00:06.000 (4 s ago)   attempt   2 to ledger: tls after 9 ms: the certificate has expired
        result 1 for ledger: waiting 2026-11-21 19:01:00.000 (in 50 s)
        ");
    }
}
