//! What a callback says: whom it speaks of, what it claims, and what its sign is to be checked over.
//!
//! Promise: pure and total. Whatever the bytes are, there is a reading, in about the time that sorting them takes; the format
//! is found out by looking, because the provider's pages and its callbacks need not agree. A reading is a hint: who
//! believes it asks the status query first.

use crate::domain::UserId;
use crate::signing::vexora::Param;

use super::fields::{Fields, Value};
use super::multipart;

/// The longest claim kept, in bytes. Real ones are one digit; the rest of the body is kept anyway.
const MAX_CLAIM: usize = 64;

/// What a callback says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Whom it speaks of: a valid user id, or nobody.
    pub user: Option<UserId>,
    /// The `authenticationStatus` as it came, at most 64 bytes.
    pub claim: Option<String>,
    /// The object or form in which the `sign` stands; without any `sign`, the outermost.
    pub params: Vec<Param>,
}

/// Reads a callback. The user id, the claim and the sign are each looked for in the body, under its `data`, and in
/// the query string, in this order; the first that is there and not empty counts, even if it turns out invalid.
#[must_use]
pub fn read(body: &[u8], query: Option<&str>) -> Reading {
    let outer = fields_of(body);
    let inner = outer.get("data").and_then(under_data).unwrap_or_default();
    let query = Fields::from_form(query.unwrap_or_default().as_bytes());
    let places = [&outer, &inner, &query];
    let find = |name| places.iter().find_map(|fields| fields.scalar(name));
    let signed = places
        .into_iter()
        .find(|fields| fields.scalar("sign").is_some())
        .unwrap_or(&outer);
    Reading {
        user: find("userId").and_then(|text| text.parse().ok()),
        claim: find("authenticationStatus")
            .filter(|text| text.len() <= MAX_CLAIM)
            .map(str::to_owned),
        params: signed.params(),
    }
}

fn fields_of(body: &[u8]) -> Fields {
    let body = stripped(body);
    if let Some(object) = std::str::from_utf8(body).ok().and_then(Fields::from_json) {
        return object;
    }
    multipart::read(body)
        .filter(|fields| !fields.is_empty())
        .unwrap_or_else(|| Fields::from_form(body))
}

/// Without a UTF-8 byte order mark and white space around.
fn stripped(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    text.strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(text)
        .trim_ascii()
}

/// `data` as an object, or as a text that holds one.
fn under_data(data: &Value) -> Option<Fields> {
    match data {
        Value::Other(json) | Value::Text(json) => {
            let json = std::str::from_utf8(stripped(json.as_bytes())).ok()?;
            Fields::from_json(json)
        }
        Value::Number(_) | Value::Null => None,
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
