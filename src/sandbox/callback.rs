//! The body of a callback: what the provider would post, and each way in which it may come out wrong.
//!
//! Promise: a valid sign is the one of the published rule over the values as they are sent; a wrong one differs from
//! it for sure. Nothing in here sends anything.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::{Secret, Status};
use crate::signing::vexora::sign;

/// What becomes of a callback's sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignMode {
    /// The published rule with the merchant's secret.
    #[default]
    Valid,
    /// Looks like a sign and is not the right one.
    Wrong,
    /// No such field.
    Missing,
}

/// How a callback's fields travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A JSON object, as published.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// A JSON object within `data`.
    Nested,
    /// A string holding a JSON object, within `data`.
    NestedText,
}

/// What a callback looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub sign: SignMode,
    pub form: Form,
    pub timestamp_as_number: bool,
    pub status_as_number: bool,
    pub null_fail_reason: bool,
}

/// One callback as ordered: what is not said here follows from the user's state and faults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallbackSpec {
    /// Where to; otherwise the user's last `callBackUrl`.
    #[serde(alias = "callBackUrl")]
    pub url: Option<String>,
    /// The claimed status.
    #[serde(alias = "authenticationStatus")]
    pub status: Option<String>,
    /// The claimed reason; empty: none.
    #[serde(rename = "failReason", alias = "fail_reason")]
    pub fail_reason: Option<String>,
    /// The timestamp; otherwise now, in milliseconds.
    pub timestamp: Option<String>,
    /// Whether the timestamp is a JSON number.
    pub timestamp_as_number: Option<bool>,
    /// Whether the status is a JSON number.
    pub status_as_number: Option<bool>,
    /// Whether a missing reason is a `null` that is signed as the text `null`.
    pub null_fail_reason: Option<bool>,
    /// What becomes of the sign.
    pub sign: Option<SignMode>,
    /// How the fields travel.
    pub form: Option<Form>,
}

impl CallbackSpec {
    /// The user's own shape, with what is ordered here.
    pub(super) fn shape(&self, own: Shape) -> Shape {
        Shape {
            sign: self.sign.unwrap_or(own.sign),
            form: self.form.unwrap_or(own.form),
            timestamp_as_number: self.timestamp_as_number.unwrap_or(own.timestamp_as_number),
            status_as_number: self.status_as_number.unwrap_or(own.status_as_number),
            null_fail_reason: self.null_fail_reason.unwrap_or(own.null_fail_reason),
        }
    }
}

/// A callback ready to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackBody {
    /// The request's body.
    pub bytes: Vec<u8>,
    /// Its `Content-Type`.
    pub content_type: &'static str,
}

/// What a callback says.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub user: String,
    pub status: Status,
    pub reason: Option<String>,
    pub timestamp: String,
}

/// A text that is a whole number becomes a JSON number; any other text stays one.
fn scalar(text: &str, as_number: bool) -> Value {
    match text.parse::<u64>() {
        Ok(number) if as_number => json!(number),
        _ => json!(text),
    }
}

pub(super) fn status_value(status: &Status, as_number: bool) -> Value {
    scalar(status.code(), as_number)
}

/// Writes and signs a callback.
pub(super) fn write(claim: &Claim, shape: Shape, secret: &Secret) -> CallbackBody {
    let reason = claim.reason.as_deref().filter(|text| !text.is_empty());
    let signed_reason = reason.or(shape.null_fail_reason.then_some("null"));
    let mut pairs = vec![
        ("userId", claim.user.as_str()),
        ("authenticationStatus", claim.status.code()),
        ("timestamp", claim.timestamp.as_str()),
    ];
    pairs.extend(signed_reason.map(|text| ("failReason", text)));
    let valid = sign(pairs.iter().copied(), secret);
    let sign = match shape.sign {
        SignMode::Valid => Some(valid),
        SignMode::Wrong => Some(spoilt(&valid)),
        SignMode::Missing => None,
    };
    if shape.form == Form::Form {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(pairs);
        form.extend_pairs(sign.iter().map(|sign| ("sign", sign)));
        return CallbackBody {
            bytes: form.finish().into_bytes(),
            content_type: "application/x-www-form-urlencoded",
        };
    }
    let mut fields = Map::new();
    fields.insert("userId".to_owned(), json!(claim.user));
    fields.insert(
        "authenticationStatus".to_owned(),
        status_value(&claim.status, shape.status_as_number),
    );
    fields.insert(
        "timestamp".to_owned(),
        scalar(&claim.timestamp, shape.timestamp_as_number),
    );
    if signed_reason.is_some() {
        // `None` serializes as null: the very case where the signed text is not the sent value.
        fields.insert("failReason".to_owned(), json!(reason));
    }
    fields.extend(sign.map(|sign| ("sign".to_owned(), json!(sign))));
    let body = match shape.form {
        Form::Nested => json!({ "data": fields }),
        Form::NestedText => json!({ "data": Value::Object(fields).to_string() }),
        Form::Json | Form::Form => Value::Object(fields),
    };
    CallbackBody {
        bytes: body.to_string().into_bytes(),
        content_type: "application/json",
    }
}

/// Another text of the same look: the first digit is certainly not the right one.
fn spoilt(sign: &str) -> String {
    let other = if sign.starts_with('0') { "1" } else { "0" };
    format!("{other}{}", sign.get(1..).unwrap_or_default())
}
