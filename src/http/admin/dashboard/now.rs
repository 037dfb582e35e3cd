//! `/`: what needs someone, first, each with what to do; then rates, latency and backlog of the last hour and day.
//!
//! Promise: it costs the same whatever is stored: counts are kept, and of each queue only the first is looked at.

use std::time::Duration;

use actix_web::http::StatusCode;
use maud::{Markup, html};

use super::fields::link;
use super::layout::{Tab, answer, page};
use super::plots::{self, DAY, HOUR};
use super::show::{span, tag, text, when};
use super::visit::{Answer, Stop, Visit};
use crate::domain::{JobProgress, MerchantNo, Timestamp, VerifyLane};
use crate::http::admin::endpoints::{Known, known};
use crate::http::admin::{readiness, views};
use crate::metrics::Minute;
use crate::store::{Lane, Tallies};

/// Something that needs someone.
struct Need {
    class: &'static str,
    word: &'static str,
    what: String,
    since: Option<Timestamp>,
    remedy: &'static str,
    go: Option<(String, &'static str)>,
}

/// The page's data.
struct Now {
    needs: Vec<Need>,
    tallies: Tallies,
    waiting: u64,
    given_up: u64,
    late: Duration,
    jobs: usize,
    minutes: Vec<Minute>,
    at: Timestamp,
}

fn many(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn of_endpoint(one: &Known, standing: (&'static str, Option<Timestamp>)) -> Vec<Need> {
    let path = format!("/endpoints/{}", one.name);
    let held = many(one.tally.pending, "delivery is held", "deliveries are held");
    let mut needs = Vec::new();
    match standing {
        ("down", since) => needs.push(Need {
            class: "bad",
            word: "down",
            what: format!("Endpoint {} is down; {held}", one.name),
            since,
            remedy: "Look at the receiver. It is probed by itself, and what is held goes out at its first success.",
            go: Some((path.clone(), "Open")),
        }),
        ("paused", since) => needs.push(Need {
            class: "warn",
            word: "paused",
            what: format!("Endpoint {} is paused; {held}", one.name),
            since,
            remedy: "Resume it when the receiver is ready.",
            go: Some((path.clone(), "Open")),
        }),
        _ => {}
    }
    if one.tally.given_up > 0 {
        let count = many(one.tally.given_up, "delivery was", "deliveries were");
        needs.push(Need {
            class: "bad",
            word: "abandoned",
            what: format!("{count} given up for {}", one.name),
            since: None,
            remedy: "See why they failed; retry them when the receiver is mended, or discard them.",
            go: Some((
                link("/abandoned", &[("endpoint", one.name.as_str())]),
                "Show",
            )),
        });
    }
    if !one.configured && one.tally.pending > 0 {
        needs.push(Need {
            class: "warn",
            word: "orphaned",
            what: format!(
                "{} for {}, which is not in the configuration",
                many(one.tally.pending, "delivery waits", "deliveries wait"),
                one.name
            ),
            since: None,
            remedy: "Put the endpoint back into the configuration, or discard what waits for it.",
            go: Some((path, "Open")),
        });
    }
    needs
}

fn of_all(tallies: &Tallies) -> Vec<Need> {
    let mut needs = Vec::new();
    if tallies.stuck > 0 {
        let count = many(tallies.stuck, "user is", "users are");
        needs.push(Need {
            class: "warn",
            word: "stuck",
            what: format!("{count} without a final result for longer than verify.give_up_after"),
            since: None,
            remedy: "They are still asked about once a day. Ask Vexora what became of the review, then have them verified anew.",
            go: Some((link("/users", &[("state", "stuck")]), "Show")),
        });
    }
    if tallies.unrecognized > 0 {
        let count = many(tallies.unrecognized, "callback was", "callbacks were");
        needs.push(Need {
            class: "warn",
            word: "unrecognized",
            what: format!("{count} kept in which no user id was found"),
            since: None,
            remedy: "Read what was sent; if it names a user after all, have that user verified.",
            go: Some(("/unrecognized".to_owned(), "Show")),
        });
    }
    needs
}

fn unready(reason: &str) -> Need {
    let code = reason.split(':').next().unwrap_or(reason);
    let remedy = match code {
        "disk_low" => {
            "Free the disk of the data directory, or make it larger: callbacks are answered 503 meanwhile."
        }
        "worker_stuck" => "Restart the service, and keep its log from before for a report.",
        "work_late" => {
            "See the endpoints and the log; raise concurrency or rate limits if it stays so."
        }
        "store_failed" => "See the service's log; the disk may be failing.",
        _ => "It passes by itself while the service starts or stops.",
    };
    Need {
        class: "bad",
        word: "not ready",
        what: reason.to_owned(),
        since: None,
        remedy,
        go: None,
    }
}

fn of_provider(merchant: &MerchantNo) -> Need {
    Need {
        class: "bad",
        word: "Vexora down",
        what: format!("Vexora as a whole does not answer for merchant {merchant}"),
        since: None,
        remedy: "Callbacks are still taken, and all are asked about when it is back; it is probed by itself. Look at Vexora's status and at this machine's network.",
        go: None,
    }
}

impl Now {
    async fn read(visit: &Visit) -> Result<Self, Stop> {
        let (parts, at) = (&*visit.parts, visit.now);
        let tallies = parts.store.tallies().await?;
        let mut needs: Vec<Need> = readiness::reasons(parts)
            .await
            .iter()
            .map(|reason| unready(reason))
            .collect();
        let (mut waiting, mut given_up, mut late) = (0, 0, Duration::ZERO);
        for one in known(parts).await? {
            let health = parts.store.health(&one.name).await?;
            needs.extend(of_endpoint(&one, views::standing(&health)));
            waiting += one.tally.pending;
            given_up += one.tally.given_up;
            let due = parts.store.next_due(&Lane::Deliver(one.name)).await?;
            late = late.max(due.map_or(Duration::ZERO, |due| at.since(due)));
        }
        needs.extend(of_all(&tallies));
        for merchant in parts.applications.merchants.load().iter() {
            if parts.metrics.is_provider_down(&merchant.merchant) {
                needs.push(of_provider(&merchant.merchant));
            }
            for lane in [VerifyLane::Main, VerifyLane::Open] {
                let lane = Lane::Verify(merchant.merchant.clone(), lane);
                let due = parts.store.next_due(&lane).await?;
                late = late.max(due.map_or(Duration::ZERO, |due| at.since(due)));
            }
        }
        // What is broken before what waits for a decision.
        needs.sort_by_key(|need| need.class != "bad");
        let jobs = parts.store.jobs().await?;
        let running = |progress: &JobProgress| progress.ended().is_none();
        let mut minutes = parts.metrics.history().minutes();
        minutes.push(parts.metrics.history().running(at));
        Ok(Self {
            needs,
            waiting,
            given_up,
            late,
            jobs: jobs.iter().filter(|job| running(&job.progress)).count(),
            tallies,
            minutes,
            at,
        })
    }

    fn markup(&self) -> Markup {
        html! {
            section aria-labelledby="needs" {
                h1 id="needs" { @if self.needs.is_empty() { "Nothing needs you" } @else { "Needs someone" } }
                @if self.needs.is_empty() {
                    p class="calm" { (tag("good", "all well")) "Callbacks are taken, verified and delivered." }
                } @else {
                    ul class="needs" {
                        @for need in &self.needs {
                            li {
                                (tag(need.class, need.word))
                                div {
                                    strong { (text(&need.what, 400)) }
                                    @if let Some(since) = need.since { " since " (when(since, self.at)) }
                                    div class="muted" { (need.remedy) }
                                }
                                @if let Some((path, word)) = &need.go {
                                    div class="go" { a class="button" href=(path) aria-label={ (word) ": " (need.what) } { (word) } }
                                }
                            }
                        }
                    }
                }
            }
            section aria-label="At this moment" {
                dl class="facts big" {
                    div { dt { "Deliveries waiting" } dd { (self.waiting) } }
                    div { dt { "Abandoned" } dd { (self.given_up) } }
                    div { dt { "Users asked about" } dd { (self.tallies.verifications) } }
                    div { dt { "Stuck" } dd { (self.tallies.stuck) } }
                    div { dt { "Unrecognized" } dd { (self.tallies.unrecognized) } }
                    div { dt { "Oldest due work" } dd { (if self.late.is_zero() { "in time".to_owned() } else { format!("{} late", span(self.late)) }) } }
                    div { dt { "Jobs running" } dd { (self.jobs) } }
                }
            }
            (plots::section(&self.minutes, &HOUR, self.at))
            (plots::section(&self.minutes, &DAY, self.at))
        }
    }
}

pub(super) async fn show(visit: Visit) -> Answer {
    let now = Now::read(&visit).await?;
    let began = now.minutes.first().map(|minute| minute.from);
    let body = html! {
        div id="now" { (now.markup()) }
        p class="muted" {
            @if let Some(began) = began { "The plots begin at " (when(began, now.at)) "; they are kept in memory for a day. " }
            span id="refreshed" role="status" {} " "
        }
    };
    Ok(page(&visit, Tab::Now, "Now", body))
}

/// The page without what is around it, for the script that keeps it fresh.
pub(super) async fn refresh(visit: Visit) -> Answer {
    Ok(answer(StatusCode::OK, Now::read(&visit).await?.markup()))
}
