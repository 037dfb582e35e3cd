//! `/events`: what was made known, newest first; one event with its deliveries and all their attempts; a delivery
//! retried or discarded.

use actix_web::web;
use maud::{Markup, html};

use super::layout::{Tab, page};
use super::show::{IN_LIST, about, kind, pager, raw, span, stand, text, when};
use super::story::outcome;
use super::visit::{Answer, Order, Stop, Visit};
use crate::domain::{Delivery, EndpointName, Event, EventContent, EventId, EventKind, InvalidId};
use crate::store::{Page, Scope, Told};

/// Data of the list.
struct Events {
    events: Page<Event>,
    chosen: Option<EventKind>,
}

/// What a result says beside its kind.
fn said(event: &Event) -> Markup {
    match &event.content {
        EventContent::Result(result) => html! {
            "status " code { (text(result.verdict.status().code(), 40)) }
            @if let Some(reason) = result.verdict.reason() { " " (text(reason, IN_LIST)) }
            " " span class="muted" { "by " (result.source.as_str()) }
        },
        EventContent::Operational(_) => html! { span class="muted" { "about the relay" } },
    }
}

impl Events {
    fn markup(&self, visit: &Visit) -> Markup {
        let field = |name| visit.query.get(name).unwrap_or_default();
        html! {
            h1 { "Events" }
            p class="lead" { "Verified results, and news of the relay itself; newest first." }
            section {
                form class="line" method="get" action="/events" {
                    label { "Type"
                        select name="type" {
                            option value="" { "all" }
                            @for kind in EventKind::ALL {
                                option value=(kind.as_str()) selected[self.chosen == Some(kind)] { (kind.as_str()) }
                            }
                        }
                    }
                    label { "User id" input type="search" name="user" maxlength="128" value=(field("user")); }
                    label { "From (UTC)" input type="datetime-local" name="since" value=(field("since")); }
                    label { "Before (UTC)" input type="datetime-local" name="until" value=(field("until")); }
                    button { "Show" }
                }
            }
            section {
                @if self.events.items.is_empty() && self.events.next.is_none() { p { "No events." } }
                @else {
                    table class="cards" {
                        thead { tr { th { "Made" } th { "Type" } th { "About" } th { "Says" } th { "Event" } } }
                        tbody {
                            @for event in &self.events.items {
                                tr {
                                    td data-label="Made" { span { (when(event.at, visit.now)) } }
                                    td data-label="Type" { span { (kind(event.kind())) } }
                                    td data-label="About" { span { (about(&event.content)) } }
                                    td data-label="Says" { span { (said(event)) } }
                                    td data-label="Event" { span class="keep" { a href={ "/events/" (event.id) } aria-label={ "Deliveries of " (event.id) } { "deliveries" } } }
                                }
                            }
                        }
                    }
                }
                (pager(&self.events, "/events", &visit.query))
            }
        }
    }
}

pub(super) async fn list(visit: Visit) -> Answer {
    let query = &visit.query;
    let chosen = match query.get("type") {
        None => None,
        Some(name) => {
            let wrong = || Stop::wrong("type", &InvalidId("there is no such type"));
            Some(EventKind::from_name(name).ok_or_else(wrong)?)
        }
    };
    let scope = Scope {
        merchant: query.parsed("merchant")?,
        user: query.parsed("user")?,
        since: query.time("since")?,
        until: query.time("until")?,
    };
    let kinds = chosen.into_iter().collect();
    let events = visit
        .parts
        .store
        .events(scope, kinds, query.page()?)
        .await?;
    let events = Events { events, chosen };
    Ok(page(&visit, Tab::Events, "Events", events.markup(&visit)))
}

/// Data of one event.
struct OneEvent {
    event: Event,
    told: Vec<Told>,
}

/// The buttons of a delivery, as far as it can be retried or discarded.
pub(super) fn buttons(delivery: &Delivery, visit: &Visit, back: &str) -> Markup {
    let path = format!("/deliveries/{}/{}", delivery.event, delivery.endpoint);
    let is_discarded = matches!(delivery.state, crate::domain::DeliveryState::Abandoned { reason, .. } if reason == crate::domain::AbandonReason::Discarded);
    let is_over = matches!(
        delivery.state,
        crate::domain::DeliveryState::Delivered { .. }
            | crate::domain::DeliveryState::Delivering { .. }
    );
    let about = format!("delivery of {} to {}", delivery.event, delivery.endpoint);
    html! {
        @if !is_over {
            div class="actions" {
                form method="post" action={ (path) "/retry" } {
                    (visit.token()) input type="hidden" name="back" value=(back);
                    button aria-label={ "Retry the " (about) } { "Retry" }
                }
                @if !is_discarded {
                    form method="post" action={ (path) "/discard" } {
                        (visit.token()) input type="hidden" name="back" value=(back);
                        button class="risky" aria-label={ "Discard the " (about) } { "Discard" }
                    }
                }
            }
        }
    }
}

