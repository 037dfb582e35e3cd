//! The query string of a list: which part of it, and narrowed by what.
//!
//! Promise: a parameter that a route does not take, or that says nothing it understands, is an error that names it; no
//! typing error silently gives the whole list.

use std::future::{Ready, ready};

use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, dev};
use serde_json::{Value, json};

use super::api::{Failed, invalid};
use super::routes;
use crate::domain::{InvalidId, Timestamp};
use crate::http::problem::Problem;
use crate::store::{PageOf, Scope};

/// Rows on a page, if nothing else is asked for.
const LIMIT: usize = 50;

/// Rows on a page at most.
const MOST: usize = 500;

/// A parameter that a route takes.
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: fn() -> Value,
    /// May be given several times; any of them is meant then.
    pub(super) repeats: bool,
}

impl Param {
    pub(super) const fn new(
        name: &'static str,
        about: &'static str,
        schema: fn() -> Value,
    ) -> Self {
        Self {
            name,
            about,
            schema,
            repeats: false,
        }
    }

    pub(super) const LIMIT: Self = Self::new(
        "limit",
        "rows on the page",
        || json!({"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT}),
    );
    pub(super) const CURSOR: Self = Self::new(
        "cursor",
        "`next` of the page before; the filter must be the same",
        || json!({"type": "string", "maxLength": 1024}),
    );
    pub(super) const MERCHANT: Self = Self::new(
        "merchant",
        "of this merchant",
        || json!({"type": "string", "pattern": "^[0-9]{10}$"}),
    );
    pub(super) const USER: Self = Self::new(
        "user",
        "of this user",
        || json!({"type": "string", "minLength": 1, "maxLength": 128}),
    );
    pub(super) const SINCE: Self = Self::new(
        "since",
        "from then on, RFC 3339",
        || json!({"type": "string", "format": "date-time"}),
    );
    pub(super) const UNTIL: Self = Self::new(
        "until",
        "before then, RFC 3339",
        || json!({"type": "string", "format": "date-time"}),
    );
}

/// The parameters of a request, read as a handler asks for them.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl FromRequest for Query {
    type Error = Failed;
    type Future = Ready<Result<Self, Failed>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

fn wrong(detail: String) -> Failed {
    let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid_request", "");
    Failed(problem.detail(detail))
}

impl Query {
    fn of(request: &HttpRequest) -> Self {
        let pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// Refuses what the route does not take.
    pub(super) fn check(request: &HttpRequest) -> Result<(), Failed> {
        let Self(pairs) = Self::of(request);
        let taken = routes::of(request).map_or(&[][..], |operation| operation.query);
        for (at, (name, _)) in pairs.iter().enumerate() {
            let Some(param) = taken.iter().find(|param| param.name == name) else {
                let names: Vec<&str> = taken.iter().map(|param| param.name).collect();
                let takes = if names.is_empty() {
                    "this takes none".to_owned()
                } else {
                    format!("this takes {}", names.join(", "))
                };
                return Err(wrong(format!(
                    "unknown query parameter `{}`; {takes}",
                    named(name)
                )));
            };
            let earlier = pairs.iter().take(at).any(|(other, _)| other == name);
            if earlier && !param.repeats {
                return Err(wrong(format!("{name}: given twice")));
            }
        }
        Ok(())
    }

    fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A value that is parsed.
    pub(super) fn parsed<T: std::str::FromStr<Err = InvalidId>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Failed> {
        let text = self.text(name);
        text.map(|text| text.parse().map_err(|error| invalid(name, &error)))
            .transpose()
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, Failed> {
        // A `+` that nobody escaped is a space by now.
        let text = self.text(name).map(|text| text.replace(' ', "+"));
        text.map(|text| time(name, &text)).transpose()
    }

    /// One of these words.
    pub(super) fn one_of<T: Copy>(
        &self,
        name: &str,
        all: &[T],
        word: impl Fn(T) -> &'static str + Copy,
    ) -> Result<Option<T>, Failed> {
        Ok(self.any_of(name, all, word)?.pop())
    }

    /// Some of these words.
    pub(super) fn any_of<T: Copy>(
        &self,
        name: &str,
        all: &[T],
        word: impl Fn(T) -> &'static str + Copy,
    ) -> Result<Vec<T>, Failed> {
        let given = self.0.iter().filter(|(other, _)| other == name);
        given
            .map(|(_, text)| one_of(name, text, all, word))
            .collect()
    }

    /// Whose, and of when.
    pub(super) fn scope(&self) -> Result<Scope, Failed> {
        Ok(Scope {
            merchant: self.parsed("merchant")?,
            user: self.parsed("user")?,
            since: self.time("since")?,
            until: self.time("until")?,
        })
    }

    /// Which page.
    pub(super) fn page(&self) -> Result<PageOf, Failed> {
        let limit = match self.text("limit") {
            None => LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MOST).contains(limit))
                .ok_or_else(|| wrong(format!("limit: expected a number from 1 to {MOST}")))?,
        };
        Ok(PageOf {
            limit,
            cursor: self.parsed("cursor")?,
        })
    }
}

/// What somebody named, shown only as far as it could be a name of ours at all.
fn named(text: &str) -> String {
    let letters = text
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(*letter));
    letters.take(32).collect()
}

/// The one that this word means; if it is no word of these, which they are.
pub(super) fn one_of<T: Copy>(
    what: &str,
    text: &str,
    all: &[T],
    word: impl Fn(T) -> &'static str,
) -> Result<T, Failed> {
    let found = all.iter().copied().find(|one| word(*one) == text);
    found.ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|one| word(*one)).collect();
        let (none, words) = (named(text), words.join(", "));
        wrong(format!(
            "{what}: there is no `{none}` here; expected one of {words}"
        ))
    })
}

/// A time in RFC 3339.
pub(super) fn time(what: &str, text: &str) -> Result<Timestamp, Failed> {
    let parsed: Option<jiff::Timestamp> = text.parse().ok();
    let millis = parsed.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    let error = InvalidId("a time is written as in 2026-11-21T10:00:00Z, from 1970 on");
    millis
        .map(Timestamp::from_millis)
        .ok_or_else(|| invalid(what, &error))
}
