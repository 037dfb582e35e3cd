//! What every page has: its head, its tabs, its foot, and the headers that keep a browser from doing more than it is
//! asked to.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::show::when;
use super::visit::Visit;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The pages that have a tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Now,
    Users,
    Events,
    Endpoints,
    Abandoned,
    Unrecognized,
}

impl Tab {
    const ALL: [Self; 6] = [
        Self::Now,
        Self::Users,
        Self::Events,
        Self::Endpoints,
        Self::Abandoned,
        Self::Unrecognized,
    ];

    const fn path_and_word(self) -> (&'static str, &'static str) {
        match self {
            Self::Now => ("/", "Now"),
            Self::Users => ("/users", "Users"),
            Self::Events => ("/events", "Events"),
            Self::Endpoints => ("/endpoints", "Endpoints"),
            Self::Abandoned => ("/abandoned", "Abandoned"),
            Self::Unrecognized => ("/unrecognized", "Unrecognized"),
        }
    }
}

/// Headers of everything but the stylesheet and the script.
pub(super) fn protect(answer: &mut HttpResponseBuilder) {
    answer
        .insert_header(("content-security-policy", POLICY))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-store"));
}

/// HTML as an answer.
pub(super) fn answer(status: StatusCode, markup: Markup) -> HttpResponse {
    let mut answer = HttpResponse::build(status);
    protect(&mut answer);
    answer.insert_header((CONTENT_TYPE, "text/html; charset=utf-8"));
    answer.body(markup.into_string())
}

fn document(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " · vexora-relay" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href=(assets::css());
                script src=(assets::js()) defer {}
            }
            body { (body) }
        }
    }
}

/// A page for whoever is not signed in, and of what went wrong.
pub(super) fn outside(status: StatusCode, title: &str, body: Markup) -> HttpResponse {
    let body = html! { main class="door" id="main" { (body) } };
    answer(status, document(title, body))
}

/// A page for whoever is signed in.
pub(super) fn page(visit: &Visit, here: Tab, title: &str, body: Markup) -> HttpResponse {
    let flash = visit.told();
    let body = html! {
        a class="skip" href="#main" { "Skip to the content" }
        header class="top" {
            div {
                a class="brand" href="/" { "vexora-relay" }
                nav class="tabs" aria-label="Pages" {
                    ul {
                        @for tab in Tab::ALL {
                            @let (path, word) = tab.path_and_word();
                            li {
                                @if tab == here {
                                    a href=(path) aria-current="page" { (word) }
                                } @else {
                                    a href=(path) { (word) }
                                }
                            }
                        }
                    }
                }
                form method="post" action="/sign-out" {
                    (visit.token())
                    button class="plain" { "Sign out" }
                }
            }
        }
        main id="main" tabindex="-1" {
            @if let Some(flash) = flash {
                @let class = if flash.good { "flash" } else { "flash bad" };
                p class=(class) role="status" { (flash.text) }
            }
            (body)
        }
        footer {
            "vexora-relay " (env!("CARGO_PKG_VERSION")) " · times are UTC · page made "
            (when(visit.now, visit.now))
        }
    };
    answer(StatusCode::OK, document(title, body))
}
