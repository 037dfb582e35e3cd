//! Replay, retry and discard of many deliveries: a form, a page that says how many it would be, and only then the job.
//!
//! Promise: nothing begins that was not counted before the operator's eyes, for the same span of time.

use actix_web::web;
use maud::{Markup, html};

use super::endpoints::named;
use super::fields::{Fields, link};
use super::layout::{Tab, page};
use super::show::{tag, when};
use super::visit::{Answer, Order, Stop, Visit};
use crate::domain::{
    EndpointName, EventKind, InvalidId, Job, JobKind, JobOrder, Standing, Timestamp,
};
use crate::store::StoreError;

/// Where a bulk order of this kind is counted.
pub(super) fn path(endpoint: &EndpointName, kind: &str, state: &str) -> String {
    let pairs = [("kind", kind), ("state", state)];
    link(&format!("/endpoints/{endpoint}/bulk"), &pairs)
}

/// The value of a browser's field for a time.
fn local(at: Timestamp) -> String {
    at.to_string().get(..16).unwrap_or_default().to_owned()
}

/// Asks for what is to be told again.
pub(super) fn replay_form(endpoint: &EndpointName, now: Timestamp) -> Markup {
    let day = std::time::Duration::from_secs(24 * 3600);
    html! {
        section aria-labelledby="replay" {
            h2 id="replay" { "Replay" }
            p class="muted" { "Tells the endpoint again, or of what was made before it was there. Counted first; nothing is sent before you confirm." }
            form class="line" method="get" action={ "/endpoints/" (endpoint) "/bulk" } {
                input type="hidden" name="kind" value="replay";
                label { "Events from (UTC)" input type="datetime-local" name="since" required value=(local(now.minus(day))); }
                label { "Before (UTC), empty: now" input type="datetime-local" name="until"; }
                label { "Type"
                    select name="type" {
                        option value="" { "all it subscribes to" }
                        @for kind in EventKind::ALL { option value=(kind.as_str()) { (kind.as_str()) } }
                    }
                }
                fieldset {
                    legend { "That were" }
                    div class="checks" {
                        @for state in JobKind::Replay.standings() {
                            label { input type="checkbox" name="state" value=(state.as_str()) checked[*state != Standing::Delivered]; (state.as_str()) }
                        }
                    }
                }
                button { "Count…" }
            }
        }
    }
}

fn order(fields: &Fields, endpoint: EndpointName, now: Timestamp) -> Result<JobOrder, Stop> {
    let wrong = |what: &str, why| Stop::wrong(what, &InvalidId(why));
    let kind = fields.get("kind").and_then(JobKind::from_name);
    let kind = kind.ok_or_else(|| wrong("kind", "expected replay, retry or discard"))?;
    let since = match (fields.time("since")?, kind) {
        (Some(since), _) => since,
        (None, JobKind::Replay) => return Err(wrong("since", "a replay needs a beginning")),
        (None, JobKind::Retry | JobKind::Discard) => Timestamp::from_millis(0),
    };
    let types: Option<Vec<EventKind>> = fields.all("type").map(EventKind::from_name).collect();
    let states = fields.all("state").map(|name| {
        let known = Standing::from_name(name);
        known.filter(|state| kind.standings().contains(state))
    });
    let states: Option<Vec<Standing>> = states.collect();
    Ok(JobOrder {
        kind,
        endpoint,
        since,
        until: fields.time("until")?.unwrap_or(now),
        types: types.ok_or_else(|| wrong("type", "there is no such type"))?,
        states: states.ok_or_else(|| wrong("state", "not one of this kind of job"))?,
    })
}

const fn verb(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Replay => "Replay",
        JobKind::Retry => "Retry",
        JobKind::Discard => "Discard",
    }
}

const fn meaning(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Replay => {
            "The endpoint hears of these again, in the background, 200 a second, each marked by relay-replay: 1."
        }
        JobKind::Retry => {
            "They are tried again from the start of their schedule, in the background, 200 a second."
        }
        JobKind::Discard => {
            "They are given up, in the background, 200 a second. They are kept, and can be retried until store.retention has passed."
        }
    }
}

/// The page that says how many it would be.
struct Confirmation {
    order: JobOrder,
    total: u64,
}

impl Confirmation {
    fn fields(&self) -> Markup {
        let order = &self.order;
        html! {
            input type="hidden" name="kind" value=(order.kind.as_str());
            input type="hidden" name="since" value=(order.since);
            input type="hidden" name="until" value=(order.until);
            @for kind in &order.types { input type="hidden" name="type" value=(kind.as_str()); }
            @for state in &order.states { input type="hidden" name="state" value=(state.as_str()); }
        }
    }

