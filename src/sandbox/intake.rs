//! From a provider request's bytes to fields that are all there and well signed, or to a refusal that says why not.
//!
//! Promise: no input makes it panic or keep more than it was given; a refusal never shows a secret. The codes are
//! ours: the provider has published only `0000`.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use crate::domain::{MerchantNo, Secret, UserId};
use crate::signing::vexora::sign;

/// More fields than this are nobody's honest application.
const MAX_FIELDS: usize = 32;

/// The `code` of an answer. Stable, and all but the first two our own invention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// `0000`: processed.
    Done,
    /// `9999`: what a wrong code looks like, by fault.
    Wrong,
    /// `1001`: no `merchantNo` header, or not ten digits.
    MerchantMissing,
    /// `1002`: not a merchant of this sandbox.
    MerchantUnknown,
    /// `1003`: the body cannot be read.
    Body,
    /// `1004`: a required field is not there, empty, or not a string.
    Field,
    /// `1005`: `timestamp` is no number of milliseconds.
    Timestamp,
    /// `1006`: the sign is not the right one.
    Sign,
    /// `1007`: a field has a value that cannot be used.
    Value,
    /// `2001`: no such user.
    UserUnknown,
}

impl Code {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "0000",
            Self::Wrong => "9999",
            Self::MerchantMissing => "1001",
            Self::MerchantUnknown => "1002",
            Self::Body => "1003",
            Self::Field => "1004",
            Self::Timestamp => "1005",
            Self::Sign => "1006",
            Self::Value => "1007",
            Self::UserUnknown => "2001",
        }
    }
}

/// Why a request is declined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: Code,
    pub msg: String,
}

impl Refusal {
    pub(super) fn new(code: Code, msg: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
        }
    }
}

pub(super) type Fields = BTreeMap<String, String>;

/// Reads a JSON object of strings.
pub(super) fn from_json(body: &[u8]) -> Result<Fields, Refusal> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|problem| Refusal::new(Code::Body, format!("the body is not JSON: {problem}")))?;
    let Value::Object(members) = value else {
        return Err(Refusal::new(Code::Body, "the body is not a JSON object"));
    };
    members
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            other => Err(Refusal::new(
                Code::Field,
                format!("{name:?} must be a string, found {}", kind(&other)),
            )),
        })
        .collect()
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Reads `multipart/form-data` without files.
pub(super) async fn from_multipart(content_type: &str, body: Bytes) -> Result<Fields, Refusal> {
    let unreadable = |problem: multer::Error| {
        Refusal::new(
            Code::Body,
            format!("the body is not multipart/form-data: {problem}"),
        )
    };
    let boundary = multer::parse_boundary(content_type).map_err(unreadable)?;
    let whole =
        futures_util::stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body)));
    let mut parts = multer::Multipart::new(whole, boundary);
    let mut fields = Fields::new();
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        if fields.len() >= MAX_FIELDS {
            return Err(Refusal::new(
                Code::Body,
                format!("more than {MAX_FIELDS} fields"),
            ));
        }
        let Some(name) = part.name().map(str::to_owned) else {
            return Err(Refusal::new(Code::Body, "a part has no name"));
        };
        if part.file_name().is_some() {
            return Err(Refusal::new(
                Code::Field,
                format!("{name:?} must be a text, found a file"),
            ));
        }
        let bytes = part.bytes().await.map_err(unreadable)?;
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return Err(Refusal::new(Code::Field, format!("{name:?} is not UTF-8")));
        };
        if fields.insert(name.clone(), text.to_owned()).is_some() {
            return Err(Refusal::new(Code::Body, format!("{name:?} is there twice")));
        }
    }
    Ok(fields)
}

/// Finds the merchant that a request's header names.
pub(super) fn merchant(
    header: Option<&str>,
    known: &BTreeMap<MerchantNo, Secret>,
) -> Result<(MerchantNo, Secret), Refusal> {
    let Some(text) = header else {
        return Err(Refusal::new(
            Code::MerchantMissing,
            "the header merchantNo is missing",
        ));
    };
    let number: MerchantNo = text.parse().map_err(|problem| {
        Refusal::new(
            Code::MerchantMissing,
            format!("the header merchantNo: {problem}"),
        )
    })?;
    known
        .get_key_value(&number)
        .map(|(number, secret)| (number.clone(), secret.clone()))
        .ok_or_else(|| Refusal::new(Code::MerchantUnknown, format!("unknown merchant {number}")))
}

/// Checks that every required field is there, that the timestamp is one, and the sign.
pub(super) fn check(
    fields: &Fields,
    required: &[&str],
    secret: &Secret,
) -> Result<UserId, Refusal> {
    for name in ["sign", "timestamp", "userId"].iter().chain(required) {
        if fields.get(*name).is_none_or(String::is_empty) {
            return Err(Refusal::new(
                Code::Field,
                format!("the field {name} is missing or empty"),
            ));
        }
    }
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let stamp = field("timestamp");
    // A sign, a space or a point would parse elsewhere; milliseconds are digits.
    if !stamp.bytes().all(|byte| byte.is_ascii_digit()) || stamp.parse::<u64>().is_err() {
        return Err(Refusal::new(
            Code::Timestamp,
            format!("timestamp {stamp:?} is not a number of milliseconds"),
        ));
    }
    let pairs = || {
        fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    };
    if sign(pairs(), secret) != field("sign") {
        let signed: String = pairs()
            .filter(|(name, value)| *name != "sign" && !value.is_empty())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        return Err(Refusal::new(
            Code::Sign,
            format!(
                "sign is wrong; expected the lowercase hex MD5 of the UTF-8 text {signed}<secret>"
            ),
        ));
    }
    field("userId")
        .parse()
        .map_err(|problem| Refusal::new(Code::Value, format!("userId: {problem}")))
}

/// Whether results may be sent to `text`: https, or http to this machine unless `remote`.
pub(super) fn callback_url(text: &str, remote: bool) -> Result<(), &'static str> {
    let Ok(url) = url::Url::parse(text) else {
        return Err("not a URL");
    };
    let here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("a URL without a host"),
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if here || remote => Ok(()),
        "http" => Err("expected https; plain http is taken to loopback only"),
        _ => Err("expected https"),
    }
}
