//! What a form or a query string says, by name.

use std::str::FromStr;

use super::visit::Stop;
use crate::domain::{InvalidId, Timestamp};
use crate::store::{Cursor, PageOf};

/// Rows on a page.
pub(super) const ROWS: usize = 50;

/// Names and values, as they came.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn of(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// A value; one that is empty, as an untouched field of a form is, counts as none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of this name.
    pub(super) fn all<'a, 'b>(
        &'a self,
        name: &'b str,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'b> {
        let named = self.0.iter().filter(move |(other, _)| other == name);
        named
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// A value that is parsed.
    pub(super) fn parsed<T: FromStr<Err = InvalidId>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Stop> {
        let value = self.get(name);
        value
            .map(|value| value.parse().map_err(|error| Stop::wrong(name, &error)))
            .transpose()
    }

    /// A value that must be there.
    pub(super) fn needed<T: FromStr<Err = InvalidId>>(&self, name: &str) -> Result<T, Stop> {
        self.parsed(name)?
            .ok_or_else(|| Stop::wrong(name, &InvalidId("it is missing")))
    }

    /// A time: RFC 3339, or as a browser's field gives it, which is taken for UTC.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Stop> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let in_utc = || {
            let local: jiff::civil::DateTime = text.parse().ok()?;
            Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        };
        let at: Option<jiff::Timestamp> = text.parse().ok().or_else(in_utc);
        let millis = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
        let error = InvalidId("a time in UTC is written as in 2026-11-21T10:00");
        millis
            .map(|millis| Some(Timestamp::from_millis(millis)))
            .ok_or_else(|| Stop::wrong(name, &error))
    }

    /// Which page of a list.
    pub(super) fn page(&self) -> Result<PageOf, Stop> {
        Ok(PageOf {
            limit: ROWS,
            cursor: self.parsed("cursor")?,
        })
    }

    /// The same question, from there on.
    pub(super) fn from(&self, path: &str, cursor: Option<&Cursor>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let kept = self.0.iter();
        for (name, value) in kept.filter(|(name, value)| name != "cursor" && !value.is_empty()) {
            query.append_pair(name, value);
        }
        if let Some(cursor) = cursor {
            query.append_pair("cursor", &cursor.to_string());
        }
        address(path, &query.finish())
    }
}

fn address(path: &str, query: &str) -> String {
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

/// An address with a query string.
pub(super) fn link(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    address(path, &query.finish())
}