impl OneEvent {
    fn markup(&self, visit: &Visit) -> Markup {
        let event = &self.event;
        let back = format!("/events/{}", event.id);
        html! {
            h1 { (kind(event.kind())) }
            p class="lead mono" { (event.id) }
            section {
                dl class="facts" {
                    div { dt { "Made" } dd { (when(event.at, visit.now)) } }
                    div { dt { "About" } dd { (about(&event.content)) } }
                    div { dt { "Says" } dd { (said(event)) } }
                    @if let Some(merchant) = event.merchant() { div { dt { "Merchant" } dd { (merchant) } } }
                }
            }
            @if let EventContent::Result(result) = &event.content {
                @if let Some(reason) = result.verdict.reason() {
                    section { h2 { "Reason, as Vexora gave it" } (raw(reason.as_bytes(), "Reason")) }
                }
            }
            @if self.told.is_empty() { section { p { "No endpoint was to hear of it." } } }
            @for (delivery, attempts) in &self.told {
                section {
                    h2 { "To " a href={ "/endpoints/" (delivery.endpoint) } { (delivery.endpoint) } " " (stand(delivery, false)) }
                    dl class="facts" {
                        div { dt { "Attempts" } dd { (delivery.attempts) } }
                        @if let Some(due) = delivery.due() { div { dt { "Next" } dd { (when(due, visit.now)) } } }
                        @if delivery.replay { div { dt { "Replay" } dd { "told again by an operator" } } }
                    }
                    (buttons(delivery, visit, &back))
                    @if !attempts.is_empty() {
                        ol class="story" {
                            @for attempt in attempts.iter().rev().take(50) {
                                li class=(if attempt.outcome.failure.is_some() { "bad" } else { "" }) {
                                    span class="what" { "Attempt " (attempt.number) } ": " (outcome(attempt))
                                    " " span class="muted" { "after " (span(attempt.took)) }
                                    div class="when" { (when(attempt.at, visit.now)) }
                                    @if !attempt.outcome.body.is_empty() {
                                        details { summary { "What was answered" } (raw(&attempt.outcome.body, "Answer of the receiver")) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn one(visit: Visit, id: web::Path<String>) -> Answer {
    let id: EventId = id.parse().map_err(|_not_one| Stop::nothing_here())?;
    let found = visit.parts.store.event(id).await?;
    let (event, told) = found.ok_or_else(Stop::nothing_here)?;
    let one = OneEvent { event, told };
    Ok(page(&visit, Tab::Events, "Event", one.markup(&visit)))
}

fn place(path: web::Path<(String, String)>) -> Result<(EventId, EndpointName), Stop> {
    let (event, endpoint) = path.into_inner();
    let event = event.parse().map_err(|_not_one| Stop::nothing_here())?;
    let endpoint = endpoint.parse().map_err(|_not_one| Stop::nothing_here())?;
    Ok((event, endpoint))
}

/// Where the form was: the list of the abandoned, or the event's own page.
fn back(order: &Order, event: EventId) -> String {
    let given = order.form.get("back");
    let to_list = given.filter(|to| *to == "/abandoned" || to.starts_with("/abandoned?"));
    to_list.map_or_else(|| format!("/events/{event}"), ToOwned::to_owned)
}

pub(super) async fn retry(order: Order, path: web::Path<(String, String)>) -> Answer {
    let (event, endpoint) = place(path)?;
    let (visit, to) = (&order.visit, back(&order, event));
    let retried = visit.parts.store.retry(event, &endpoint, visit.now).await?;
    Ok(match retried {
        Ok(_) => visit.done(
            &to,
            format!("The delivery to {endpoint} is tried again now."),
        ),
        Err(why) => visit.done(&to, why),
    })
}

pub(super) async fn discard(order: Order, path: web::Path<(String, String)>) -> Answer {
    let (event, endpoint) = place(path)?;
    let (visit, to) = (&order.visit, back(&order, event));
    let discarded = visit.parts.store.discard(event, &endpoint, visit.now);
    Ok(match discarded.await? {
        Ok(_) => visit.done(
            &to,
            format!("The delivery to {endpoint} is discarded; it can still be retried."),
        ),
        Err(why) => visit.done(&to, why),
    })
}
