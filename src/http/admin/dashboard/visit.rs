//! A request of somebody who is signed in, and why one is not answered as it wants to be.
//!
//! Promise: a handler that takes a [`Visit`] answers to operators only; one that takes an [`Order`], and only such a
//! one changes anything, has besides been sent by a form of a page that this session was shown.

use std::fmt;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{COOKIE, HOST, HeaderMap, LOCATION};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError, web};
use futures_util::StreamExt as _;
use maud::{Markup, html};

use super::fields::{Fields, link};
use super::layout;
use super::session::{Flash, Key, Sessions};
use crate::domain::{InvalidId, Secret, Timestamp};
use crate::http::admin::AdminParts;
use crate::store::{Refused, StoreError};

pub(super) type Answer = Result<HttpResponse, Stop>;

/// A form of ours has some hundred bytes; a user id of 128 characters is the longest in it.
const MOST_FORM: usize = 16 << 10;

/// Why a request is not answered as it wants to be.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody is signed in; whoever then is goes on there.
    SignIn(String),
    /// It cannot be done.
    Page(StatusCode, &'static str, String),
}

impl Stop {
    pub(super) fn new(status: StatusCode, title: &'static str, text: impl Into<String>) -> Self {
        Self::Page(status, title, text.into())
    }

    pub(super) fn nothing_here() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Nothing here",
            "There is no such page; what it was about may have been older than store.retention.",
        )
    }

    /// A field that says nothing that could be meant.
    pub(super) fn wrong(what: &str, error: &InvalidId) -> Self {
        let title = "That cannot be meant";
        Self::new(StatusCode::BAD_REQUEST, title, format!("{what}: {error}."))
    }

    pub(super) fn forged() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Not from a form of this session",
            "Nothing was done. The page may have been open since before you signed in: load it again and repeat.",
        )
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Cursor) {
            return Self::wrong("cursor", &InvalidId("it is not one of this list"));
        }
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a page of the dashboard failed in the store"
        );
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The store could not do it",
            "Nothing was changed. The reason is in the service's log.",
        )
    }
}

impl From<Refused> for Flash {
    fn from(why: Refused) -> Self {
        Self {
            good: false,
            text: format!("Not done: {why}."),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignIn(_) => f.write_str("not signed in"),
            Self::Page(_, title, _) => f.write_str(title),
        }
    }
}

impl ResponseError for Stop {
    fn error_response(&self) -> HttpResponse {
        match self {
            Self::SignIn(to) => see_other(&link("/sign-in", &[("to", to)])),
            Self::Page(status, title, text) => {
                let body = html! {
                    section {
                        h1 { (title) }
                        p { (text) }
                        p { a href="/" { "Back to Now" } }
                    }
                };
                layout::outside(*status, title, body)
            }
        }
    }
}

/// The browser asks for another page, by GET.
pub(super) fn see_other(to: &str) -> HttpResponse {
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((LOCATION, to));
    layout::protect(&mut answer);
    answer.finish()
}

/// Cookies know no ports: two relays on one host are told apart by what the cookie is called.
pub(super) fn cookie_name(headers: &HeaderMap, what: &str) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let port = host.and_then(|host| host.rsplit_once(':')?.1.parse::<u16>().ok());
    match port {
        Some(port) => format!("vexora-relay-{what}-{port}"),
        None => format!("vexora-relay-{what}"),
    }
}

pub(super) fn cookie(headers: &HeaderMap, what: &str) -> Option<String> {
    let name = cookie_name(headers, what);
    let lines = headers
        .get_all(COOKIE)
        .filter_map(|line| line.to_str().ok());
    let mut pairs = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let found = pairs.find(|(other, _)| *other == name)?;
    Some(found.1.to_owned())
}

/// Browsers say where a request comes from; another site's page has no business here.
pub(super) fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    !matches!(site, None | Some(b"same-origin" | b"none"))
}

/// Somebody who is signed in looks at a page.
pub(super) struct Visit {
    pub(super) parts: web::Data<AdminParts>,
    pub(super) now: Timestamp,
    pub(super) query: Fields,
    sessions: web::Data<Sessions>,
    key: Key,
    csrf: Secret,
}

impl Visit {
    fn of(request: &HttpRequest) -> Result<Self, Stop> {
        let parts = request.app_data::<web::Data<AdminParts>>();
        let sessions = request.app_data::<web::Data<Sessions>>();
        let to = match request.uri().path_and_query() {
            Some(asked) if request.method().is_safe() => asked.as_str(),
            _ => "/",
        };
        let stop = || Stop::SignIn(to.to_owned());
        let (parts, sessions) = parts.zip(sessions).ok_or_else(stop)?;
        let now = parts.clock.now();
        let id = cookie(request.headers(), "session").ok_or_else(stop)?;
        let (key, csrf) = sessions.find(&id, now).ok_or_else(stop)?;
        Ok(Self {
            parts: parts.clone(),
            now,
            query: Fields::of(request.query_string().as_bytes()),
            sessions: sessions.clone(),
            key,
            csrf,
        })
    }

    /// What every form must hold.
    pub(super) fn token(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.csrf.expose()); }
    }

    /// What is to be said on this page.
    pub(super) fn told(&self) -> Option<Flash> {
        self.sessions.told(&self.key)
    }

    /// Ends the session.
    pub(super) fn close(&self) {
        self.sessions.close(&self.key);
    }

    /// It was done, or not: said on the page that is shown next.
    pub(super) fn done(&self, to: &str, said: impl Into<Flash>) -> HttpResponse {
        self.sessions.tell(&self.key, said.into());
        see_other(to)
    }
}

impl From<String> for Flash {
    fn from(text: String) -> Self {
        Self { good: true, text }
    }
}

impl FromRequest for Visit {
    type Error = Stop;
    type Future = std::future::Ready<Result<Self, Stop>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Self::of(request))
    }
}

/// A form's fields, as far as they may be long.
pub(super) async fn form(request: &HttpRequest, payload: Payload) -> Result<Fields, Stop> {
    let too_long = || {
        let title = "Too long";
        Stop::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            title,
            "No form here is as long.",
        )
    };
    if !request
        .content_type()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    {
        return Err(Stop::forged());
    }
    let mut payload = payload;
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_broken| Stop::forged())?;
        if body.len() + chunk.len() > MOST_FORM {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fields::of(&body))
}

/// Somebody who is signed in has sent a form.
pub(super) struct Order {
    pub(super) visit: Visit,
    pub(super) form: Fields,
}

impl FromRequest for Order {
    type Error = Stop;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Stop>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let visit = Visit::of(&request)?;
            if is_cross_site(request.headers()) {
                return Err(Stop::forged());
            }
            let form = form(&request, payload).await?;
            let given = form.get("csrf").unwrap_or_default();
            if !visit.csrf.matches(given.as_bytes()) {
                return Err(Stop::forged());
            }
            Ok(Self { visit, form })
        })
    }
}
