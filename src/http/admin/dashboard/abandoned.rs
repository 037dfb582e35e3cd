//! `/abandoned`: what the relay gave up and nobody has dealt with since; retried or discarded one by one, or all of an
//! endpoint's.

use maud::{Markup, html};

use super::bulk;
use super::events::buttons;
use super::fields::link;
use super::layout::{Tab, page};
use super::show::{about, kind, pager, stand, text, when};
use super::visit::{Answer, Visit};
use crate::domain::{DeliveryState, EndpointName, FailureClass};
use crate::http::admin::endpoints::known;
use crate::store::{DeliveryFilter, DeliveryStand, ListedDelivery, Page};

/// The page's data.
struct Abandoned {
    page: Page<ListedDelivery>,
    counts: Vec<(EndpointName, u64)>,
    chosen: Option<EndpointName>,
}

impl Abandoned {
    fn markup(&self, visit: &Visit) -> Markup {
        let back = visit.query.from("/abandoned", None);
        html! {
            h1 { "Abandoned" }
            p class="lead" { "Deliveries whose tries are used up or that became too old. They stay, and hold up nobody; those that were discarded need nobody and are not shown." }
            @if !self.counts.is_empty() {
                section {
                    h2 { "By endpoint" }
                    table class="cards" {
                        thead { tr { th { "Endpoint" } th class="num" { "Abandoned" } th {} } }
                        tbody { @for (name, count) in &self.counts {
                            tr {
                                td data-label="Endpoint" { span { a href=(link("/abandoned", &[("endpoint", name.as_str())])) { (name) } } }
                                td data-label="Abandoned" class="num" { (count) }
                                td data-label="" { div class="actions" {
                                    a class="button" href=(bulk::path(name, "retry", "abandoned")) aria-label={ "Retry all of " (name) } { "Retry all…" }
                                    a class="button" href=(bulk::path(name, "discard", "abandoned")) aria-label={ "Discard all of " (name) } { "Discard all…" }
                                } }
                            }
                        } }
                    }
                }
            }
            section {
                h2 { "Newest first" @if let Some(chosen) = &self.chosen { ", to " (chosen) " · " a href="/abandoned" { "all endpoints" } } }
                @if self.page.items.is_empty() && self.page.next.is_none() { p { "Nothing is abandoned." } }
                @else {
                    table class="cards" {
                        thead { tr { th { "Given up" } th { "Endpoint" } th { "About" } th { "Event" } th { "Why" } th class="num" { "Attempts" } th {} } }
                        tbody { @for one in &self.page.items {
                            @let delivery = &one.delivery;
                            tr {
                                td data-label="Given up" { span { @match delivery.state {
                                    DeliveryState::Abandoned { at, .. } => (when(at, visit.now)),
                                    _ => (when(delivery.created, visit.now)),
                                } } }
                                td data-label="Endpoint" { span { a href={ "/endpoints/" (delivery.endpoint) } { (delivery.endpoint) } } }
                                td data-label="About" { span { (about(&one.event.content)) } }
                                td data-label="Event" { span { a href={ "/events/" (delivery.event) } { (kind(one.event.kind())) } } }
                                td data-label="Why" { span {
                                    (stand(delivery, one.held))
                                    @if let Some(class) = delivery.last_failure { " last: " (text(FailureClass::as_str(class), 40)) }
                                } }
                                td data-label="Attempts" class="num" { (delivery.attempts) }
                                td data-label="" { (buttons(delivery, visit, &back)) }
                            }
                        } }
                    }
                }
                (pager(&self.page, "/abandoned", &visit.query))
            }
        }
    }
}

pub(super) async fn show(visit: Visit) -> Answer {
    let chosen: Option<EndpointName> = visit.query.parsed("endpoint")?;
    let filter = DeliveryFilter {
        endpoint: chosen.clone(),
        stand: Some(DeliveryStand::GivenUp),
        ..DeliveryFilter::default()
    };
    let (store, of) = (&visit.parts.store, visit.query.page()?);
    let listed = store.deliveries(filter, of).await?;
    let counts = known(&visit.parts).await?.into_iter();
    let counts = counts.filter(|one| one.tally.given_up > 0);
    let abandoned = Abandoned {
        page: listed,
        counts: counts.map(|one| (one.name, one.tally.given_up)).collect(),
        chosen,
    };
    Ok(page(
        &visit,
        Tab::Abandoned,
        "Abandoned",
        abandoned.markup(&visit),
    ))
}
