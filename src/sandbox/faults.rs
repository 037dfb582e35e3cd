//! Everything that the simulated provider can be told to do badly: one struct that is the flags, the control API's
//! JSON and the tests' builder at once.
//!
//! Promise: the default is a provider without fault, and each fault is independent of the others as far as they can
//! be. Nothing in here acts.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::callback::{Form, Shape, SignMode};
use crate::domain::Status;

/// Faults to order, for every user or for one. All off by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Faults")]
pub struct Faults {
    /// Send the first callback this long after the decision [e.g. 30s; scaled]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "0s", hide_default_value = true)]
    #[serde(with = "span")]
    pub callback_late: Duration,
    /// Never send a callback
    #[arg(long)]
    pub callback_never: bool,
    /// Send every callback twice, each with its own retries
    #[arg(long)]
    pub callback_twice: bool,
    /// Decide at once and send the callback before the apply call is answered
    #[arg(long)]
    pub callback_early: bool,
    /// Callbacks claim the opposite result, and their sign is wrong
    #[arg(long)]
    pub callback_forged: bool,
    /// Callbacks claim the opposite result, and their sign is valid
    #[arg(long)]
    pub callback_lying: bool,
    /// The sign of callbacks is wrong
    #[arg(long)]
    pub callback_wrong_sign: bool,
    /// Callbacks come without a sign
    #[arg(long)]
    pub callback_no_sign: bool,
    /// The timestamp of callbacks is a JSON number, as in the published sample
    #[arg(long)]
    pub callback_number_timestamp: bool,
    /// A callback without a reason says failReason null, and signs it as the text "null"
    #[arg(long)]
    pub callback_null_reason: bool,
    /// Callbacks come as a URL-encoded form
    #[arg(long)]
    pub callback_as_form: bool,
    /// The fields of callbacks are nested in an object named data
    #[arg(long)]
    pub callback_nested: bool,
    /// The fields of callbacks are nested under data, as a string that holds JSON
    #[arg(long)]
    pub callback_nested_text: bool,
    /// Repeated callbacks carry a new timestamp and sign [default: the same bytes again]
    #[arg(long)]
    pub callback_restamped: bool,
    /// The query shows a result only this long after the decision [e.g. 5s; scaled]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "0s", hide_default_value = true)]
    #[serde(with = "span")]
    pub query_lag: Duration,
    /// The query answers HTTP 500
    #[arg(long)]
    pub query_500: bool,
    /// The query answers HTML with HTTP 200
    #[arg(long)]
    pub query_not_json: bool,
    /// The query never answers
    #[arg(long)]
    pub query_hang: bool,
    /// The query answers success true and a status, but with code 9999
    #[arg(long)]
    pub query_wrong_code: bool,
    /// Answers say success "true" as a string
    #[arg(long)]
    pub success_text: bool,
    /// authenticationStatus is a JSON number, in answers and callbacks
    #[arg(long)]
    pub status_number: bool,
    /// The status is "4", in answers to the query and in callbacks
    #[arg(long)]
    pub status_unknown: bool,
    /// An application is accepted, but the call never answered
    #[arg(long)]
    pub apply_hang: bool,
}

impl Faults {
    /// What a callback looks like under these faults.
    pub(super) fn shape(&self) -> Shape {
        Shape {
            sign: if self.callback_no_sign {
                SignMode::Missing
            } else if self.callback_wrong_sign || self.callback_forged {
                SignMode::Wrong
            } else {
                SignMode::Valid
            },
            form: if self.callback_as_form {
                Form::Form
            } else if self.callback_nested {
                Form::Nested
            } else if self.callback_nested_text {
                Form::NestedText
            } else {
                Form::Json
            },
            timestamp_as_number: self.callback_number_timestamp,
            status_as_number: self.status_number,
            null_fail_reason: self.callback_null_reason,
        }
    }

    /// The status that a callback claims of a user whose status is `truth`.
    pub(super) fn claimed(&self, truth: &Status) -> Status {
        if self.status_unknown {
            Status::Unknown("4".to_owned())
        } else if self.callback_forged || self.callback_lying {
            match truth {
                Status::Approved => Status::Rejected,
                _ => Status::Approved,
            }
        } else {
            truth.clone()
        }
    }
}

/// Durations as people write them: `"1m 30s"`.
mod span {
    use super::{Deserialize, Deserializer, Duration, Serializer, de};

    pub(super) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*span))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text)
            .map_err(|problem| de::Error::custom(format!("not a duration like \"30s\": {problem}")))
    }
}