    fn markup(&self, visit: &Visit) -> Markup {
        let (order, total) = (&self.order, self.total);
        let deliveries = if total == 1 { "delivery" } else { "deliveries" };
        let words = |words: Vec<&'static str>| words.join(", ");
        let states = order.standings().iter().map(|state| state.as_str());
        let types = order.types.iter().map(|kind| kind.as_str());
        let class = match order.kind {
            JobKind::Discard => "risky",
            JobKind::Replay | JobKind::Retry => "main",
        };
        html! {
            h1 { (verb(order.kind)) " " (total) " " (deliveries) " to " (order.endpoint) "?" }
            p class="lead" { (meaning(order.kind)) }
            section {
                dl class="facts" {
                    div { dt { "How many" } dd { (total) } }
                    div { dt { "Events from" } dd { @if order.since.as_millis() == 0 { "the beginning" } @else { (when(order.since, visit.now)) } } }
                    div { dt { "Before" } dd { (when(order.until, visit.now)) } }
                    div { dt { "Type" } dd { @if order.types.is_empty() { "all" } @else { (words(types.collect())) } } }
                    div { dt { "That are" } dd { (words(states.collect())) } }
                }
                div class="actions" {
                    @if total > 0 {
                        form method="post" action={ "/endpoints/" (order.endpoint) "/bulk" } {
                            (visit.token()) (self.fields())
                            button class=(class) { (verb(order.kind)) " " (total) " " (deliveries) }
                        }
                    }
                    a class="button" href={ "/endpoints/" (order.endpoint) } { @if total > 0 { "Do nothing" } @else { "Back" } }
                }
            }
        }
    }
}

async fn counted(visit: &Visit, fields: &Fields, name: &str) -> Result<Confirmation, Stop> {
    let known = named(visit, name).await?;
    let order = order(fields, known.name, visit.now)?;
    if order.kind == JobKind::Replay && !known.configured {
        return Err(Stop::nothing_here());
    }
    let total = visit.parts.jobs.count(&order).await?;
    Ok(Confirmation { order, total })
}

pub(super) async fn ask(visit: Visit, name: web::Path<String>) -> Answer {
    let asked = counted(&visit, &visit.query, &name).await?;
    Ok(page(
        &visit,
        Tab::Endpoints,
        "Confirm",
        asked.markup(&visit),
    ))
}

pub(super) async fn begin(sent: Order, name: web::Path<String>) -> Answer {
    let visit = sent.visit;
    let Confirmation { order, total } = counted(&visit, &sent.form, &name).await?;
    let to = format!("/endpoints/{}", order.endpoint);
    let begun: Result<Job, StoreError> = visit.parts.jobs.begin(order, total).await;
    let job = begun?;
    let said = format!(
        "Job {} has begun: {} of {} for {}.",
        job.id,
        job.order.kind.as_str(),
        job.total,
        job.order.endpoint
    );
    Ok(visit.done(&to, said))
}

pub(super) async fn cancel(sent: Order, id: web::Path<String>) -> Answer {
    let visit = sent.visit;
    let id = id.parse().map_err(|_not_one| Stop::nothing_here())?;
    let cancelled = visit.parts.store.cancel_job(id, visit.now).await?;
    let job = cancelled.ok_or_else(Stop::nothing_here)?;
    tracing::info!(job = job.id, "job {} is {}", job.id, job.progress.as_str());
    let said = format!(
        "Job {} is {}; {} of {} were done.",
        job.id,
        job.progress.as_str(),
        job.done,
        job.total
    );
    Ok(visit.done(&format!("/endpoints/{}", job.order.endpoint), said))
}

/// The latest jobs of an endpoint.
pub(super) fn jobs(jobs: &[Job], visit: &Visit) -> Markup {
    html! {
        @if !jobs.is_empty() {
            section {
                h2 { "Jobs" }
                table class="cards" {
                    thead { tr { th { "Job" } th { "What" } th { "Ordered" } th { "State" } th class="num" { "Done" } th {} } }
                    tbody { @for job in jobs {
                        tr {
                            td data-label="Job" { (job.id) }
                            td data-label="What" { (job.order.kind.as_str()) }
                            td data-label="Ordered" { span { (when(job.ordered, visit.now)) } }
                            td data-label="State" { span { (tag(if job.progress.as_str() == "done" { "good" } else { "" }, job.progress.as_str())) } }
                            td data-label="Done" class="num" { (job.done) " of " (job.total) }
                            td data-label="" { @if job.progress.ended().is_none() {
                                div class="actions" { form method="post" action={ "/jobs/" (job.id) "/cancel" } { (visit.token()) button { "Cancel" } } }
                            } }
                        }
                    } }
                }
            }
        }
    }
}
