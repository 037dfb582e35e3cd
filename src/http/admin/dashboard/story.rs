//! `/user`: the story of one user, from the callback to the last attempt, newest last.

use maud::{Markup, html};

use super::fields::{Fields, link};
use super::layout::{Tab, page};
use super::show::{IN_LIST, kind, span, stand, tag, text, user_path, when};
use super::users::{status, verification};
use super::visit::{Answer, Order, Stop, Visit};
use crate::domain::{
    Answer as Verdict, ApplicationState, Attempt, Callback, CallbackId, Event, EventContent,
    FailureClass, MerchantNo, Ordered, Timestamp, UserId,
};
use crate::http::admin::AdminParts;
use crate::http::admin::api::ask_about;
use crate::store::{QueryRecord, Story};

/// What is shown of a timeline: more than anybody reads. The API has all of it.
const MOST: usize = 300;

/// The page's data.
struct StoryPage {
    merchant: MerchantNo,
    user: UserId,
    story: Story,
}

/// Something that happened.
enum Entry<'a> {
    Callback(&'a Callback),
    Recognized(&'a CallbackId),
    Ordered(Ordered),
    Query(&'a QueryRecord),
    Event(&'a Event),
    Attempt(&'a Event, &'a str, &'a Attempt),
}

fn named(parts: &AdminParts, fields: &Fields) -> Result<(MerchantNo, UserId), Stop> {
    let (merchant, user) = (fields.needed("merchant")?, fields.needed("user")?);
    if parts.knows(&merchant) {
        return Ok((merchant, user));
    }
    Err(Stop::nothing_here())
}

impl Entry<'_> {
    fn class(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::Query(query) if matches!(query.answer, Verdict::Failed(_)) => "bad",
            Self::Attempt(_, _, attempt) if attempt.outcome.failure.is_some() => "bad",
            _ => "",
        }
    }

    fn markup(&self) -> Markup {
        match self {
            Self::Callback(callback) => html! {
                span class="what" { "Callback" }
                @match &callback.claim {
                    Some(claim) => { " claims status " code { (text(claim, IN_LIST)) } },
                    None => { " without a status" },
                }
                ", sign " (callback.sign.as_str())
                @if callback.token { ", with the token" } @else { ", without a token" }
                @if let Some(peer) = callback.arrival.peer { ", from " (peer) }
                " · " a href={ "/callbacks/" (callback.id) } { "what was sent" }
            },
            Self::Recognized(id) => html! {
                span class="what" { "Recognized" } ": a callback in which no user id was found at first was read again · "
                a href={ "/callbacks/" (id) } { "what was sent" }
            },
            Self::Ordered(Ordered::Watched) => html! {
                span class="what" { "Watch" } " ordered: asked about until the result is final"
            },
            Self::Ordered(Ordered::Verified) => html! {
                span class="what" { "Verification" } " ordered: asked about at once"
            },
            Self::Ordered(application) => html! {
                span class="what" { "Application" } " sent: "
                @match application {
                    Ordered::Accepted => (tag("good", "accepted")),
                    Ordered::Declined => (tag("bad", "came to nothing")),
                    _ => (tag("warn", "no clear answer")),
                }
            },
            Self::Query(query) => html! {
                span class="what" { "Vexora asked" } ": "
                @match &query.answer {
                    Verdict::Verdict(verdict) => {
                        (status(Some(verdict.status())))
                        @if let Some(reason) = verdict.reason() { " " (text(reason, 400)) }
                    }
                    Verdict::Failed(failure) => { "no answer that counts (" (failure.class()) ")" }
                }
                " " span class="muted" { "after " (span(query.took)) }
            },
            Self::Event(event) => html! {
                span class="what" { "Event" } " " (kind(event.kind()))
                @if let EventContent::Result(result) = &event.content {
                    " result " (result.sequence) ", found by " (result.source.as_str())
                }
                " · " a class="mono" href={ "/events/" (event.id) } { (event.id) }
            },
            Self::Attempt(event, endpoint, attempt) => html! {
                span class="what" { "Attempt " (attempt.number) } " to " a href={ "/endpoints/" (endpoint) } { (endpoint) } ": "
                (outcome(attempt))
                @if let EventContent::Result(result) = &event.content {
                    " " span class="muted" { "result " (result.sequence) ", after " (span(attempt.took)) }
                }
            },
        }
    }
}

/// How an attempt ended.
pub(super) fn outcome(attempt: &Attempt) -> Markup {
    html! {
        @match attempt.outcome.failure {
            None => (tag("good", "delivered")),
            Some(class) => (tag("bad", FailureClass::as_str(class))),
        }
        @if let Some(status) = attempt.outcome.status { " HTTP " (status) }
        @if let Some(detail) = &attempt.outcome.detail { " " (text(detail, 400)) }
    }
}

impl StoryPage {
    /// What happened, oldest first; what happened in the same millisecond from cause to effect.
    fn timeline(&self) -> Vec<(Timestamp, Entry<'_>)> {
        let story = &self.story;
        let mut timeline = Vec::new();
        let callbacks = story.callbacks.iter();
        timeline.extend(callbacks.map(|one| (one.arrival.at, Entry::Callback(one))));
        let found = story.recognized.iter();
        timeline.extend(found.map(|(id, at)| (*at, Entry::Recognized(id))));
        let ordered = story.orders.iter();
        timeline.extend(ordered.map(|(at, one)| (*at, Entry::Ordered(*one))));
        timeline.extend(story.queries.iter().map(|one| (one.at, Entry::Query(one))));
        for (event, deliveries) in &story.events {
            timeline.push((event.at, Entry::Event(event)));
            for (delivery, attempts) in deliveries {
                let endpoint = delivery.endpoint.as_str();
                let made = attempts.iter();
                timeline.extend(made.map(|one| (one.at, Entry::Attempt(event, endpoint, one))));
            }
        }
        timeline.sort_by_key(|(at, _)| *at);
        timeline
    }

    fn head(&self, visit: &Visit) -> Markup {
        let (story, now) = (&self.story, visit.now);
        let last = story.state.last.as_ref();
        html! {
            h1 { (text(self.user.as_str(), 200)) }
            p class="lead" { "User of merchant " (self.merchant) }
            section {
                dl class="facts" {
                    div { dt { "Result" } dd {
                        (status(last.map(|last| last.verdict.status())))
                        @if let Some(last) = last { " " (when(last.at, now)) }
                    } }
                    @if let Some(reason) = last.and_then(|last| last.verdict.reason()) {
                        div { dt { "Reason" } dd { (text(reason, 400)) } }
                    }
                    div { dt { "Results so far" } dd { (story.state.sequence) } }
                    div { dt { "Asking" } dd {
                        @if let Some(asked) = &story.verification { (verification(asked, now)) } @else { "no" }
                    } }
                    @if let Some(sent) = &story.state.application {
                        div { dt { "Application" } dd {
                            (if sent.state == ApplicationState::Accepted { "accepted by Vexora" } else { "of unknown fate; a query will tell" })
                            ", sent " (when(sent.at, now))
                        } }
                    }
                }
                div class="actions" {
                    form method="post" action=(self.order("verify")) { (visit.token()) button class="main" { "Verify now" } }
                    form method="post" action=(self.order("watch")) { (visit.token()) button { "Watch until final" } }
                    span class="muted" { "Verify asks Vexora once, now; watch asks until the result is final." }
                }
            }
        }
    }

    /// In the address and not in fields of the form: there every letter is written as what it is.
    fn order(&self, what: &str) -> String {
        let pairs = [
            ("merchant", self.merchant.as_str()),
            ("user", self.user.as_str()),
        ];
        link(&format!("/user/{what}"), &pairs)
    }

    fn markup(&self, visit: &Visit) -> Markup {
        let timeline = self.timeline();
        let left_out = timeline.len().saturating_sub(MOST);
        let told = self.story.events.iter().rev().flat_map(|(event, told)| {
            let told = told.iter();
            told.map(move |(delivery, _)| (event, delivery))
        });
        let told: Vec<_> = told.take(MOST).collect();
        html! {
            (self.head(visit))
            @if !told.is_empty() {
                section {
                    h2 { "Deliveries" }
                    table class="cards" {
                        thead { tr { th { "Result" } th { "Event" } th { "Endpoint" } th { "State" } th class="num" { "Attempts" } th { "Next" } } }
                        tbody { @for (event, delivery) in told {
                            tr {
                                td data-label="Result" { (delivery.sequence) }
                                td data-label="Event" { span { a href={ "/events/" (event.id) } { (kind(event.kind())) } } }
                                td data-label="Endpoint" { span { a href={ "/endpoints/" (delivery.endpoint) } { (delivery.endpoint) } } }
                                td data-label="State" { span { (stand(delivery, false)) } }
                                td data-label="Attempts" class="num" { (delivery.attempts) }
                                td data-label="Next" { span { @match delivery.due() { Some(due) => (when(due, visit.now)), None => span class="muted" { "–" } } } }
                            }
                        } }
                    }
                }
            }
            section {
                h2 { "Timeline" }
                @if left_out > 0 {
                    p class="muted" { "The oldest " (left_out) " entries are left out; " code { "vexora-relay status USER" } " has them." }
                }
                @if timeline.is_empty() { p { "Nothing is known of this user." } }
                ol class="story" {
                    @for (at, entry) in timeline.iter().skip(left_out) {
                        li class=(entry.class()) {
                            div { (entry.markup()) }
                            div class="when" { (when(*at, visit.now)) }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn show(visit: Visit) -> Answer {
    let (merchant, user) = named(&visit.parts, &visit.query)?;
    let story = visit.parts.store.story(&merchant, &user).await?;
    let story = StoryPage {
        merchant,
        user,
        story,
    };
    Ok(page(&visit, Tab::Users, "User", story.markup(&visit)))
}

pub(super) async fn verify(order: Order) -> Answer {
    let visit = order.visit;
    let (merchant, user) = named(&visit.parts, &visit.query)?;
    ask_about(&visit.parts, &merchant, &user).await?;
    let said = "Vexora is asked about this user now; load the page again for the answer.";
    Ok(visit.done(&user_path(&merchant, &user), said.to_owned()))
}

pub(super) async fn watch(order: Order) -> Answer {
    let visit = order.visit;
    let (merchant, user) = named(&visit.parts, &visit.query)?;
    let users = [user];
    let fresh = visit.parts.applications.watch(&merchant, &users).await?;
    let said = if fresh > 0 {
        "This user is asked about from now on until the result is final."
    } else {
        "This user is asked about already."
    };
    let [user] = users;
    Ok(visit.done(&user_path(&merchant, &user), said.to_owned()))
}
