//! `/endpoints`: how each is, how late, how often it took what was sent; paused, resumed, tested, told again.

use std::time::Duration;

use actix_web::web;
use maud::{Markup, html};

use super::bulk;
use super::fields::link;
use super::layout::{Tab, page};
use super::show::{span, tag, when};
use super::visit::{Answer, Order, Stop, Visit};
use crate::domain::{EndpointName, Health, Job, Timestamp};
use crate::http::admin::endpoints::{Known, known, make_test};
use crate::http::admin::views;
use crate::metrics::Tries;
use crate::store::Lane;

/// An endpoint as it stands.
struct Row {
    one: Known,
    health: Health,
    lag: Duration,
    tries: Tries,
}

impl Row {
    async fn read(visit: &Visit, one: Known) -> Result<Self, Stop> {
        let parts = &visit.parts;
        let due = parts
            .store
            .next_due(&Lane::Deliver(one.name.clone()))
            .await?;
        Ok(Self {
            health: parts.store.health(&one.name).await?,
            lag: due.map_or(Duration::ZERO, |due| visit.now.since(due)),
            tries: parts.metrics.tries(&one.name),
            one,
        })
    }

    fn state(&self, now: Timestamp) -> Markup {
        let (word, since) = views::standing(&self.health);
        let class = match word {
            "up" => "good",
            "down" => "bad",
            _ => "warn",
        };
        html! {
            (tag(class, word))
            @if !self.one.configured { " " (tag("warn", "orphaned")) }
            @if let Some(since) = since { " since " (when(since, now)) }
        }
    }

    /// What is held waits for the endpoint, however long, and is not late.
    fn lag(&self) -> String {
        if self.health.holds() && self.one.tally.pending > 0 {
            "held".to_owned()
        } else if self.lag.is_zero() {
            "none".to_owned()
        } else {
            span(self.lag)
        }
    }

    /// Of the attempts since the process began, rounded so that a failure is never shown as none.
    fn success(&self) -> Markup {
        let Tries { good, bad } = self.tries;
        let all = good.saturating_add(bad);
        html! {
            @match good.saturating_mul(1000).checked_div(all) {
                None => span class="muted" { "no attempts yet" },
                Some(mille) => {
                    (mille / 10) "." (mille % 10) " % "
                    span class="muted" { "of " (all) }
                }
            }
        }
    }

    fn button(&self, visit: &Visit, what: &str, word: &str, class: &str) -> Markup {
        html! {
            form method="post" action={ "/endpoints/" (self.one.name) "/" (what) } {
                (visit.token())
                button class=(class) aria-label={ (word) " " (self.one.name) } { (word) }
            }
        }
    }

    fn pause_or_resume(&self, visit: &Visit) -> Markup {
        if self.health.paused.is_some() {
            self.button(visit, "resume", "Resume", "")
        } else {
            self.button(visit, "pause", "Pause", "")
        }
    }
}

/// Data of the list.
struct Endpoints(Vec<Row>);

impl Endpoints {
    fn markup(&self, visit: &Visit) -> Markup {
        html! {
            h1 { "Endpoints" }
            p class="lead" { "Who is told, and how they take it. The success rate is of all attempts since the service began." }
            section {
                @if self.0.is_empty() { p { "None is configured." } }
                @else {
                    table class="cards" {
                        thead { tr { th { "Endpoint" } th { "State" } th class="num" { "Waiting" } th class="num" { "Lag" } th class="num" { "Abandoned" } th class="num" { "Success" } th {} } }
                        tbody { @for row in &self.0 {
                            @let name = &row.one.name;
                            tr {
                                td data-label="Endpoint" { span { a href={ "/endpoints/" (name) } { (name) } } }
                                td data-label="State" { span { (row.state(visit.now)) } }
                                td data-label="Waiting" class="num" { (row.one.tally.pending) }
                                td data-label="Lag" class="num" { (row.lag()) }
                                td data-label="Abandoned" class="num" { span {
                                    @if row.one.tally.given_up > 0 {
                                        a href=(link("/abandoned", &[("endpoint", name.as_str())])) { (row.one.tally.given_up) }
                                    } @else { "0" }
                                } }
                                td data-label="Success" class="num" { span { (row.success()) } }
                                td data-label="" { div class="actions" { (row.pause_or_resume(visit)) } }
                            }
                        } }
                    }
                }
            }
        }
    }
}

pub(super) async fn list(visit: Visit) -> Answer {
    let mut rows = Vec::new();
    for one in known(&visit.parts).await? {
        rows.push(Row::read(&visit, one).await?);
    }
    let body = Endpoints(rows).markup(&visit);
    Ok(page(&visit, Tab::Endpoints, "Endpoints", body))
}

