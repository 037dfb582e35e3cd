//! `/unrecognized`: callbacks in which no user id was found; one callback as it came, and read again.

use actix_web::web;
use maud::{Markup, html};

use super::layout::{Tab, page};
use super::session::Flash;
use super::show::{IN_FULL, IN_LIST, pager, raw, tag, text, user, user_path, when};
use super::visit::{Answer, Order, Stop, Visit};
use crate::domain::{Callback, CallbackId, SignCheck};
use crate::http::admin::lists::read_again;
use crate::store::{CallbackState, Page, Scope};

/// Data of the list.
struct Unrecognized(Page<Callback>);

fn sign(sign: SignCheck) -> Markup {
    match sign {
        SignCheck::Valid => tag("good", "valid"),
        SignCheck::Invalid => tag("bad", "invalid"),
        SignCheck::Missing => tag("warn", "missing"),
    }
}

/// How a body begins.
fn beginning(callback: &Callback) -> Markup {
    let body = &callback.arrival.body;
    let head = body.get(..IN_LIST).unwrap_or(body);
    html! { code { (text(&String::from_utf8_lossy(head), 80)) } }
}

impl Unrecognized {
    fn markup(&self, visit: &Visit) -> Markup {
        html! {
            h1 { "Unrecognized" }
            p class="lead" { "Callbacks that were taken and kept, but name no user. Read one to see what was sent; reprocess it after an upgrade that can read it." }
            section {
                @if self.0.items.is_empty() && self.0.next.is_none() { p { "Every callback named its user." } }
                @else {
                    table class="cards" {
                        thead { tr { th { "Came" } th { "Merchant" } th { "Sign" } th { "Token" } th class="num" { "Bytes" } th { "Begins" } th {} } }
                        tbody { @for one in &self.0.items {
                            tr {
                                td data-label="Came" { span { (when(one.arrival.at, visit.now)) } }
                                td data-label="Merchant" { (one.merchant) }
                                td data-label="Sign" { span { (sign(one.sign)) } }
                                td data-label="Token" { (if one.token { "yes" } else { "no" }) }
                                td data-label="Bytes" class="num" { (one.arrival.body.len()) }
                                td data-label="Begins" { span { (beginning(one)) } }
                                td data-label="" { div class="actions" { a class="button" href={ "/callbacks/" (one.id) } aria-label={ "Open " (one.id) } { "Open" } } }
                            }
                        } }
                    }
                }
                (pager(&self.0, "/unrecognized", &visit.query))
            }
        }
    }
}

pub(super) async fn list(visit: Visit) -> Answer {
    let state = Some(CallbackState::Unrecognized);
    let of = visit.query.page()?;
    let listed = visit
        .parts
        .store
        .callbacks(Scope::default(), state, of)
        .await?;
    let body = Unrecognized(listed).markup(&visit);
    Ok(page(&visit, Tab::Unrecognized, "Unrecognized", body))
}

/// One callback.
struct OneCallback(Callback);

impl OneCallback {
    fn markup(&self, visit: &Visit) -> Markup {
        let (callback, arrival) = (&self.0, &self.0.arrival);
        html! {
            h1 { "Callback" }
            p class="lead mono" { (callback.id) }
            section {
                dl class="facts" {
                    div { dt { "Came" } dd { (when(arrival.at, visit.now)) } }
                    div { dt { "Merchant" } dd { (callback.merchant) } }
                    div { dt { "User" } dd { @match &callback.user {
                        Some(id) => (user(&callback.merchant, id)),
                        None => (tag("warn", "none found")),
                    } } }
                    div { dt { "Claims status" } dd { @match &callback.claim { Some(claim) => code { (text(claim, 64)) }, None => "none" } } }
                    div { dt { "Sign" } dd { (sign(callback.sign)) } }
                    div { dt { "Token" } dd { (if callback.token { "yes" } else { "no" }) } }
                    div { dt { "From" } dd { @match arrival.peer { Some(peer) => (peer), None => "a Unix socket" } } }
                    div { dt { "Content type" } dd { @match &arrival.content_type { Some(kind) => code { (text(kind, IN_LIST)) }, None => "none" } } }
                    @if let Some(query) = &arrival.query { div { dt { "Query string" } dd { code { (text(query, IN_LIST)) } } } }
                }
                div class="actions" {
                    form method="post" action={ "/callbacks/" (callback.id) "/reprocess" } {
                        (visit.token()) button class="main" { "Reprocess" }
                    }
                    span class="muted" { "Reads it again and has its user verified." }
                }
            }
            section {
                h2 { "Body, " (arrival.body.len()) " bytes" }
                @if arrival.body.len() > IN_FULL { p class="muted" { "Only the beginning is shown; the API has all of it." } }
                (raw(&arrival.body, "Body"))
            }
        }
    }
}

async fn found(visit: &Visit, id: &str) -> Result<Callback, Stop> {
    let id: CallbackId = id.parse().map_err(|_not_one| Stop::nothing_here())?;
    let found = visit.parts.store.callback(id).await?;
    found.ok_or_else(Stop::nothing_here)
}

pub(super) async fn one(visit: Visit, id: web::Path<String>) -> Answer {
    let callback = OneCallback(found(&visit, &id).await?);
    let body = callback.markup(&visit);
    Ok(page(&visit, Tab::Unrecognized, "Callback", body))
}

pub(super) async fn reprocess(order: Order, id: web::Path<String>) -> Answer {
    let visit = order.visit;
    let callback = found(&visit, &id).await?;
    let Some(user) = read_again(&visit.parts, &callback).await? else {
        let said = Flash {
            good: false,
            text: "No user id is found in it, now as then. If you can tell whom it is about, find that user and verify.".to_owned(),
        };
        return Ok(visit.done(&format!("/callbacks/{}", callback.id), said));
    };
    let said = "It names this user, about whom Vexora is asked now.".to_owned();
    Ok(visit.done(&user_path(&callback.merchant, &user), said))
}
