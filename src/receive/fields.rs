//! Named values, whatever they came as: a JSON object, a form or a multipart body.
//!
//! Promise: numbers keep the text they were written in, because the provider's sign is over that text; time is
//! that of sorting the names, and depth costs nothing (nested values are skipped over, never entered).
//!
//! A name that comes twice: the last one wins, as with the JSON parsers of Java and of browsers. Look-ups and the
//! sign see the same single value, so nobody can show one to the one and another to the other.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::signing::vexora::{Param, ParamValue};

/// A value as far as a callback's reader cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text; every value of a form is one.
    Text(String),
    /// A JSON number, as written.
    Number(String),
    /// A JSON `null`.
    Null,
    /// Anything else in JSON (object, array, true, false, a text that is not Unicode), as written.
    Other(String),
}

impl Value {
    fn from_json(raw: &str) -> Self {
        // Most texts escape nothing, and what stands between their quotes was looked at already.
        let plain = raw
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        if let Some(plain) = plain.filter(|plain| !plain.as_bytes().contains(&b'\\')) {
            return Self::Text(plain.to_owned());
        }
        match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw)
                .map_or_else(|_lone_surrogate| Self::Other(raw.to_owned()), Self::Text),
            Some(b'-' | b'0'..=b'9') => Self::Number(raw.to_owned()),
            _ if raw == "null" => Self::Null,
            _ => Self::Other(raw.to_owned()),
        }
    }

    /// The text of a text or a number; `None` for an empty text, which counts as not there.
    pub(super) fn scalar(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn param(&self) -> ParamValue {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Other(text) => {
                ParamValue::Text(text.clone())
            }
            Self::Null => ParamValue::Null,
        }
    }
}

/// Values by name, each name once, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(BTreeMap<String, Value>);

impl FromIterator<(String, Value)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Fields {
    /// The members of a JSON object; `None` if this is not one JSON object and nothing else.
    pub(super) fn from_json(text: &str) -> Option<Self> {
        let members: Members<'_> = serde_json::from_str(text).ok()?;
        let pairs = members.0.into_iter();
        Some(
            pairs
                .map(|(name, raw)| (name, Value::from_json(raw.get())))
                .collect(),
        )
    }

    /// The pairs of a form body or a query string. A pair that is not UTF-8 is left out: it cannot be the one that
    /// the sender signed.
    pub(super) fn from_form(form: &[u8]) -> Self {
        form.split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
            .filter_map(|pair| {
                let mut halves = pair.splitn(2, |byte| *byte == b'=');
                let name = form_decode(halves.next().unwrap_or_default())?;
                let value = form_decode(halves.next().unwrap_or_default())?;
                Some((name, Value::Text(value)))
            })
            .collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of a text or number of this name.
    pub(super) fn scalar(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::scalar)
    }

    /// All of it, for checking the sign, in order of the names.
    pub(super) fn params(&self) -> Vec<Param> {
        let named = self.0.iter();
        named
            .map(|(name, value)| (name.clone(), value.param()))
            .collect()
    }
}

/// A JSON object's members in order, duplicates kept, values unread.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Collect).map(Members)
    }
}

/// `+` is a space and `%41` an `A`; a `%` that starts no escape stands for itself. `None` if it is not UTF-8 then.
fn form_decode(encoded: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, escape(after)) {
            (b'%', Some((value, after))) => {
                decoded.push(value);
                rest = after;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
    }
    String::from_utf8(decoded).ok()
}

/// The byte that two hex digits stand for, and what comes after them.
fn escape(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (pair, rest) = digits.split_first_chunk::<2>()?;
    let mut value = [0];
    hex::decode_to_slice(pair, &mut value).ok()?;
    Some((value[0], rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn numbers_keep_the_text_they_were_written_in() {
        for literal in [
            "1732988442913",
            "1.50",
            "-0",
            "1E+2",
            "123456789012345678901234567890",
        ] {
            let fields = Fields::from_json(&format!("{{\"n\": {literal} }}")).expect("an object");
            assert_eq!(fields.get("n"), Some(&Value::Number(literal.to_owned())));
        }
    }

    #[test]
    fn of_a_name_that_comes_twice_the_last_value_counts() {
        let json = Fields::from_json(r#"{"a":"1","b":"x","a":"2"}"#).expect("an object");
        let form = Fields::from_form(b"a=1&b=x&a=2");
        assert_eq!(json.get("a"), Some(&text("2")));
        assert_eq!(json, form);
    }

    #[test]
    fn nested_values_are_taken_as_written_however_deep() {
        let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        let fields =
            Fields::from_json(&format!("{{\"deep\":{deep},\"a\":\"1\"}}")).expect("an object");
        assert_eq!(fields.get("deep"), Some(&Value::Other(deep)));
        assert_eq!(fields.get("a"), Some(&text("1")));
    }

    #[test]
    fn a_form_is_decoded_and_broken_escapes_stand_for_themselves() {
        let fields =
            Fields::from_form("name=%E3%83%A4+%2B&odd=100%&x=%zz&=v&flag&&raw=ヤ".as_bytes());
        assert_eq!(fields.get("name"), Some(&text("ヤ +")));
        assert_eq!(fields.get("odd"), Some(&text("100%")));
        assert_eq!(fields.get("x"), Some(&text("%zz")));
        assert_eq!(fields.get("flag"), Some(&text("")));
        assert_eq!(fields.get("raw"), Some(&text("ヤ")));
        assert_eq!(Fields::from_form(b"bad=%ff").get("bad"), None);
    }
}
