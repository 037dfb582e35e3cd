//! `/users`: who is known, by the beginning of the id; and who is stuck.

use maud::{Markup, html};

use super::layout::{Tab, page};
use super::show::{pager, tag, user, when};
use super::visit::{Answer, Stop, Visit};
use crate::domain::{MerchantNo, Status, Timestamp, Verification, VerifyPhase};
use crate::store::{FoundUser, Page, Scope};

/// The page's data.
struct Users {
    found: Page<FoundUser>,
    merchants: Vec<MerchantNo>,
    stuck: bool,
    /// Something was asked for, or a later page.
    narrowed: bool,
}

/// How a result is shown.
pub(super) fn status(status: Option<&Status>) -> Markup {
    match status {
        None => html! { span class="muted" { "no result yet" } },
        Some(Status::Approved) => tag("good", "approved"),
        Some(Status::Rejected) => tag("bad", "rejected"),
        Some(Status::Unknown(_)) => tag("warn", "unknown"),
        Some(other) => tag("", other.word()),
    }
}

/// How far asking is.
pub(super) fn verification(one: &Verification, now: Timestamp) -> Markup {
    html! {
        @match one.phase {
            VerifyPhase::Stuck { at } => { (tag("warn", "stuck")) " since " (when(at, now)) "; " },
            VerifyPhase::Seeking { .. } => {}
        }
        "asked " (one.queries) " times, next " (when(one.due(), now))
    }
}

impl Users {
    async fn read(visit: &Visit) -> Result<Self, Stop> {
        let store = &visit.parts.store;
        let merchant: Option<MerchantNo> = visit.query.parsed("merchant")?;
        let stuck = visit.query.get("state") == Some("stuck");
        let page = visit.query.page()?;
        let prefix = visit.query.get("prefix").unwrap_or_default();
        let found = if stuck {
            let scope = Scope {
                merchant,
                ..Scope::default()
            };
            let listed = store.verifications(scope, true, page).await?;
            let user = |one: crate::store::ListedVerification| FoundUser {
                merchant: one.merchant,
                user: one.user,
                state: None,
                verification: Some(one.verification),
            };
            Page {
                items: listed.items.into_iter().map(user).collect(),
                next: listed.next,
            }
        } else {
            store.users(merchant, prefix.to_owned(), page).await?
        };
        let merchants = visit.parts.applications.merchants.load();
        Ok(Self {
            found,
            merchants: merchants.iter().map(|one| one.merchant.clone()).collect(),
            stuck,
            narrowed: !prefix.is_empty() || visit.query.get("cursor").is_some(),
        })
    }

    fn markup(&self, visit: &Visit) -> Markup {
        let chosen = visit.query.get("merchant");
        html! {
            h1 { @if self.stuck { "Stuck users" } @else { "Users" } }
            p class="lead" {
                @if self.stuck {
                    "Asked about for longer than verify.give_up_after without a final result, the latest first; still asked about once a day. "
                    a href="/users" { "All users" }
                } @else {
                    "Everybody who is known or asked about. Find one by how the id begins; capitals count."
                }
            }
            @if !self.stuck {
                section {
                    form class="line" method="get" action="/users" role="search" {
                        label { "User id begins with"
                            input type="search" name="prefix" maxlength="128" value=(visit.query.get("prefix").unwrap_or_default());
                        }
                        @if self.merchants.len() > 1 {
                            label { "Merchant"
                                select name="merchant" {
                                    option value="" { "all" }
                                    @for merchant in &self.merchants {
                                        option value=(merchant) selected[chosen == Some(merchant.as_str())] { (merchant) }
                                    }
                                }
                            }
                        }
                        button class="main" { "Find" }
                    }
                }
            }
            section {
                @if self.found.items.is_empty() && self.found.next.is_none() {
                    p { @if self.narrowed { "Nobody whose id begins so is known." } @else { "Nobody yet." } }
                } @else {
                    table class="cards" {
                        thead { tr { th { "User" } th { "Merchant" } th { "Result" } th { "Asking" } } }
                        tbody {
                            @for one in &self.found.items {
                                tr {
                                    td data-label="User" { span { (user(&one.merchant, &one.user)) } }
                                    td data-label="Merchant" { span { (one.merchant) } }
                                    td data-label="Result" { span {
                                        @let last = one.state.as_ref().and_then(|state| state.last.as_ref());
                                        @if self.stuck { span class="muted" { "see its story" } } @else {
                                            (status(last.map(|last| last.verdict.status())))
                                        }
                                        @if let Some(last) = last { " " (when(last.at, visit.now)) }
                                    } }
                                    td data-label="Asking" { span {
                                        @if let Some(asked) = &one.verification { (verification(asked, visit.now)) }
                                        @else { span class="muted" { "no" } }
                                    } }
                                }
                            }
                        }
                    }
                }
                (pager(&self.found, "/users", &visit.query))
            }
        }
    }
}

pub(super) async fn show(visit: Visit) -> Answer {
    let users = Users::read(&visit).await?;
    Ok(page(&visit, Tab::Users, "Users", users.markup(&visit)))
}