/// Data of one endpoint.
struct OneEndpoint {
    row: Row,
    jobs: Vec<Job>,
}

impl OneEndpoint {
    fn markup(&self, visit: &Visit) -> Markup {
        let (row, name) = (&self.row, &self.row.one.name);
        let probe = row.health.breaker.closed_until();
        let is_held = row.health.holds();
        html! {
            h1 { (name) }
            p class="lead" { @if row.one.configured { "A configured endpoint." } @else {
                "Not in the configuration any more. What waits for it is kept until it returns or is discarded."
            } }
            section {
                dl class="facts" {
                    div { dt { "State" } dd { (row.state(visit.now)) } }
                    @if let Some(pause) = row.health.paused {
                        div { dt { "Paused by" } dd { (if pause.reason.as_str() == "gone" { "its own answer 410" } else { "an operator" }) } }
                    }
                    @if let Some(at) = probe { div { dt { "Next probe" } dd { (when(at, visit.now)) } } }
                    div { dt { "Waiting" } dd { (row.one.tally.pending) } }
                    div { dt { "Lag" } dd { (row.lag()) } }
                    div { dt { "Abandoned" } dd { (row.one.tally.given_up) } }
                    div { dt { "Discarded" } dd { (row.one.tally.discarded) } }
                    div { dt { "Success" } dd { (row.success()) } }
                }
                div class="actions" {
                    @if is_held { (row.button(visit, "resume", "Resume", "main")) }
                    @if row.health.paused.is_none() { (row.button(visit, "pause", "Pause", "")) }
                    @if row.one.configured { (row.button(visit, "test", "Send a test", "")) }
                    @if row.one.tally.given_up > 0 {
                        a class="button" href=(link("/abandoned", &[("endpoint", name.as_str())])) { "See the abandoned" }
                    }
                    @if row.one.tally.pending > 0 {
                        a class="button" href=(bulk::path(name, "discard", "waiting")) { "Discard what waits…" }
                    }
                }
            }
            @if row.one.configured { (bulk::replay_form(name, visit.now)) }
            (bulk::jobs(&self.jobs, visit))
        }
    }
}

/// An endpoint of this name that is configured or has something unsettled.
pub(super) async fn named(visit: &Visit, name: &str) -> Result<Known, Stop> {
    let name: EndpointName = name.parse().map_err(|_not_one| Stop::nothing_here())?;
    let all = known(&visit.parts).await?;
    let found = all.into_iter().find(|one| one.name == name);
    found.ok_or_else(Stop::nothing_here)
}

pub(super) async fn one(visit: Visit, name: web::Path<String>) -> Answer {
    let row = Row::read(&visit, named(&visit, &name).await?).await?;
    let jobs = visit.parts.store.jobs().await?;
    let own = jobs.into_iter().rev();
    let own = own.filter(|job| job.order.endpoint == row.one.name);
    let one = OneEndpoint {
        jobs: own.take(10).collect(),
        row,
    };
    Ok(page(&visit, Tab::Endpoints, &name, one.markup(&visit)))
}

pub(super) async fn pause(order: Order, name: web::Path<String>) -> Answer {
    let visit = order.visit;
    let name = named(&visit, &name).await?.name;
    visit.parts.store.pause(&name, visit.now).await?;
    tracing::warn!(endpoint = %name, "endpoint {name} is paused by an operator");
    let said = format!("{name} is paused: what is for it is held until it is resumed.");
    Ok(visit.done(&format!("/endpoints/{name}"), said))
}

pub(super) async fn resume(order: Order, name: web::Path<String>) -> Answer {
    let visit = order.visit;
    let name = named(&visit, &name).await?.name;
    visit.parts.store.resume(&name, visit.now).await?;
    tracing::info!(endpoint = %name, "endpoint {name} is resumed by an operator");
    let said = format!("{name} is resumed: what was held goes out.");
    Ok(visit.done(&format!("/endpoints/{name}"), said))
}

pub(super) async fn test(order: Order, name: web::Path<String>) -> Answer {
    let visit = order.visit;
    let name = named(&visit, &name).await?.name;
    let Some((event, health)) = make_test(&visit.parts, &name).await? else {
        return Err(Stop::nothing_here());
    };
    let said = match views::standing(&health).0 {
        "paused" => {
            format!("A test waits: {name} is paused, and it goes out when that is resumed.")
        }
        "down" => format!(
            "A test waits: {name} is down. A probe may take it, else it goes out when {name} is up again."
        ),
        _ => {
            format!("A test is on its way to {name}; load this page again to see how it was taken.")
        }
    };
    Ok(visit.done(&format!("/events/{event}"), said))
}
