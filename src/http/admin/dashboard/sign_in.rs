//! In by the admin token, out by a button.
//!
//! The form for signing in has no session to be tied to. It is tied to the browser instead: what it carries must be
//! what a cookie of ours carries, and no other site's page can set or read that. `Origin` would not do: with
//! `Referrer-Policy: no-referrer` browsers say `null`.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, SET_COOKIE};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use maud::html;

use super::fields::Fields;
use super::layout;
use super::session::{LASTS, Sessions, fresh};
use super::visit::{Answer, Order, Stop, cookie, cookie_name, form, is_cross_site, see_other};
use crate::domain::Secret;
use crate::http::admin::AdminParts;
use crate::http::admin::guard::Guard;

/// A cookie for this host alone, that scripts do not see and other sites' pages do not send. Never `Secure`: the
/// listener speaks plain HTTP, and nobody's word is taken for what stands before it.
fn set_cookie(name: &str, value: &str, lasts: u64) -> String {
    format!("{name}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict")
}

/// A page of ours, and not of another site that somebody is to be sent to.
fn inside(to: Option<&str>) -> &str {
    let is_ours = |to: &&str| {
        to.starts_with('/')
            && !to.starts_with("//")
            && to
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    to.filter(is_ours).unwrap_or("/")
}

/// The page with the form.
fn ask(request: &HttpRequest, ticket: &str, to: &str, said: Option<&str>) -> HttpResponse {
    let status = if said.is_some() {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::OK
    };
    let body = html! {
        section {
            h1 { "vexora-relay" }
            p class="muted" { "Sign in with the admin token: what " code { "admin.token" } " names, else the file "
                code { "admin-token" } " in the data directory." }
            @if let Some(said) = said { p class="flash bad" role="alert" { (said) } }
            form method="post" action="/sign-in" {
                input type="hidden" name="ticket" value=(ticket);
                input type="hidden" name="to" value=(to);
                label { "Admin token"
                    input type="password" name="token" required autocomplete="current-password" autofocus;
                }
                button class="main" { "Sign in" }
            }
        }
        p class="muted" { "Followed a link and signed in already? " a href=(to) { "Go on" } "." }
    };
    let mut answer = layout::outside(status, "Sign in", body);
    let name = cookie_name(request.headers(), "sign-in");
    if let Ok(cookie) = set_cookie(&name, ticket, 3600).parse() {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}

pub(super) async fn show(request: HttpRequest, parts: web::Data<AdminParts>) -> HttpResponse {
    let query = Fields::of(request.query_string().as_bytes());
    // One that is there is kept: a second tab must not make the first one's form useless.
    let known = cookie(request.headers(), "sign-in");
    let known = known
        .filter(|ticket| ticket.len() == 32 && ticket.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let ticket = known.unwrap_or_else(|| fresh(&*parts.entropy));
    ask(&request, &ticket, inside(query.get("to")), None)
}

/// What was sent to sign in.
pub(super) struct Entry(Fields);

impl FromRequest for Entry {
    type Error = Stop;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, Stop>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { form(&request, payload).await.map(Self) })
    }
}

pub(super) async fn enter(
    request: HttpRequest,
    Entry(form): Entry,
    parts: web::Data<AdminParts>,
    sessions: web::Data<Sessions>,
    guard: web::Data<Guard>,
) -> Answer {
    let (headers, to) = (request.headers(), inside(form.get("to")));
    let ticket = cookie(headers, "sign-in").unwrap_or_default();
    let given = form.get("ticket").unwrap_or_default();
    if is_cross_site(headers) || given.is_empty() || !Secret::new(&ticket).matches(given.as_bytes())
    {
        let ticket = fresh(&*parts.entropy);
        let said = "The form was not this browser's, or too old, or cookies are off. Try again.";
        return Ok(ask(&request, &ticket, to, Some(said)));
    }
    let now = parts.clock.now();
    let client = request.peer_addr().map(|address| address.ip());
    if let Err(wait) = guard.admit(client, now) {
        let text = format!("Wait {wait} s, then try again.");
        let stop = Stop::new(StatusCode::TOO_MANY_REQUESTS, "Too many wrong tokens", text);
        let mut answer = actix_web::ResponseError::error_response(&stop);
        answer.headers_mut().insert(RETRY_AFTER, wait.into());
        return Ok(answer);
    }
    if !parts
        .token
        .matches(form.get("token").unwrap_or_default().as_bytes())
    {
        guard.wrong(client, now);
        tracing::warn!("signing in to the dashboard with a wrong admin token was refused");
        return Ok(ask(
            &request,
            &ticket,
            to,
            Some("That is not the admin token."),
        ));
    }
    guard.right(client);
    let id = sessions.open(now, &*parts.entropy);
    tracing::info!("an operator signed in to the dashboard");
    let mut answer = see_other(to);
    for cookie in [
        set_cookie(&cookie_name(headers, "session"), &id, LASTS.as_secs()),
        set_cookie(&cookie_name(headers, "sign-in"), "", 0),
    ] {
        if let Ok(cookie) = cookie.parse() {
            answer.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    Ok(answer)
}

pub(super) async fn leave(request: HttpRequest, order: Order) -> Answer {
    order.visit.close();
    let mut answer = see_other("/sign-in");
    let gone = set_cookie(&cookie_name(request.headers(), "session"), "", 0);
    if let Ok(gone) = gone.parse() {
        answer.headers_mut().append(SET_COOKIE, gone);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_signs_in_stays_on_this_site() {
        for ours in ["/", "/users?prefix=a", "/user?merchant=1&user=%2F%2F"] {
            assert_eq!(inside(Some(ours)), ours);
        }
        for others in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/\u{9}/evil",
            "evil",
        ] {
            assert_eq!(inside(Some(others)), "/", "{others}");
        }
        assert_eq!(inside(None), "/");
    }
}
